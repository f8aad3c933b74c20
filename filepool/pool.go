// Package filepool keeps a bounded number of files open.
//
// The engine reads from many more immutable files than it may hold descriptors.
// A [Pool] opens a file when it is first needed and keeps it open until the
// place is needed for another. Who uses a value holds a pin on it ([Handle]), and
// a pinned value is never closed: an eviction between taking a handle and reading
// through it would turn into an error about a closed file, or, once the system
// has given the descriptor's number away, into another file's bytes.
package filepool

import (
	"errors"
	"sync"
)

// ErrClosed is returned by [Pool.Acquire] after [Pool.Close].
var ErrClosed = errors.New("file pool is closed")

// errOpenPanicked is what those get who waited for an open that did not return.
var errOpenPanicked = errors.New("open did not return")

// Pool keeps values, usually files, open by key. At most max of them are open,
// pinned or not, but for one case: while more than max are pinned at the same
// moment, that many are open, and each is closed as its last pin goes. An Acquire
// never waits for another user's Release, since two readers that each hold one
// file and want another could wait for ever. Whoever pins a value only for one
// bounded read therefore bounds the excess by the number of concurrent reads.
//
// A value without a pin stays open until it is the least recently released one
// when a place is needed. A value that is just being closed is no longer counted.
//
// A Pool is safe for concurrent use. Its lock is never held while a value is
// opened or closed.
type Pool[K comparable, V any] struct {
	open      func(K) (V, error)
	closeFunc func(V) error

	mu sync.Mutex
	// entries holds what Acquire can find: open values and those being opened. A
	// forgotten entry is not in it and lives on in its pins.
	entries map[K]*entry[K, V]
	// idle is the ring of the open entries without pins, most recently released
	// first, with the sentinel as its start.
	idle entry[K, V]
	// pins are the places of handles, free the indexes of those that are unused:
	// they let a handle be a value without allocation and a second Release be seen.
	pins []pin[K, V]
	free []int
	// max is the bound. Between calls opened > max only if idle is empty.
	max int
	// opened counts the values that are open or being opened, forgotten ones
	// included, and pinned those with a pin.
	opened, pinned int
	stats          Stats
	// closeErr is the first error of a close by Acquire, Release, Forget or Resize,
	// whose callers could do nothing about it, until Close returns it.
	closeErr error
	closed   bool
}

// entry is a value that is open or being opened. The pool's lock guards it, but
// for value and err, which are written once, before ready is closed.
type entry[K comparable, V any] struct {
	key   K
	value V
	err   error
	pins  int
	// opening is true until ready is closed.
	opening bool
	ready   chan struct{}
	// forgotten means that the last Release closes the value.
	forgotten  bool
	prev, next *entry[K, V] // in idle
}

// pin is a handle's place in the pool.
type pin[K comparable, V any] struct {
	entry *entry[K, V]
	// turn counts the handles that have used the place.
	turn uint64
}

// Stats are counters since the pool was made and, of Open and Pinned, the
// present state.
type Stats struct {
	// Open is the number of values that are open or being opened.
	Open int
	// Pinned is the number of these with at least one pin.
	Pinned int
	// Hits counts calls of Acquire that found the value, also while it was being
	// opened, Misses those that had to open it, also when that failed.
	Hits, Misses uint64
	// Evictions counts values closed because of the bound, Close and Forget not
	// included.
	Evictions uint64
}

// New returns a pool of at most max values. With 0, or less, every value is
// closed when its last pin goes.
//
// open opens the value of a key, close releases one; both are called without a
// lock and concurrently for different keys. They may use the pool, except that
// open must not acquire its own key.
func New[K comparable, V any](max int, open func(K) (V, error), close func(V) error) *Pool[K, V] {
	p := &Pool[K, V]{open: open, closeFunc: close, entries: map[K]*entry[K, V]{}, max: max}
	p.idle.prev, p.idle.next = &p.idle, &p.idle
	return p
}

// Acquire returns a handle on key's value, which it opens if it is not open.
// Concurrent calls for one key open it once, and all get the error if that fails;
// a later call tries again. The caller must release the handle. The error is
// [ErrClosed] or what open returned, as it is.
func (p *Pool[K, V]) Acquire(key K) (Handle[K, V], error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return Handle[K, V]{}, ErrClosed
	}
	e, ok := p.entries[key]
	if !ok {
		return p.acquireNew(key)
	}
	p.stats.Hits++
	if e.pins == 0 {
		p.pinned++
		e.unlink()
	}
	e.pins++
	if e.opening {
		p.mu.Unlock()
		<-e.ready
		if e.err != nil {
			return Handle[K, V]{}, e.err // with which the entry and its pins are gone
		}
		p.mu.Lock()
	}
	h := p.handle(e)
	p.mu.Unlock()
	return h, nil
}

// acquireNew opens key's value. It is called with the lock and returns without.
func (p *Pool[K, V]) acquireNew(key K) (Handle[K, V], error) {
	e := &entry[K, V]{key: key, pins: 1, opening: true, ready: make(chan struct{}), err: errOpenPanicked}
	p.entries[key] = e
	p.stats.Misses++
	p.opened++
	p.pinned++
	evicted := p.evict()
	p.mu.Unlock()

	// Closing first keeps the number of descriptors below the bound, too.
	p.closeEvicted(evicted)

	// Deferred, so that a panic in open leaves nobody waiting.
	var h Handle[K, V]
	func() {
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			e.opening = false
			if e.err == nil {
				h = p.handle(e)
			} else {
				p.opened--
				p.pinned--
				if p.entries[key] == e {
					delete(p.entries, key)
				}
			}
			close(e.ready)
		}()
		value, err := p.open(key)
		e.value, e.err = value, err
	}()
	return h, e.err
}

// handle hands out one of e's pins.
func (p *Pool[K, V]) handle(e *entry[K, V]) Handle[K, V] {
	var at int
	if n := len(p.free); n > 0 {
		at, p.free = p.free[n-1], p.free[:n-1]
	} else {
		at = len(p.pins)
		p.pins = append(p.pins, pin[K, V]{})
	}
	p.pins[at].entry = e
	return Handle[K, V]{pool: p, entry: e, at: at, turn: p.pins[at].turn}
}

// release ends h's pin.
func (p *Pool[K, V]) release(h Handle[K, V]) {
	p.mu.Lock()
	place := &p.pins[h.at]
	if place.entry == nil || place.turn != h.turn {
		p.mu.Unlock()
		panic("filepool: handle released twice")
	}
	e := place.entry
	place.entry = nil
	place.turn++
	p.free = append(p.free, h.at)

	e.pins--
	if e.pins > 0 {
		p.mu.Unlock()
		return
	}
	p.pinned--
	if e.forgotten {
		p.opened--
		p.mu.Unlock()
		p.keepError(p.closeFunc(e.value))
		return
	}
	e.link(&p.idle)
	evicted := p.evict()
	p.mu.Unlock()
	p.closeEvicted(evicted)
}

// evict takes the least recently released entries out of the pool until the
// bound holds or all are pinned, and returns them, linked by next, to be closed
// without the lock.
func (p *Pool[K, V]) evict() *entry[K, V] {
	var evicted *entry[K, V]
	for p.opened > p.max && p.idle.prev != &p.idle {
		e := p.takeIdle(p.idle.prev)
		p.stats.Evictions++
		e.next, evicted = evicted, e
	}
	return evicted
}

// takeIdle takes an entry without pins out of the pool.
func (p *Pool[K, V]) takeIdle(e *entry[K, V]) *entry[K, V] {
	e.unlink()
	delete(p.entries, e.key)
	p.opened--
	return e
}

func (p *Pool[K, V]) closeEvicted(e *entry[K, V]) {
	for ; e != nil; e = e.next {
		p.keepError(p.closeFunc(e.value))
	}
}

// keepError keeps the error of a close for [Pool.Close].
func (p *Pool[K, V]) keepError(err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closeErr == nil {
		p.closeErr = err
	}
}

// Forget says that the file behind key goes away or is replaced. The value is
// closed before Forget returns, or, if it is pinned, with its last pin; handles
// on it stay valid. Calls of Acquire from now on open anew.
func (p *Pool[K, V]) Forget(key K) {
	p.mu.Lock()
	e, ok := p.entries[key]
	switch {
	case !ok:
		p.mu.Unlock()
	case e.pins > 0:
		e.forgotten = true
		delete(p.entries, key)
		p.mu.Unlock()
	default:
		p.takeIdle(e)
		p.mu.Unlock()
		p.keepError(p.closeFunc(e.value))
	}
}

// Resize changes the bound, with the meaning that it has for [New], and closes
// what is idle beyond it.
func (p *Pool[K, V]) Resize(max int) {
	p.mu.Lock()
	p.max = max
	evicted := p.evict()
	p.mu.Unlock()
	p.closeEvicted(evicted)
}

// Stats returns the counters.
func (p *Pool[K, V]) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Open, s.Pinned = p.opened, p.pinned
	return s
}

// Close closes all values without a pin, and lets the others be closed with
// their last pin. It returns the errors of those that it closed, and the first of
// the closes before it that had nobody to return to. A second call returns the
// first error of those that were pinned. Forget, Resize and Release may still be
// called.
func (p *Pool[K, V]) Close() error {
	p.mu.Lock()
	p.closed = true
	errs := []error{p.closeErr}
	p.closeErr = nil
	var idle []*entry[K, V]
	for _, e := range p.entries {
		if e.pins > 0 {
			e.forgotten = true
			continue
		}
		idle = append(idle, e)
	}
	for _, e := range idle {
		p.takeIdle(e)
	}
	clear(p.entries)
	p.mu.Unlock()

	for _, e := range idle {
		errs = append(errs, p.closeFunc(e.value))
	}
	return errors.Join(errs...)
}

// link puts e at the start of the ring.
func (e *entry[K, V]) link(ring *entry[K, V]) {
	e.prev, e.next = ring, ring.next
	e.prev.next, e.next.prev = e, e
}

// unlink takes e out of its ring.
func (e *entry[K, V]) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}
