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
	m.settleLocked(s, now)
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

// overdue reports whether settle has to run before s can be asked: its time is
// over, or only forks whose time is over keep it. Its lock is held.
func (m *Store) overdue(s *stream, now time.Time) bool {
	return s.over(now) || s.state.Deleted && m.deadlines.due(now)
}

func (m *Store) lockedOverdue(s *stream, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.overdue(s, now)
}

// settle ends whatever is due, and s if its time is over.
func (m *Store) settle(s *stream, now time.Time) {
	m.tree.Lock()
	defer m.tree.Unlock()
	m.settleLocked(s, now)
}

// settleLocked is settle with tree held.
func (m *Store) settleLocked(s *stream, now time.Time) {
	for {
		due, _, _ := m.deadlines.next(now)
		if due == nil {
			break
		}
		m.expire(due, now)
	}
	m.expire(s, now)
}

// expire ends the stream if its time is over; if not, its deadline was renewed
// and is entered again. tree is held.
func (m *Store) expire(s *stream, now time.Time) {
	s.mu.Lock()
	if s.removed || !s.over(now) {
		m.deadlines.renew(s)
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
// that, and so on up the chain. The deadline goes last: as long as it is there,
// whoever meets one of the sources knows that it is overdue. tree is held.
func (m *Store) unlink(ended *stream) {
	defer m.deadlines.remove(ended)
	for s := ended; s.lockedRemoved(); s = s.source {
		sh := m.shard(s.name)
		sh.mu.Lock()
		if sh.streams[s.name] == s {
			delete(sh.streams, s.name)
		}
		sh.mu.Unlock()
		if s.source == nil {
			return
		}
		s.source.release()
	}
}

// release tells a source that one of its forks is gone, and removes it if
// nothing else holds it.
func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	purge := protocol.PlanRelease(&s.state)
	s.state.Forks--
	if purge {
		s.end(protocol.Deletion{})
	}
}

func (s *stream) lockedRemoved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removed
}
