package disk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// A checkpoint moves what changed since the last one from memory into a segment,
// tells the index, and lets the journal use its files again. What a crash leaves:
//
//	before the segment is whole   a leftover, removed at the next start; the
//	                              journal still has everything
//	before the manifest           a segment that the manifest does not know; the
//	                              next start applies its directory to the index
//	                              again, which changes nothing that was applied
//	after it                      journal files that are obsolete; they are
//	                              skipped by their LSN

// dirtyList is what the next checkpoint has to write. Its slots are pinned.
type dirtyList struct {
	slots []*slot
	bytes int64 // of memory, as headRoom counts it
}

// markDirty enters a slot for the next checkpoint and accounts for n bytes. The
// slot's lock is held.
func (s *Store) markDirty(sl *slot, n int64) {
	first := !sl.dirty
	if first {
		n += slotOverhead
		sl.dirty = true
		sl.pins.Add(1)
	}
	if n == 0 {
		return
	}
	s.dirtyMu.Lock()
	if first {
		s.dirty.slots = append(s.dirty.slots, sl)
	}
	s.dirty.bytes += n
	full := s.dirty.bytes >= s.opts.CheckpointSize
	s.dirtyMu.Unlock()
	s.headRoom.used.Add(n)
	if full {
		s.kick()
	}
}

// capture is what a checkpoint takes from a slot.
type capture struct {
	slot      *slot
	exists    bool
	lsn       uint64
	meta      meta
	from, to  protocol.Offset // the bytes that have no segment yet
	bytes     [][]byte
	extents   []extent // where the others are
	tombs     []uint64
	extent    *extent
	flushed   []*producer
	oldRecord uint64 // slot.indexed before
}

// Checkpoint writes a checkpoint if anything has changed. The store calls it by
// itself unless Options.Manual is set.
func (s *Store) Checkpoint() error {
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	lsn := s.journal.Durable()
	s.dirtyMu.Lock()
	list := s.dirty
	s.dirty = dirtyList{}
	s.dirtyMu.Unlock()
	if len(list.slots) == 0 {
		// Bytes of a slot that was still in the list before, which took them.
		s.headRoom.give(list.bytes)
		return nil
	}
	start := time.Now()
	if err := s.room.background(list.bytes, true); err != nil {
		s.putBack(list, nil)
		return fmt.Errorf("checkpoint: %w", err)
	}
	captures := make([]capture, 0, len(list.slots))
	for _, sl := range list.slots {
		captures = append(captures, sl.capture())
	}
	info, err := s.writeCheckpoint(captures, lsn)
	if err == nil {
		err = s.indexCheckpoint(captures, info, lsn)
	}
	if err != nil {
		s.putBack(list, captures)
		return fmt.Errorf("checkpoint: %w", err)
	}
	for i := range captures {
		s.settleCapture(&captures[i])
	}
	s.journal.Release(lsn)
	s.headRoom.give(list.bytes)
	s.checkpoints.Add(1)
	s.checkpointNanos.Add(int64(time.Since(start)))
	s.opts.Logger.Debug("checkpoint written", "segment", info.Number, "streams", len(captures), "bytes", info.DataEnd, "lsn", lsn, "duration", time.Since(start))
	s.collect()
	return nil
}

// capture takes the slot's durable version for a checkpoint.
func (s *slot) capture() capture {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := capture{slot: s, exists: s.durable.exists, lsn: s.durable.lsn, tombs: s.tombs, oldRecord: s.indexed}
	s.dirty = false
	s.tombs = nil
	if !c.exists {
		return c
	}
	c.meta.state = s.durable.state
	if !s.lenient.IsZero() && c.meta.state.Accessed.Equal(s.lenient) {
		c.meta.state.Accessed = s.lenient.Add(-c.meta.state.Expiry.RenewalSlack())
	}
	c.from, c.to = s.head.start, s.durable.state.Tail
	c.bytes = s.head.slices(nil, c.from, c.to)
	c.extents = s.extents
	for id, p := range s.producers {
		if p.dirty {
			p.dirty = false
			c.flushed = append(c.flushed, p)
			c.meta.producers = append(c.meta.producers, protocol.Producer{ID: id, Epoch: p.durable.Epoch, Seq: p.durable.Seq})
		}
	}
	return c
}

// putBack undoes what a checkpoint took, after it has failed.
func (s *Store) putBack(list dirtyList, captures []capture) {
	entered := make(map[*slot]bool)
	for i := range captures {
		c := &captures[i]
		c.slot.mu.Lock()
		c.slot.tombs = append(c.slot.tombs, c.tombs...)
		for _, p := range c.flushed {
			p.dirty = true
		}
		again := c.slot.dirty
		c.slot.dirty = true
		c.slot.mu.Unlock()
		if again {
			// It has entered the list anew, with a pin of its own.
			entered[c.slot] = true
			s.table.unpin(c.slot)
		}
	}
	s.dirtyMu.Lock()
	defer s.dirtyMu.Unlock()
	for _, sl := range list.slots {
		if !entered[sl] {
			s.dirty.slots = append(s.dirty.slots, sl)
		}
	}
	s.dirty.bytes += list.bytes
}

// writeCheckpoint writes the segment.
func (s *Store) writeCheckpoint(captures []capture, lsn uint64) (segment.Info, error) {
	sequence := s.sequence.Add(1)
	number := s.number.Add(1)
	w, err := segment.NewWriter(s.fs, s.segmentDir, segment.Info{
		Number: number, Checkpoint: lsn, Sequence: sequence, Oldest: sequence, Newest: sequence,
		LastID: s.lastID.Load(),
	})
	if err != nil {
		return segment.Info{}, err
	}
	for _, e := range entriesOf(captures) {
		if err := e.capture.write(w, e.id); err != nil {
			return segment.Info{}, errors.Join(err, w.Abort())
		}
	}
	return w.Finish()
}

// captureEntry is one entry that a capture makes in the segment's directory.
type captureEntry struct {
	id      uint64
	capture *capture
}

// entriesOf returns the entries that captures make, sorted by ID as a directory
// wants them.
func entriesOf(captures []capture) []captureEntry {
	entries := make([]captureEntry, 0, len(captures))
	for i := range captures {
		c := &captures[i]
		for _, id := range c.tombs {
			entries = append(entries, captureEntry{id, c})
		}
		if c.exists {
			entries = append(entries, captureEntry{c.meta.state.ID, c})
		}
	}
	slices.SortFunc(entries, func(a, b captureEntry) int { return cmp.Compare(a.id, b.id) })
	return entries
}

// write writes the bytes and the entry of one of a capture's streams: the one
// that exists, or one that is gone.
func (c *capture) write(w *segment.Writer, id uint64) error {
	if !c.exists || id != c.meta.state.ID {
		w.Add(&segment.Entry{Tombstone: true, ID: id, LSN: c.lsn, Name: c.slot.name})
		return nil
	}
	e := segment.Entry{ID: id, LSN: c.lsn, Name: c.slot.name, Meta: c.meta.encode()}
	if c.from < c.to {
		c.extent = &extent{start: c.from, len: int64(c.to - c.from), segment: w.Number(), offset: w.Offset()}
		e.Extents = []segment.Extent{{Start: int64(c.extent.start), Offset: c.extent.offset, Len: c.extent.len}}
		for _, p := range c.bytes {
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
	}
	w.Add(&e)
	return nil
}

// indexCheckpoint tells the index of the segment, and last of all the manifest.
func (s *Store) indexCheckpoint(captures []capture, info segment.Info, lsn uint64) error {
	u := s.newUpdate()
	var live int64
	for i := range captures {
		c := &captures[i]
		sl := c.slot
		for _, id := range c.tombs {
			u.removeProducers(id)
		}
		if !c.exists {
			if c.oldRecord != 0 {
				u.removeStream(sl.name, sl.deadline)
				sl.deadline = nil
			}
			continue
		}
		extents := c.extents
		if c.extent != nil {
			extents = append(slices.Clip(extents), *c.extent)
			live += c.extent.len
		}
		sl.deadline = u.stream(sl.name, &streamRecord{sequence: info.Sequence, lsn: c.lsn, state: c.meta.state, extents: extents}, sl.deadline)
		for j := range c.meta.producers {
			u.producer(c.meta.state.ID, &c.meta.producers[j])
		}
	}
	m := s.newManifest()
	m.checkpoint = lsn
	m.segments = append(m.segments, statOf(info, live))
	if err := u.commit(&m); err != nil {
		return err
	}
	s.segments.add(statOf(info, live))
	s.checkpointed.Store(lsn)
	return nil
}

// settleCapture lets go of what the segment has now.
func (s *Store) settleCapture(c *capture) {
	sl := c.slot
	sl.mu.Lock()
	switch {
	case !c.exists:
		sl.indexed = 0
	case sl.durable.exists && sl.durable.state.ID == c.meta.state.ID:
		sl.indexed = c.meta.state.ID
		if c.meta.state.Accessed.After(sl.stored) {
			sl.stored = c.meta.state.Accessed
		}
		if c.extent != nil {
			sl.extents = append(slices.Clip(sl.extents), *c.extent)
			sl.head.dropBefore(c.to)
		}
	default:
		// Removed while the segment was written: the next checkpoint buries it.
		sl.indexed = c.meta.state.ID
		if !slices.Contains(sl.tombs, c.meta.state.ID) {
			sl.tombs = append(sl.tombs, c.meta.state.ID)
		}
		if c.extent != nil {
			s.segments.dead([]extent{*c.extent})
		}
		s.markDirty(sl, 0)
	}
	sl.mu.Unlock()
	s.table.unpin(sl)
}

// forget accounts for the bytes of a stream that is purged. The slot's lock is
// held.
func (s *Store) forget(sl *slot) { s.segments.dead(sl.extents) }

func (s *Store) newUpdate() *update { return &update{catalog: &s.catalog} }

// newManifest returns the manifest as it is, without the change at hand.
func (s *Store) newManifest() manifest {
	m := manifest{checkpoint: s.checkpointed.Load(), lastID: s.lastID.Load(), sequence: s.sequence.Load()}
	m.segments, m.dropped = s.segments.list()
	return m
}
