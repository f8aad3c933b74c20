package memory

import (
	"context"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Create implements store.Store.
func (m *Store) Create(_ context.Context, name string, r protocol.CreateRequest) (store.Info, bool, error) {
	if r.Fork != nil {
		m.tree.Lock()
		defer m.tree.Unlock()
	}
	for {
		if m.closed.Load() {
			return store.Info{}, false, store.ErrClosed
		}
		info, created, over, err := m.create(name, &r)
		switch {
		case over == nil:
			return info, created, err
		case r.Fork != nil:
			m.settleLocked(over, r.Now)
		default:
			m.settle(over, r.Now)
		}
	}
}

// create is one try of Create. If it meets a stream that is overdue it changes
// nothing and returns that stream. For a fork tree is held.
func (m *Store) create(name string, r *protocol.CreateRequest) (info store.Info, created bool, over *stream, err error) {
	var source *stream
	if r.Fork != nil {
		if source = m.lookup(r.Fork.Source); source != nil && m.lockedOverdue(source, r.Now) {
			return info, false, source, nil
		}
	}
	sh := m.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if existing := sh.streams[name]; existing != nil {
		info, over, found, err := m.confirm(existing, r)
		if found {
			return info, false, over, err
		}
	}
	s, err := m.build(name, source, r)
	if err != nil {
		return info, false, nil, err
	}
	info = store.NewInfo(s.name, &s.state)
	sh.streams[s.name] = s
	m.deadlines.add(s) // from here on the sweeper may change s
	return info, true, nil, nil
}

// confirm answers a creation of a name at which s was found. found is false if
// s has been removed since.
func (m *Store) confirm(s *stream, r *protocol.CreateRequest) (info store.Info, over *stream, found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.removed:
		return info, nil, false, nil
	case m.overdue(s, r.Now):
		return info, s, true, nil
	}
	if _, refusal := protocol.PlanCreate(&s.state, nil, r); refusal != nil {
		return info, nil, true, refusal
	}
	s.state.Renew(r.Now)
	return store.NewInfo(s.name, &s.state), nil, true, nil
}

// build makes a new stream that is not in the store yet. A fork counts with its
// source from here on.
func (m *Store) build(name string, source *stream, r *protocol.CreateRequest) (*stream, error) {
	var from *protocol.State
	if source != nil {
		source.mu.Lock()
		defer source.mu.Unlock()
		from = &source.state
	}
	plan, refusal := protocol.PlanCreate(nil, from, r)
	if refusal != nil {
		return nil, refusal
	}
	if source != nil {
		source.state.Forks++
	}
	plan.State.ID = m.lastID.Add(1)
	return newStream(name, plan.State, source, r.Body), nil
}

// Append implements store.Store. It waits for nothing, so its outcome is known
// whatever becomes of the context.
func (m *Store) Append(_ context.Context, name string, r protocol.AppendRequest) (store.AppendResult, error) {
	s, err := m.enter(name, r.Now)
	if err != nil {
		return store.AppendResult{}, err
	}
	defer s.mu.Unlock()
	var last protocol.ProducerState
	var known bool
	if r.Producer != nil {
		last, known = s.producers[r.Producer.ID]
	}
	plan, refusal := protocol.PlanAppend(&s.state, last, known, &r)
	if refusal != nil {
		return store.AppendResult{}, refusal
	}
	if plan.Outcome == protocol.Appended {
		s.apply(&r, plan.Producer)
	} else {
		s.state.Renew(r.Now)
	}
	return store.AppendResult{
		Outcome: plan.Outcome, Tail: s.state.Tail, Closed: s.state.Closed, Producer: plan.Producer,
	}, nil
}
