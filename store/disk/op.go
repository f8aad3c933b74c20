package disk

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/journal"
)

// op is one change on its way through the journal: a record, the streams that it
// changes, and who waits for it.
type op struct {
	journal.Pending
	store *Store
	done  chan error // capacity 1; nil if nobody waits

	kind    recordKind
	now     time.Time
	targets []target
	inline  [2]target

	create protocol.State
	append protocol.AppendRequest
}

// target is a stream that an op changes. Its slot is pinned until the op is done.
type target struct {
	slot   *slot
	id     uint64
	effect effect
}

var ops = sync.Pool{New: func() any {
	return &op{done: make(chan error, 1)}
}}

// newOp returns an op to be filled in and submitted.
func (s *Store) newOp(kind recordKind, now time.Time) *op {
	o := ops.Get().(*op)
	o.store, o.kind, o.now = s, kind, now
	o.Target = o
	o.targets = o.inline[:0]
	return o
}

// target adds a stream that the op changes; its lock is held.
func (o *op) target(sl *slot, e effect) {
	id := sl.assigned.state.ID
	if e == effectCreate {
		id = o.create.ID
	}
	o.targets = append(o.targets, target{slot: sl, id: id, effect: e})
}

// reset makes the op ready for its next use.
func (o *op) reset() {
	head, done := o.Head[:0], o.done
	if cap(head) > 4<<10 {
		head = nil
	}
	*o = op{done: done}
	o.Head = head
}

// recordOverhead bounds what a record takes besides names, bodies and the
// request's own strings, in bytes.
const recordOverhead = 256

// submit gives the op its place in the journal and applies it to the assigned
// versions. The locks of all its targets are held. After an error nothing has
// changed and the op is gone.
func (s *Store) submit(o *op, body []byte, r journal.Reservation) error {
	o.encode()
	o.Body = body
	for _, t := range o.targets {
		t.slot.pins.Add(1)
	}
	if err := s.journal.Submit(&o.Pending, r); err != nil {
		for _, t := range o.targets {
			t.slot.pins.Add(-1) // the caller holds one of its own
		}
		o.reset()
		ops.Put(o)
		return err
	}
	lsn := o.LSN()
	for _, t := range o.targets {
		o.assign(t, lsn)
	}
	return nil
}

// assign applies the op to a target's assigned version.
func (o *op) assign(t target, lsn uint64) {
	sl := t.slot
	sl.assigned.apply(o, t.effect, lsn)
	switch t.effect {
	case effectCreate:
		sl.head.reset(base(&o.create))
		sl.head.append(o.Body)
		sl.journaled = o.create.Accessed
		o.store.schedule(sl)
	case effectAppend:
		sl.head.append(o.append.Body)
		if p := o.append.Producer; p != nil {
			known := sl.producers[p.ID]
			if known == nil {
				known = &producer{}
				sl.setProducer(p.ID, known)
			}
			known.assigned, known.lsn = protocol.ProducerState{Epoch: p.Epoch, Seq: p.Seq}, lsn
		}
		sl.journalAccess(o.append.Now)
	case effectTouch:
		sl.journalAccess(o.now)
	}
}

// journalAccess notes what a restart would find. That is not assigned's time of
// last access, which may be an earlier restart's guess. The lock is held.
func (s *slot) journalAccess(at time.Time) {
	if at.After(s.journaled) {
		s.journaled = at
	}
}

// apply makes the op's change to a version.
func (v *version) apply(o *op, e effect, lsn uint64) {
	v.lsn = lsn
	switch e {
	case effectCreate:
		v.exists, v.state = true, o.create
		if f := o.create.Fork; f != nil {
			own := *f
			v.state.Fork = &own
		}
	case effectAppend:
		v.state.ApplyAppend(&o.append)
	case effectTouch:
		v.state.Renew(o.now)
	case effectSoften:
		v.state.Deleted = true
	case effectPurge:
		v.exists, v.state = false, protocol.State{}
	case effectRetain:
		v.state.Forks++
	case effectRelease:
		v.state.Forks--
	}
}

// Committed implements journal.Target: the op is durable, and readers may see it.
func (o *op) Committed(p *journal.Pending, err error) {
	if err == nil {
		lsn := p.LSN()
		for _, t := range o.targets {
			t.slot.mu.Lock()
			o.publish(t, lsn)
			t.slot.mu.Unlock()
		}
	}
	s := o.store
	for _, t := range o.targets {
		s.table.unpin(t.slot)
	}
	if o.done != nil {
		o.done <- err
	}
}

// publish applies the op to a target's durable version. The slot's lock is held.
func (o *op) publish(t target, lsn uint64) {
	sl := t.slot
	if t.effect == effectPurge {
		o.store.forget(sl)
		sl.purged()
	}
	sl.durable.apply(o, t.effect, lsn)
	if p := o.append.Producer; t.effect == effectAppend && p != nil {
		known := sl.producers[p.ID]
		known.durable = protocol.ProducerState{Epoch: p.Epoch, Seq: p.Seq}
		known.dirty = true
	}
	o.store.markDirty(sl, int64(len(o.Head)+len(o.Body)))
	switch t.effect {
	case effectAppend, effectSoften, effectPurge:
		sl.wake()
	}
}

// wait waits until the op is durable. If ctx ends first, the op goes on.
func (o *op) wait(ctx context.Context) error {
	select {
	case err := <-o.done:
		o.reset()
		ops.Put(o)
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, context.Cause(ctx))
	}
}

// settle waits until all that a slot's assigned version rests on is durable. The
// slot's lock is not held.
func (s *Store) settle(ctx context.Context, inFlight bool) error {
	if !inFlight {
		return nil
	}
	barrier := s.newOp(0, time.Time{})
	if err := s.journal.Submit(&barrier.Pending, journal.Reservation{}); err != nil {
		barrier.reset()
		ops.Put(barrier)
		return err
	}
	return barrier.wait(ctx)
}
