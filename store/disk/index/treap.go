package index

import (
	"bytes"
	"hash/fnv"
)

// node is a node of an immutable treap: a search tree by key, a heap by prio.
// A change copies the path from the root and shares the rest, so any root ever
// published is a snapshot for ever, and taking a copy of a tree is taking its
// root. prio is a hash of the key: the shape of a tree depends on its keys only,
// not on the order or the run in which they came.
type node struct {
	key         []byte
	stored      []byte // value and checksum
	prio        uint64
	size        int64 // of all keys and stored values from here down
	left, right *node
}

func (n *node) total() int64 {
	if n == nil {
		return 0
	}
	return n.size
}

// sum sets n's size from its children's, and returns n. It ends every change.
func (n *node) sum() *node {
	n.size = int64(len(n.key)+len(n.stored)) + n.left.total() + n.right.total()
	return n
}

func priority(key []byte) uint64 {
	h := fnv.New64a()
	h.Write(key) // never fails
	return h.Sum64()
}

func (n *node) get(key []byte) *node {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n
		}
	}
	return nil
}

// set returns the tree with key set. It keeps key and stored.
func (n *node) set(key, stored []byte) *node {
	return n.insert(&node{key: key, stored: stored, prio: priority(key)})
}

func (n *node) insert(x *node) *node {
	if n == nil {
		return x.sum()
	}
	c := bytes.Compare(x.key, n.key)
	if c == 0 {
		x.left, x.right = n.left, n.right
		return x.sum()
	}
	if x.prio > n.prio && n.get(x.key) == nil {
		x.left, x.right = n.split(x.key)
		return x.sum()
	}
	m := *n
	if c < 0 {
		m.left = n.left.insert(x)
	} else {
		m.right = n.right.insert(x)
	}
	return m.sum()
}

// split returns the nodes before key and those after it; key is not in the tree.
func (n *node) split(key []byte) (before, after *node) {
	if n == nil {
		return nil, nil
	}
	m := *n
	if bytes.Compare(n.key, key) < 0 {
		m.right, after = n.right.split(key)
		return m.sum(), after
	}
	before, m.left = n.left.split(key)
	return before, m.sum()
}

// remove returns the tree without key, and itself when key is not in it.
func (n *node) remove(key []byte) *node {
	if n.get(key) == nil {
		return n
	}
	return n.cut(key)
}

func (n *node) cut(key []byte) *node {
	c := bytes.Compare(key, n.key)
	if c == 0 {
		return join(n.left, n.right)
	}
	m := *n
	if c < 0 {
		m.left = n.left.cut(key)
	} else {
		m.right = n.right.cut(key)
	}
	return m.sum()
}

// join returns one tree of two, of which every key of a comes before those of b.
func join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio > b.prio:
		m := *a
		m.right = join(a.right, b)
		return m.sum()
	default:
		m := *b
		m.left = join(a, b.left)
		return m.sum()
	}
}

// walk calls fn for the nodes in [from, to) in order until it returns false, and
// reports whether it never did. An empty to is no bound.
func (n *node) walk(from, to []byte, fn func(*node) bool) bool {
	if n == nil {
		return true
	}
	low := bytes.Compare(n.key, from) >= 0
	high := len(to) == 0 || bytes.Compare(n.key, to) < 0
	if low && !n.left.walk(from, to, fn) {
		return false
	}
	if low && high && !fn(n) {
		return false
	}
	return !high || n.right.walk(from, to, fn)
}
