package disk

import (
	"context"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	sl, err := s.acquire(name)
	if err != nil {
		return err
	}
	defer s.table.unpin(sl)
	s.confirmGone(ctx, sl, s.opts.Now())
	return s.remove(ctx, name, func(sl *slot) (protocol.Deletion, bool, error) {
		now := s.opts.Now()
		sl.over(now)
		d, refusal := protocol.PlanDelete(sl.assigned.current(), now)
		if refusal != nil {
			return d, false, refusal
		}
		return d, true, nil
	})
}

// confirmGone makes durable that a stream's time is over, before a client learns
// of it: else a restart could make the stream a little younger, and bring it back.
// It changes nothing if the time is not over, and if the journal refuses, the
// clock alone decides. No lock is held.
func (s *Store) confirmGone(ctx context.Context, sl *slot, now time.Time) {
	sl.mu.Lock()
	over := sl.over(now)
	sl.mu.Unlock()
	if over {
		_ = s.expire(ctx, sl, now)
	}
}

// expire ends a stream if its time is over.
func (s *Store) expire(ctx context.Context, sl *slot, now time.Time) error {
	return s.remove(ctx, sl.name, func(sl *slot) (protocol.Deletion, bool, error) {
		if !sl.over(now) {
			return protocol.Deletion{}, false, nil
		}
		d, ok := protocol.PlanExpiry(sl.assigned.current(), now)
		return d, ok, nil
	})
}

// remove ends the stream of a name as plan says, and with it the sources that
// nothing holds any longer: one record for all of them (§4.2, cascade).
func (s *Store) remove(ctx context.Context, name string, plan func(*slot) (d protocol.Deletion, ok bool, err error)) error {
	chain, err := s.acquireChain(name)
	if err != nil {
		return err
	}
	defer func() {
		for _, sl := range chain {
			s.table.unpin(sl)
		}
	}()
	size := recordOverhead
	for _, sl := range chain {
		size += len(sl.name) + 16
	}
	room, err := s.journal.Reserve(ctx, size, true)
	if err != nil {
		return err
	}

	s.tree.Lock()
	locked := 0
	unlock := func() {
		for i := locked - 1; i >= 0; i-- {
			chain[i].mu.Unlock()
		}
		s.tree.Unlock()
	}
	chain[0].mu.Lock()
	locked = 1
	d, ok, err := plan(chain[0])
	if err != nil || !ok {
		inFlight := chain[0].inFlight()
		unlock()
		s.journal.Cancel(room)
		if settled := s.settle(ctx, inFlight); settled != nil {
			return settled
		}
		return err
	}
	o := s.newOp(recordRemove, s.opts.Now())
	if d.Soft {
		o.target(chain[0], effectSoften)
	} else {
		o.target(chain[0], effectPurge)
		for i := 1; ; i++ {
			f := chain[i-1].assigned.state.Fork
			if f == nil {
				break
			}
			if i == len(chain) || chain[i].name != f.Source {
				// The stream was replaced since its chain was looked up.
				unlock()
				s.journal.Cancel(room)
				o.reset()
				ops.Put(o)
				return s.remove(ctx, name, plan)
			}
			source := chain[i]
			source.mu.Lock()
			locked++
			if !source.assigned.exists || source.assigned.state.ID != f.SourceID {
				s.opts.Logger.Error("a fork's source is missing", "stream", chain[i-1].name, "source", f.Source)
				break
			}
			if !protocol.PlanRelease(&source.assigned.state) {
				o.target(source, effectRelease)
				break
			}
			o.target(source, effectPurge)
		}
	}
	err = s.submit(o, nil, room)
	unlock()
	if err != nil {
		return err
	}
	return o.wait(ctx)
}

// acquireChain pins and loads the stream of a name and, while they are
// soft-deleted and so may go with it, its sources. The last one of the result
// stays in any case.
func (s *Store) acquireChain(name string) (chain []*slot, err error) {
	for {
		sl, err := s.acquire(name)
		if err != nil {
			for _, sl := range chain {
				s.table.unpin(sl)
			}
			return nil, err
		}
		chain = append(chain, sl)
		sl.mu.Lock()
		fork := sl.assigned.state.Fork
		deleted := sl.assigned.state.Deleted
		sl.mu.Unlock()
		if fork == nil || len(chain) > 1 && !deleted {
			return chain, nil
		}
		name = fork.Source
	}
}
