package memory

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// shardCount bounds how many operations on different streams contend for the
// map from names to streams.
const shardCount = 64

// Options configure a [Store].
type Options struct {
	// Now is the clock by which streams expire; nil for time.Now.
	Now func() time.Time
}

// Store keeps streams in memory. See the package comment for its locks.
type Store struct {
	now    func() time.Time
	seed   maphash.Seed
	shards [shardCount]shard
	lastID atomic.Uint64

	// tree is held by every operation that touches more than one stream or
	// removes one.
	tree      sync.Mutex
	deadlines deadlines

	closed atomic.Bool
	done   chan struct{} // closed by Close
	swept  chan struct{} // closed when the sweeper has ended
}

var _ store.Store = (*Store)(nil)

type shard struct {
	mu      sync.RWMutex
	streams map[string]*stream
}

// New returns an empty store. It runs one goroutine until it is closed.
func New(opts Options) *Store {
	m := &Store{
		now:       opts.Now,
		seed:      maphash.MakeSeed(),
		deadlines: deadlines{earlier: make(chan struct{}, 1)},
		done:      make(chan struct{}),
		swept:     make(chan struct{}),
	}
	if m.now == nil {
		m.now = time.Now
	}
	for i := range m.shards {
		m.shards[i].streams = make(map[string]*stream)
	}
	// An ID is part of ETags, which caches keep longer than a process lives. No
	// process makes a stream in a nanosecond, so one that starts later starts
	// above every ID of this one.
	m.lastID.Store(uint64(time.Now().UnixNano()))
	go m.sweep()
	return m
}

func (m *Store) shard(name string) *shard {
	return &m.shards[maphash.String(m.seed, name)%shardCount]
}

// lookup returns the stream of that name, nil if there is none. With tree held
// it cannot have been removed; otherwise the caller checks that.
func (m *Store) lookup(name string) *stream {
	sh := m.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.streams[name]
}

// enter returns the named stream with its lock held, or why a client must not
// use it at the time now. What has expired is removed first where it matters, so
// that the answer does not depend on how late the sweeper is.
func (m *Store) enter(name string, now time.Time) (*stream, error) {
	for {
		if m.closed.Load() {
			return nil, store.ErrClosed
		}
		s := m.lookup(name)
		if s == nil {
			return nil, protocol.Available(nil, now)
		}
		s.mu.Lock()
		if s.removed {
			s.mu.Unlock()
			return nil, protocol.Available(nil, now)
		}
		if !m.overdue(s, now) {
			if refusal := protocol.Available(&s.state, now); refusal != nil {
				s.mu.Unlock()
				return nil, refusal
			}
			return s, nil
		}
		s.mu.Unlock()
		m.settle(s, now)
	}
}

// Close drops all streams from use and wakes whoever watches them.
func (m *Store) Close() error {
	if m.closed.Swap(true) {
		return store.ErrClosed
	}
	close(m.done)
	<-m.swept
	for i := range m.shards {
		m.shards[i].wakeAll()
	}
	return nil
}

func (sh *shard) wakeAll() {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, s := range sh.streams {
		s.mu.Lock()
		s.wake()
		s.mu.Unlock()
	}
}
