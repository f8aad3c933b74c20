package disk

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/journal"
)

// Append implements store.Store.
func (s *Store) Append(ctx context.Context, name string, r protocol.AppendRequest) (store.AppendResult, error) {
	sl, err := s.acquire(name)
	if err != nil {
		return store.AppendResult{}, err
	}
	defer s.table.unpin(sl)
	room, err := s.admit(ctx, appendSize(name, &r), len(r.Body) == 0)
	if err != nil {
		return store.AppendResult{}, err
	}
	sl.mu.Lock()
	result, o, err := s.planAppend(sl, &r, room)
	inFlight := sl.inFlight()
	sl.mu.Unlock()
	if o != nil {
		if err := o.wait(ctx); err != nil {
			return store.AppendResult{}, err
		}
		return result, nil
	}
	// The answer may rest on what is still on its way to the disk.
	if settled := s.settle(ctx, inFlight); settled != nil {
		return store.AppendResult{}, settled
	}
	if err != nil {
		s.confirmGone(ctx, sl, r.Now)
	}
	return result, err
}

func appendSize(name string, r *protocol.AppendRequest) int {
	n := recordOverhead + len(name) + len(r.Body) + len(r.Seq)
	if r.Producer != nil {
		n += len(r.Producer.ID)
	}
	return n
}

// planAppend decides an append and, if it changes the stream or its time of last
// access there, hands it to the journal: then o is to be waited for. It takes the reservation over. The slot's
// lock is held.
func (s *Store) planAppend(sl *slot, r *protocol.AppendRequest, room journal.Reservation) (result store.AppendResult, o *op, err error) {
	sl.over(r.Now) // a stream that is watched does not expire
	state := sl.assigned.current()
	var last protocol.ProducerState
	known := false
	if r.Producer != nil && state != nil {
		p, err := s.producer(sl, r.Producer.ID)
		if err != nil {
			s.journal.Cancel(room)
			return result, nil, err
		}
		if p != nil {
			last, known = p.assigned, true
		}
	}
	plan, refusal := protocol.PlanAppend(state, last, known, r)
	if refusal != nil {
		s.journal.Cancel(room)
		return result, nil, refusal
	}
	result = store.AppendResult{Outcome: plan.Outcome, Producer: plan.Producer}
	if plan.Outcome == protocol.Appended {
		o = s.newOp(recordAppend, r.Now)
		o.append = *r
		o.keepStrings()
		o.target(sl, effectAppend)
		if err := s.submit(o, r.Body, room); err != nil {
			return result, nil, err
		}
	} else {
		s.journal.Cancel(room)
		o = s.touch(sl, r.Now)
	}
	result.Tail, result.Closed = state.Tail, state.Closed
	return result, o, nil
}

// keepStrings gives the op strings of its own where the stream keeps them: a
// request's may be parts of something much larger.
func (o *op) keepStrings() {
	o.append.ContentType = ""
	o.append.Seq = strings.Clone(o.append.Seq)
	if p := o.append.Producer; p != nil {
		o.append.Producer = &protocol.Producer{ID: strings.Clone(p.ID), Epoch: p.Epoch, Seq: p.Seq}
	}
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, name string, r protocol.CreateRequest) (store.Info, bool, error) {
	sl, err := s.acquire(name)
	if err != nil {
		return store.Info{}, false, err
	}
	defer s.table.unpin(sl)
	var source *slot
	if r.Fork != nil {
		if source, err = s.acquire(r.Fork.Source); err != nil {
			return store.Info{}, false, err
		}
		defer s.table.unpin(source)
	}
	room, err := s.admit(ctx, createSize(name, &r), false)
	if err != nil {
		return store.Info{}, false, err
	}
	for {
		info, created, again, err := s.tryCreate(ctx, sl, source, &r, room)
		if !again {
			return info, created, err
		}
		if room, err = s.admit(ctx, createSize(name, &r), false); err != nil {
			return store.Info{}, false, err
		}
	}
}

func createSize(name string, r *protocol.CreateRequest) int {
	n := recordOverhead + len(name) + len(r.ContentType) + len(r.Body)
	if r.Fork != nil {
		n += len(r.Fork.Source) + maxContentType
	}
	return n
}

// maxContentType bounds what a fork may inherit, in bytes.
const maxContentType = 512

// tryCreate is one try of Create. again is true if an expired stream was in the
// way, or one whose removal is still on its way to the disk; neither is now.
func (s *Store) tryCreate(ctx context.Context, sl, source *slot, r *protocol.CreateRequest, room journal.Reservation) (info store.Info, created, again bool, err error) {
	unlock := s.lockForCreate(sl, source)
	over := sl
	switch {
	case source != nil && source.over(r.Now):
		over = source
	case sl.over(r.Now):
	case !sl.assigned.exists && sl.inFlight():
		over = nil // an earlier stream's data is still in the slot
	default:
		info, o, inFlight, err := s.planCreate(sl, source, r, room)
		unlock()
		if o != nil {
			created := o.kind == recordCreate // or it renews what exists
			if err := o.wait(ctx); err != nil {
				return store.Info{}, false, false, err
			}
			return info, created, false, nil
		}
		if settled := s.settle(ctx, inFlight); settled != nil {
			return store.Info{}, false, false, settled
		}
		return info, false, false, err
	}
	unlock()
	s.journal.Cancel(room)
	if over == nil {
		err = s.settle(ctx, true)
	} else {
		err = s.expire(ctx, over, r.Now)
	}
	return store.Info{}, false, err == nil, err
}

// lockForCreate locks what a creation looks at. Two slots are locked only under
// tree, child before source, so that no two callers wait for each other.
func (s *Store) lockForCreate(sl, source *slot) (unlock func()) {
	if source == nil || source == sl {
		sl.mu.Lock()
		return sl.mu.Unlock
	}
	s.tree.Lock()
	sl.mu.Lock()
	source.mu.Lock()
	return func() {
		source.mu.Unlock()
		sl.mu.Unlock()
		s.tree.Unlock()
	}
}

// planCreate decides a creation; see planAppend. The slots' locks are held.
func (s *Store) planCreate(sl, source *slot, r *protocol.CreateRequest, room journal.Reservation) (info store.Info, o *op, inFlight bool, err error) {
	inFlight = sl.inFlight()
	var from *protocol.State
	if source != nil {
		from = source.assigned.current()
		inFlight = inFlight || source.inFlight()
	}
	plan, refusal := protocol.PlanCreate(sl.assigned.current(), from, r)
	if refusal != nil {
		s.journal.Cancel(room)
		return info, nil, inFlight, refusal
	}
	if plan.Exists {
		s.journal.Cancel(room)
		renewal := s.touch(sl, r.Now)
		return store.NewInfo(sl.name, &sl.assigned.state), renewal, inFlight, nil
	}
	o = s.newOp(recordCreate, r.Now)
	o.create = plan.State
	o.create.ContentType = strings.Clone(plan.State.ContentType)
	o.create.ID = s.lastID.Add(1)
	if f := o.create.Fork; f != nil {
		f.Source = source.name
	}
	o.target(sl, effectCreate)
	if source != nil {
		o.target(source, effectRetain)
	}
	if err := s.submit(o, r.Body, room); err != nil {
		return info, nil, inFlight, err
	}
	return store.NewInfo(sl.name, &sl.assigned.state), o, inFlight, nil
}

// touch renews a stream's sliding TTL. The renewal goes to the journal when the
// one that is there has fallen behind further than a restart makes good; then the
// op is to be waited for by awaitTouch. The slot's lock is held.
func (s *Store) touch(sl *slot, now time.Time) *op {
	if !sl.assigned.exists || !sl.assigned.state.Expiry.HasTTL {
		return nil
	}
	sl.renew(now)
	if now.Sub(sl.journaled) <= sl.assigned.state.Expiry.RenewalSlack() {
		return nil
	}
	room, err := s.journal.Reserve(canceled, recordOverhead+len(sl.name), false)
	if err != nil {
		return nil // on a full disk the stream may end early if the process does
	}
	o := s.newOp(recordTouch, now)
	o.target(sl, effectTouch)
	if err := s.submit(o, nil, room); err != nil {
		return nil // the next change of anybody reports the journal's failure
	}
	return o
}

// awaitTouch waits until a renewal is durable. Reads go on without it when the
// journal has failed.
func awaitTouch(ctx context.Context, o *op) {
	if o != nil {
		_ = o.wait(ctx)
	}
}

// canceled makes Reserve fail rather than wait.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("no room without waiting"))
	return ctx
}()
