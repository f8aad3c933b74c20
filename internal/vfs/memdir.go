package vfs

import "maps"

// memNode is a file or a directory. Names live in directories; a node does not
// know its own. The caller holds Mem.mu.
type memNode struct {
	// id grows in the order of creation and orders nodes where the order must be
	// the same in every run.
	id uint64
	// data is nil for a directory, names and synced are nil for a file.
	data *memData
	// names is what lookups see, synced what a power loss is sure to leave.
	names, synced map[string]*memNode
	// links counts the names and handles the open files. A file takes space while
	// either is above 0.
	links, handles int
	// locked is set while somebody holds a lock on the file.
	locked bool
}

func (n *memNode) isDir() bool { return n.data == nil }

// place is where a name is.
type place struct {
	dir  *memNode
	name string
}

// nameOp is one change of names that is not known to be durable.
//
// An op depends on the earlier pending ones that touch a name that it touches;
// the removal of a directory on all in that directory, since it had to be
// empty; and the move of a directory to another one on all, since only the
// order of moves keeps a tree a tree. A crash keeps an op only together with
// what it depends on.
type nameOp struct {
	// set gets node's name, cleared loses one. A nil dir means that the op has no
	// such side: creation only sets, removal only clears, a rename does both.
	set, cleared place
	node         *memNode
	// emptied is the directory that a removal has removed.
	emptied *memNode
}

// moves reports whether the op takes a name from one directory to another.
func (op *nameOp) moves() bool {
	return op.set.dir != nil && op.cleared.dir != nil && op.set.dir != op.cleared.dir
}

// barrier reports whether the op depends on all earlier ones.
func (op *nameOp) barrier() bool { return op.moves() && op.node.isDir() }

func (op *nameOp) touches(dir *memNode) bool {
	return op.set.dir == dir || op.cleared.dir == dir
}

// apply makes the op's changes to the names that view returns for a directory.
func (op *nameOp) apply(view func(dir *memNode) map[string]*memNode) {
	if op.cleared.dir != nil {
		delete(view(op.cleared.dir), op.cleared.name)
	}
	if op.set.dir != nil {
		view(op.set.dir)[op.set.name] = op.node
	}
}

// syncNames makes the pending changes in dir durable, together with those that
// they depend on, and returns what stays pending.
//
// A file moved into dir is durable under its new name; that it is gone from its
// old one is up to a sync of the directory that it left, so that a crash in
// between shows it twice. A sync of the directory that it left covers both
// sides, because no journalling file system loses a renamed file.
func syncNames(pending []nameOp, dir *memNode) []nameOp {
	const (
		not = iota
		half
		whole
	)
	var (
		take    = make([]int, len(pending))
		names   = map[place]bool{}
		emptied = map[*memNode]bool{}
		all     bool
	)
	for i := len(pending) - 1; i >= 0; i-- {
		op := &pending[i]
		switch {
		case all || names[op.set] || names[op.cleared] || emptied[op.set.dir] || emptied[op.cleared.dir]:
			take[i] = whole
		case op.set.dir == dir && op.moves() && !op.node.isDir():
			take[i] = half
		case op.touches(dir):
			take[i] = whole
		default:
			continue
		}
		for _, p := range [...]place{op.set, op.cleared} {
			if p.dir != nil {
				names[p] = true
			}
		}
		if op.emptied != nil {
			emptied[op.emptied] = true
		}
		all = all || op.barrier()
	}

	rest := pending[:0]
	for i, op := range pending {
		switch take[i] {
		case not:
			rest = append(rest, op)
			continue
		case half:
			rest = append(rest, nameOp{cleared: op.cleared, node: op.node})
			op.cleared = place{}
		}
		op.apply(func(d *memNode) map[string]*memNode { return d.synced })
	}
	clear(pending[len(rest):])
	return rest
}

// crashNames returns a function that gives the names in a directory after a
// power loss that keeps the pending ops for which keep returns true, unless
// something that they depend on is lost.
func crashNames(pending []nameOp, keep func() bool) func(dir *memNode) map[string]*memNode {
	var (
		views = map[*memNode]map[string]*memNode{}
		names = map[place]bool{}    // lost
		dirs  = map[*memNode]bool{} // in which something is lost
	)
	change := func(dir *memNode) map[string]*memNode {
		view, ok := views[dir]
		if !ok {
			view = maps.Clone(dir.synced)
			views[dir] = view
		}
		return view
	}
	for i := range pending {
		op := &pending[i]
		kept := keep() && // first, so that the random sequence does not depend on the rest
			!names[op.set] && !names[op.cleared] &&
			(op.emptied == nil || !dirs[op.emptied]) &&
			(!op.barrier() || len(dirs) == 0)
		if kept {
			op.apply(change)
			continue
		}
		for _, p := range [...]place{op.set, op.cleared} {
			if p.dir != nil {
				names[p], dirs[p.dir] = true, true
			}
		}
	}
	return func(dir *memNode) map[string]*memNode {
		if view, ok := views[dir]; ok {
			return view
		}
		return dir.synced
	}
}
