package memory

import (
	"context"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Delete implements store.Store.
func (m *Store) Delete(_ context.Context, name string) error {
	if m.closed.Load() {
		return store.ErrClosed
	}
	m.tree.Lock()
	defer m.tree.Unlock()
	now := m.now()
	s := m.lookup(name)
	if s == nil {
		return protocol.Available(nil, now)
	}
	m.settle(s, now)
	s.mu.Lock()
	if s.removed {
		s.mu.Unlock()
		return protocol.Available(nil, now)
	}
	plan, refusal := protocol.PlanDelete(&s.state, now)
	if refusal != nil {
		s.mu.Unlock()
		return refusal
	}
	s.end(plan)
	s.mu.Unlock()
	m.unlink(s)
	return nil
}

// expire ends the stream if its time is over at now.
func (m *Store) expire(s *stream, now time.Time) {
	m.tree.Lock()
	defer m.tree.Unlock()
	m.settle(s, now)
}

// settle is expire with tree held.
func (m *Store) settle(s *stream, now time.Time) {
	s.mu.Lock()
	if s.removed || !s.over(now) {
		s.mu.Unlock()
		return
	}
	plan, _ := protocol.PlanExpiry(&s.state, now)
	s.end(plan)
	s.mu.Unlock()
	m.unlink(s)
}

// end takes the stream from the clients. The lock is held.
func (s *stream) end(d protocol.Deletion) {
	if d.Soft {
		s.state.Deleted = true
		s.producers = nil // forks have their own (§4.2)
	} else {
		s.removed = true
	}
	s.wake()
}

// unlink takes a stream that has ended out of the deadlines, and if it was
// removed out of the store: it releases its source, which may have waited for
// that, and so on up the chain. tree is held.
func (m *Store) unlink(s *stream) {
	for {
		m.deadlines.remove(s)
		if !s.lockedRemoved() {
			return
		}
		sh := m.shard(s.name)
		sh.mu.Lock()
		if sh.streams[s.name] == s {
			delete(sh.streams, s.name)
		}
		sh.mu.Unlock()
		if s.source == nil || !s.source.release() {
			return
		}
		s = s.source
	}
}

// release tells a source that one of its forks is gone, and reports whether it
// is removed therefore.
func (s *stream) release() (removed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	purge := protocol.PlanRelease(&s.state)
	s.state.Forks--
	if purge {
		s.end(protocol.Deletion{})
	}
	return purge
}

func (s *stream) lockedRemoved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removed
}

func (s *stream) lockedOver(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over(now)
}
