package index

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Op names an operation of an index that [Mem.FailNext] can make fail.
type Op int

// The operations that can be made to fail.
const (
	OpGet Op = iota
	OpScan
	OpApply
	OpCompact
	OpSize
	OpClose
	numOps
)

// Mem is an [Index] in memory for simulations. It keeps what the contract
// promises and no more: what a failed Apply left behind, and what of a batch
// under way is there after a crash, is left to chance. Its "disk" is what
// CrashClone returns, at a cost that does not depend on the size.
type Mem struct {
	// BeforeEach, when not nil, is called by Apply before the i-th operation of the
	// batch, counted from 0. An error ends Apply there with that error. It may call
	// CrashClone, Get and Scan, but not Apply. Set it before the index is shared.
	BeforeEach func(i int) error

	applying sync.Mutex // held by Apply from beginning to end; taken before mu

	mu   sync.Mutex
	live *node // what Get sees
	// durable holds what successful batches wrote, and nothing of others. It is what
	// Scan sees.
	durable *node
	// unsure are the operations of the batch under way or failed, in order. Each may
	// or may not have reached the disk.
	unsure []memOp
	fail   [numOps]error
	broken error // why Apply failed; it takes no more batches
	closed bool
}

// memOp is an operation with memory of its own. stored is nil for a deletion.
type memOp struct{ key, stored []byte }

var _ Index = (*Mem)(nil)

// NewMem returns an empty index.
func NewMem() *Mem { return new(Mem) }

// FailNext makes the next operation of that kind fail with err, before it does
// anything. A nil err takes an earlier call back.
func (m *Mem) FailNext(op Op, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[op] = err
}

// CrashClone returns the index as the next process may find it, were this one to
// lose power now: every batch that Apply returned nil for, and of the operations
// whose fate is open (a batch under way, a failed batch) each with even chance,
// none when rng is nil. It also works on a closed index, as a reopen, and inside
// BeforeEach. Neither index sees the other's later changes; hooks and injected
// failures are not taken over.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	root := m.durable
	if rng != nil {
		for _, o := range m.unsure {
			if rng.IntN(2) == 0 {
				root = o.apply(root)
			}
		}
	}
	return &Mem{live: root, durable: root}
}

// Damage flips a bit of the value stored under key, as a failing disk would, and
// reports whether there was one. Reads of it then fail with ErrCorrupt.
func (m *Mem) Damage(key []byte) bool {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.live.get(key)
	if n == nil {
		return false
	}
	bad := bytes.Clone(n.stored)
	bad[0] ^= 0x10
	m.live = m.live.set(n.key, bad)
	if m.durable.get(key) != nil {
		m.durable = m.durable.set(n.key, bad)
	}
	return true
}

// Get implements [Index].
func (m *Mem) Get(dst, key []byte) ([]byte, error) {
	root, err := m.begin(OpGet)
	if err != nil {
		return dst, err
	}
	n := root.get(key)
	if n == nil {
		return dst, ErrNotFound
	}
	value, err := n.value()
	if err != nil {
		return dst, err
	}
	return append(dst, value...), nil
}

// Scan implements [Index].
func (m *Mem) Scan(from, to []byte, fn func(key, value []byte) bool) error {
	if _, err := m.begin(OpScan); err != nil {
		return err
	}
	m.mu.Lock()
	root := m.durable
	m.mu.Unlock()
	var damage error
	root.walk(from, to, func(n *node) bool {
		value, err := n.value()
		if err != nil {
			damage = err
			return false
		}
		return fn(n.key, value)
	})
	return damage
}

// Apply implements [Index].
func (m *Mem) Apply(b *Batch) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	_, err := m.begin(OpApply)
	switch {
	case errors.Is(err, ErrClosed):
		return err
	case m.broken != nil:
		return fmt.Errorf("%w: %w", ErrFailed, m.broken)
	case err != nil:
		m.broken = err
		return err
	case b.err != nil:
		return b.err
	}
	for i := range b.Len() {
		if m.BeforeEach != nil {
			if err := m.BeforeEach(i); err != nil {
				m.broken = err
				return err
			}
		}
		m.step(b.at(i))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.durable = m.live
	clear(m.unsure)
	m.unsure = m.unsure[:0]
	return nil
}

// step applies one operation to what Get sees.
func (m *Mem) step(key, stored []byte) {
	o := memOp{key: bytes.Clone(key), stored: bytes.Clone(stored)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = o.apply(m.live)
	m.unsure = append(m.unsure, o)
}

// Compact implements [Index]; there is nothing to give back.
func (m *Mem) Compact() error {
	_, err := m.begin(OpCompact)
	return err
}

// Size implements [Index]: the lengths of keys, values and checksums.
func (m *Mem) Size() (int64, error) {
	root, err := m.begin(OpSize)
	if err != nil {
		return 0, err
	}
	return root.total(), nil
}

// Close implements [Index].
func (m *Mem) Close() error {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	return m.takeFailure(OpClose)
}

// begin admits an operation, and returns what Get sees.
func (m *Mem) begin(op Op) (*node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if err := m.takeFailure(op); err != nil {
		return nil, err
	}
	return m.live, nil
}

// takeFailure returns the failure injected for op, once. mu is held.
func (m *Mem) takeFailure(op Op) error {
	err := m.fail[op]
	m.fail[op] = nil
	return err
}

func (o memOp) apply(root *node) *node {
	if o.stored == nil {
		return root.remove(o.key)
	}
	return root.set(o.key, o.stored)
}

// value returns the user's part of the stored value.
func (n *node) value() ([]byte, error) {
	value, err := checkValue(n.key, n.stored)
	if err != nil {
		return nil, &CorruptionError{Key: bytes.Clone(n.key), Err: err}
	}
	return value, nil
}
