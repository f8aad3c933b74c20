package disk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
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
	// dead is how many bytes of segments the next checkpoint will set free.
	dead int64
}

// due returns what the list counts against Options.CheckpointSize: space in
// memory or on the disk that a checkpoint would give back.
func (d *dirtyList) due() int64 { return d.bytes + d.dead }

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
	full := s.dirty.due() >= s.opts.CheckpointSize
	s.dirtyMu.Unlock()
	s.headRoom.used.Add(n)
	if full {
		s.kick()
	}
}

// forget counts the segments' bytes of a stream that is purged. They are dead
// when a checkpoint has told the index. The slot's lock is held.
func (s *Store) forget(sl *slot) {
	var n int64
	for _, x := range sl.extents {
		n += x.len
	}
	if n == 0 {
		return
	}
	s.dirtyMu.Lock()
	s.dirty.dead += n
	full := s.dirty.due() >= s.opts.CheckpointSize
	s.dirtyMu.Unlock()
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
	extent    *extent // where the bytes are now
	flushed   []*producer
	oldRecord uint64   // slot.indexed before
	dead      []extent // of that stream, if it is gone
	deadline  []byte   // slot.deadline from now on
}

// Checkpoint writes a checkpoint if anything has changed. The store calls it by
// itself unless Options.Manual is set.
func (s *Store) Checkpoint() error {
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	s.look()
	err := s.finish()
	if err == nil {
		err = s.checkpoint()
	}
	s.headRoom.setStuck(spaceError(err))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func (s *Store) checkpoint() error {
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
	captures := make([]capture, 0, len(list.slots))
	for _, sl := range list.slots {
		captures = append(captures, sl.capture())
	}
	info, err := s.writeCheckpoint(captures, lsn)
	if err != nil {
		s.putBack(list, captures)
		return err
	}
	s.unfinished = func() error {
		if err := s.indexCheckpoint(captures, info, lsn); err != nil {
			return err
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
	return s.finish()
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
		// What is known, not what was guessed when the store was opened.
		c.meta.state.Accessed = s.journaled
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
	s.dirty.dead += list.dead
}

// writeCheckpoint writes the segment.
func (s *Store) writeCheckpoint(captures []capture, lsn uint64) (segment.Info, error) {
	var size int64
	for i := range captures {
		c := &captures[i]
		size += int64(c.to-c.from) + slotOverhead
		if err := s.lookUpDead(c); err != nil {
			return segment.Info{}, err
		}
	}
	if err := s.room.background(size, true); err != nil {
		return segment.Info{}, err
	}
	if err := s.secure(); err != nil {
		return segment.Info{}, err
	}
	sequence := s.sequence.Add(1)
	_, dropped := s.segments.list()
	info := segment.Info{
		Number: s.number.Add(1), Checkpoint: lsn, Sequence: sequence, Oldest: sequence, Newest: sequence,
		LastID: s.lastID.Load(), Replaces: dropped,
	}
	written, err := s.writeSegment(info, captures)
	if err != nil {
		s.segments.drop([]uint64{info.Number})
	}
	return written, err
}

func (s *Store) writeSegment(info segment.Info, captures []capture) (segment.Info, error) {
	w, err := segment.NewWriter(s.fs, s.segmentDir, info)
	if err != nil {
		return info, err
	}
	for _, e := range entriesOf(captures) {
		if err := e.capture.write(w, e.id); err != nil {
			return info, errors.Join(err, w.Abort())
		}
	}
	return w.Finish()
}

// lookUpDead finds the extents that die with what the capture removes. The
// index's record says where they are now.
func (s *Store) lookUpDead(c *capture) error {
	if c.oldRecord == 0 || c.exists && c.oldRecord == c.meta.state.ID {
		return nil
	}
	rec, err := s.catalog.stream(c.slot.name)
	if err == nil && rec.state.ID == c.oldRecord {
		c.dead = rec.extents
	}
	if errors.Is(err, index.ErrNotFound) {
		return nil
	}
	return err
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
	var dead []extent
	for i := range captures {
		c := &captures[i]
		sl := c.slot
		dead = append(dead, c.dead...)
		for _, id := range c.tombs {
			u.removeProducers(id)
		}
		if !c.exists {
			if c.oldRecord != 0 {
				u.removeStream(sl.name, sl.deadline)
			}
			continue
		}
		extents := c.extents
		if c.extent != nil {
			extents = append(slices.Clip(extents), *c.extent)
			live += c.extent.len
		}
		c.deadline = u.stream(sl.name, &streamRecord{sequence: info.Sequence, lsn: c.lsn, state: c.meta.state, extents: extents}, sl.deadline)
		for j := range c.meta.producers {
			u.producer(c.meta.state.ID, &c.meta.producers[j])
		}
	}
	m := s.newManifest()
	m.checkpoint = lsn
	kill(m.segments, dead)
	m.segments = append(m.segments, statOf(info, live))
	if err := u.commit(&m); err != nil {
		return err
	}
	s.segments.dead(dead)
	s.segments.add(statOf(info, live))
	s.checkpointed.Store(lsn)
	return nil
}

// settleCapture lets go of what the segment has now.
func (s *Store) settleCapture(c *capture) {
	sl := c.slot
	sl.mu.Lock()
	sl.deadline = c.deadline
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
		sl.pruneProducers()
	default:
		// Removed while the segment was written: the next checkpoint buries it.
		sl.indexed = c.meta.state.ID
		if !slices.Contains(sl.tombs, c.meta.state.ID) {
			sl.tombs = append(sl.tombs, c.meta.state.ID)
		}
		s.markDirty(sl, 0)
	}
	sl.mu.Unlock()
	s.table.unpin(sl)
}

func (s *Store) newUpdate() *update { return &update{catalog: &s.catalog} }

// newManifest returns the manifest as it is, without the change at hand.
func (s *Store) newManifest() manifest {
	m := manifest{checkpoint: s.checkpointed.Load(), lastID: s.lastID.Load(), sequence: s.sequence.Load()}
	m.segments, m.dropped = s.segments.list()
	return m
}
