package vfs

import "maps"

// emptyClone returns a Mem without a root that continues m's numbering, so that
// later crashes of it go through the files in the same order in every run.
func (m *Mem) emptyClone() *Mem {
	return &Mem{lastID: m.lastID, capacity: m.capacity}
}

// cloner copies what the root of a tree of names leads to.
type cloner struct {
	to *Mem
	// namesOf returns the names that a directory has in the copy.
	namesOf func(dir *memNode) map[string]*memNode
	// nodes maps originals to copies. A file can have two names.
	nodes map[*memNode]*memNode
	// files lists the copied files, still without data.
	files []clonedFile
}

type clonedFile struct{ from, to *memNode }

func (c *cloner) node(n *memNode) *memNode {
	if to, ok := c.nodes[n]; ok {
		return to
	}
	to := &memNode{id: n.id}
	c.nodes[n] = to
	if !n.isDir() {
		c.files = append(c.files, clonedFile{n, to})
		return to
	}
	names := c.namesOf(n)
	to.names = make(map[string]*memNode, len(names))
	for name, child := range names {
		copied := c.node(child)
		copied.links++
		to.names[name] = copied
	}
	to.synced = maps.Clone(to.names)
	return to
}

// cloneAll returns a copy of m with both images and what is pending between
// them, but without handles and locks.
func (m *Mem) cloneAll() *Mem {
	to := m.emptyClone()
	nodes := map[*memNode]*memNode{}
	var node func(n *memNode) *memNode
	all := func(names map[string]*memNode) map[string]*memNode {
		copied := make(map[string]*memNode, len(names))
		for name, n := range names {
			copied[name] = node(n)
		}
		return copied
	}
	node = func(n *memNode) *memNode {
		if n == nil {
			return nil
		}
		if to, ok := nodes[n]; ok {
			return to
		}
		copied := &memNode{id: n.id, links: n.links}
		nodes[n] = copied
		if n.isDir() {
			copied.names, copied.synced = all(n.names), all(n.synced)
			return copied
		}
		copied.data = n.data.clone()
		if n.links > 0 {
			to.used += copied.data.pages
		}
		return copied
	}
	to.root = node(m.root)
	to.pending = make([]nameOp, len(m.pending))
	for i, op := range m.pending {
		op.node, op.emptied = node(op.node), node(op.emptied)
		op.set.dir, op.cleared.dir = node(op.set.dir), node(op.cleared.dir)
		to.pending[i] = op
	}
	return to
}
