package disk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// A merge writes what is still alive of some segments into one new segment, and
// takes the old ones out of use. It serves two ends: a stream's many small
// extents become few, and the space of streams that are gone comes back. What a
// crash leaves is as with a checkpoint; the new segment's footer names the ones
// that it replaces, so both are never counted.

const (
	// mergeFanIn is how many segments of about the same size make a merge worth
	// its while. A byte is rewritten once for each power of it.
	mergeFanIn = 4
	// mergeTier is how much larger the largest of them may be than the smallest.
	mergeTier = 4
	// maxMergeInputs bounds the segments that one merge reads.
	maxMergeInputs = 32
	// deadShare is the part of a segment's data that must be dead for it to be
	// rewritten alone.
	deadShare = 0.3
	// maxTombstones makes a segment that holds little else worth rewriting.
	maxTombstones = 10000
)

// Merge rewrites some segments if that is worth it, and reports whether it did.
// The store calls it by itself unless Options.Manual is set.
func (s *Store) Merge() (bool, error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	s.look()
	stats, dropped := s.segments.list()
	now := s.sequence.Load()
	sound := slices.DeleteFunc(slices.Clone(stats), func(st segmentStat) bool { return st.spoiled })
	inputs := chooseInputs(sound, s.segmentSize.Load(), func(st segmentStat) bool {
		return oldestOther(stats, dropped, []segmentStat{st}, now) >= st.newest
	})
	if len(inputs) == 0 {
		return false, nil
	}
	var live, size int64
	for _, in := range inputs {
		live += in.live
		size += in.size - minDataEnd
	}
	if err := s.room.background(live, live <= size/2); err != nil {
		return false, fmt.Errorf("merge: %w", err)
	}
	m := merge{store: s, inputs: inputs, stats: stats, dropped: dropped, oldest: oldestOther(stats, dropped, inputs, now)}
	if err := m.run(); err != nil {
		if damage := (*store.CorruptionError)(nil); errors.As(err, &damage) {
			m.leaveOut(damage.File)
		}
		return false, fmt.Errorf("merge: %w", err)
	}
	return true, nil
}

// leaveOut keeps a damaged segment out of merges, which would fail for ever and
// let no other one happen.
func (m *merge) leaveOut(file string) {
	for _, in := range m.inputs {
		if segment.FileName(m.store.segmentDir, in.number) == file {
			m.store.segments.spoil(in.number)
		}
	}
}

// chooseInputs returns the segments to merge next, none if no merge is worth it.
// droppable says whether a segment's tombstones are needed no more.
func chooseInputs(stats []segmentStat, segmentSize int64, droppable func(segmentStat) bool) []segmentStat {
	for _, st := range stats {
		if float64(st.live) <= (1-deadShare)*float64(st.size-minDataEnd) && st.size > minDataEnd ||
			st.size <= minDataEnd && st.tombstones > maxTombstones && droppable(st) {
			return []segmentStat{st}
		}
	}
	small := slices.DeleteFunc(slices.Clone(stats), func(st segmentStat) bool { return st.live >= segmentSize/2 })
	slices.SortFunc(small, func(a, b segmentStat) int { return cmp.Compare(a.live, b.live) })
	for first := range small {
		var sum int64
		n := 0
		for _, st := range small[first:] {
			tooLarge := st.live > mergeTier*max(small[first].live, segmentSize/1024)
			if tooLarge || sum+st.live > segmentSize || n == maxMergeInputs {
				break
			}
			sum += st.live
			n++
		}
		if n >= mergeFanIn {
			return small[first : first+n]
		}
	}
	return nil
}

// minDataEnd is where the data of a segment without any ends.
const minDataEnd = 64

// oldestOther returns the oldest checkpoint that segments other than the inputs
// hold entries of. A tombstone is needed while there are older ones. Dropped
// segments count as long as their files exist: a rebuilt index would read them.
func oldestOther(stats []segmentStat, dropped []uint64, inputs []segmentStat, now uint64) uint64 {
	oldest := now
	for _, st := range stats {
		if !slices.ContainsFunc(inputs, func(in segmentStat) bool { return in.number == st.number }) {
			oldest = min(oldest, st.oldest)
		}
	}
	if len(dropped) > 0 {
		return 0
	}
	return oldest
}

// merge is one merge under way.
type merge struct {
	store  *Store
	inputs []segmentStat
	// stats and dropped are all segments as the merge begins.
	stats   []segmentStat
	dropped []uint64
	oldest  uint64 // see oldestOther

	writer  *segment.Writer
	entries []segment.Entry // what the output says, but for metas
}

// source is an input's directory, read entry by entry in the order of IDs.
type source struct {
	number uint64
	newest uint64
	next   func() (*segment.Entry, error) // nil at the end
	entry  *segment.Entry
}

func (m *merge) run() error {
	s := m.store
	start := time.Now()
	info := segment.Info{Number: s.number.Add(1), Sequence: s.sequence.Add(1), Oldest: ^uint64(0), LastID: s.lastID.Load()}
	for _, in := range m.inputs {
		info.Replaces = append(info.Replaces, in.number)
		info.Oldest = min(info.Oldest, in.oldest)
		info.Newest = max(info.Newest, in.newest)
		info.Checkpoint = max(info.Checkpoint, in.checkpoint)
	}
	info.Replaces = append(info.Replaces, m.dropped...)
	slices.Sort(info.Replaces)
	info, written, err := m.write(info)
	if err != nil {
		s.segments.drop([]uint64{info.Number})
		return err
	}
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	if err := s.finish(); err != nil {
		s.segments.drop([]uint64{info.Number})
		return err
	}
	s.unfinished = func() error {
		if err := m.commit(info, written); err != nil {
			return err
		}
		s.merges.Add(1)
		s.mergedBytes.Add(uint64(info.DataEnd))
		s.opts.Logger.Debug("segments merged", "segment", info.Number, "replaced", len(m.inputs), "streams", len(m.entries), "bytes", info.DataEnd, "duration", time.Since(start))
		return nil
	}
	return s.finish()
}

// write writes the output, unless there is none.
func (m *merge) write(info segment.Info) (_ segment.Info, written bool, err error) {
	s := m.store
	if m.writer, err = segment.NewWriter(s.fs, s.segmentDir, info); err != nil {
		return info, false, err
	}
	if err := m.copy(); err != nil {
		return info, false, errors.Join(err, m.writer.Abort())
	}
	if len(m.entries) == 0 && m.vanishes(info) {
		return info, false, m.writer.Abort()
	}
	written = true
	out, err := m.writer.Finish()
	if err != nil {
		return info, false, err
	}
	return out, true, nil
}

// vanishes reports whether inputs of which nothing is left may go without a
// successor. It takes one to say how far the journal is covered, if no other
// segment does, and to keep streams buried: the files' removals may reach the
// disk in any order.
func (m *merge) vanishes(info segment.Info) bool {
	for _, in := range m.inputs {
		if in.tombstones > 0 {
			return false
		}
	}
	return slices.ContainsFunc(m.stats, func(st segmentStat) bool {
		return !m.isInput(st.number) && st.checkpoint >= info.Checkpoint
	})
}

// copy writes the living streams of all inputs.
func (m *merge) copy() error {
	var sources []*source
	for _, in := range m.inputs {
		r, err := segment.Open(m.store.fs, m.store.segmentDir, in.number)
		if err != nil {
			return err
		}
		defer r.Close()
		next, stop := entriesInOrder(r)
		defer stop()
		src := &source{number: in.number, newest: in.newest, next: next}
		if src.entry, err = src.next(); err != nil {
			return err
		}
		if src.entry != nil {
			sources = append(sources, src)
		}
	}
	for len(sources) > 0 {
		id := sources[0].entry.ID
		for _, src := range sources[1:] {
			id = min(id, src.entry.ID)
		}
		var group []mention
		for i := 0; i < len(sources); i++ {
			src := sources[i]
			for src.entry != nil && src.entry.ID == id {
				group = append(group, mention{src.number, src.newest, src.entry})
				var err error
				if src.entry, err = src.next(); err != nil {
					return err
				}
			}
			if src.entry == nil {
				sources = slices.Delete(sources, i, i+1)
				i--
			}
		}
		if err := m.stream(id, group); err != nil {
			return err
		}
	}
	return nil
}

// mention is what one input says of a stream.
type mention struct {
	segment uint64
	newest  uint64
	entry   *segment.Entry
}

// stream writes what is alive of one stream.
func (m *merge) stream(id uint64, group []mention) error {
	name := group[0].entry.Name
	for _, g := range group {
		if g.entry.Tombstone {
			if m.oldest < g.newest {
				m.writer.Add(g.entry)
				m.entries = append(m.entries, segment.Entry{Tombstone: true, ID: id, Name: name})
			}
			return nil
		}
	}
	rec, err := m.store.catalog.stream(name)
	if errors.Is(err, index.ErrNotFound) || err == nil && rec.state.ID != id {
		return nil // gone
	}
	if err != nil {
		return asStoreError(err)
	}
	out := segment.Entry{ID: id, LSN: rec.lsn, Name: name}
	state := meta{state: rec.state}
	needed := false
	for _, g := range group {
		needed = needed || g.entry.LSN == rec.lsn
		in, err := decodeMeta(g.entry.Meta)
		if err != nil {
			return fmt.Errorf("segment %d: entry of %q: %w", g.segment, name, err)
		}
		for _, p := range in.producers {
			now, err := m.store.catalog.producer(id, p.ID)
			if err != nil && !errors.Is(err, index.ErrNotFound) {
				return asStoreError(err)
			}
			if err == nil && now == (protocol.ProducerState{Epoch: p.Epoch, Seq: p.Seq}) {
				state.producers = append(state.producers, p)
			}
		}
	}
	if err := m.copyExtents(&out, rec.extents); err != nil {
		return err
	}
	if !needed && len(out.Extents) == 0 && len(state.producers) == 0 {
		return nil
	}
	out.Meta = state.encode()
	m.writer.Add(&out)
	out.Meta = nil
	m.entries = append(m.entries, out)
	return nil
}

// copyExtents copies the extents that are in the inputs. Neighbours become one.
func (m *merge) copyExtents(out *segment.Entry, extents []extent) error {
	for _, x := range extents {
		if !m.isInput(x.segment) {
			continue
		}
		at := m.writer.Offset()
		for done := int64(0); done < x.len; {
			n := min(x.len-done, readPiece)
			err := m.store.readSegment(x.segment, x.offset+done, int(n), func(p []byte) error {
				_, err := m.writer.Write(p)
				return err
			})
			if err != nil {
				return err
			}
			done += n
			if err := m.store.pace(n); err != nil {
				return err
			}
		}
		if n := len(out.Extents); n > 0 && out.Extents[n-1].Start+out.Extents[n-1].Len == int64(x.start) {
			out.Extents[n-1].Len += x.len
			continue
		}
		out.Extents = append(out.Extents, segment.Extent{Start: int64(x.start), Offset: at, Len: x.len})
	}
	return nil
}

func (m *merge) isInput(number uint64) bool {
	return slices.ContainsFunc(m.inputs, func(in segmentStat) bool { return in.number == number })
}

// commit makes the output count instead of the inputs. maintenance is held.
func (m *merge) commit(info segment.Info, written bool) error {
	s := m.store
	u := s.newUpdate()
	var live int64
	for i := range m.entries {
		n, err := u.replaceExtents(&m.entries[i], info)
		if err != nil {
			return err
		}
		live += n
	}
	u.flush()
	if u.err != nil {
		return u.err
	}
	// What is loaded from the index from here on is up to date; what was loaded
	// before is corrected now.
	for i := range m.entries {
		e := &m.entries[i]
		sl := s.table.find(e.Name)
		if sl == nil {
			continue
		}
		sl.mu.Lock()
		if sl.loaded && sl.durable.exists && sl.durable.state.ID == e.ID {
			sl.extents = replaced(sl.extents, info, e.Extents)
		}
		sl.mu.Unlock()
		s.table.unpin(sl)
	}
	inputs := make([]uint64, 0, len(m.inputs))
	for _, in := range m.inputs {
		inputs = append(inputs, in.number)
	}
	mf := s.newManifest()
	mf.segments = slices.DeleteFunc(mf.segments, func(st segmentStat) bool { return m.isInput(st.number) })
	if written {
		mf.segments = append(mf.segments, statOf(info, live))
	}
	mf.dropped = append(mf.dropped, inputs...)
	if err := u.commit(&mf); err != nil {
		return err
	}
	if written {
		s.segments.add(statOf(info, live))
	}
	s.segments.drop(inputs)
	s.collect()
	return nil
}

// replaceExtents changes a stream's record after a merge, and returns how many
// bytes the stream has in the output, if it still exists.
func (u *update) replaceExtents(e *segment.Entry, info segment.Info) (live int64, err error) {
	if e.Tombstone {
		return 0, nil
	}
	rec, err := u.catalog.stream(e.Name)
	if errors.Is(err, index.ErrNotFound) || err == nil && rec.state.ID != e.ID {
		return 0, nil // removed by a checkpoint meanwhile
	}
	if err != nil {
		return 0, err
	}
	rec.extents = replaced(rec.extents, info, e.Extents)
	u.set(streamKey(e.Name), rec.encode())
	for _, x := range e.Extents {
		live += x.Len
	}
	return live, nil
}

// replaced returns a stream's extents with those in replaced segments, or in the
// new one, exchanged for the new one's.
func replaced(old []extent, info segment.Info, added []segment.Extent) []extent {
	out := make([]extent, 0, len(old)+len(added))
	for _, x := range old {
		if x.segment != info.Number && !slices.Contains(info.Replaces, x.segment) {
			out = append(out, x)
		}
	}
	for _, x := range added {
		out = append(out, extent{start: protocol.Offset(x.Start), len: x.Len, segment: info.Number, offset: x.Offset})
	}
	slices.SortFunc(out, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	return out
}

// collect removes the files of dropped segments that nobody reads. A segment is
// forgotten only when its removal is durable: a file that came back unknown would
// be taken for one that the index has not seen yet. maintenance is held.
func (s *Store) collect() {
	var removed []uint64
	for _, n := range s.segments.collectable() {
		s.pool.Forget(n)
		if err := s.fs.Remove(segment.FileName(s.segmentDir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.opts.Logger.Warn("superseded segment not removed", "segment", n, "error", err)
			continue
		}
		removed = append(removed, n)
	}
	if len(removed) == 0 {
		return
	}
	if err := s.fs.SyncDir(s.segmentDir); err != nil {
		s.opts.Logger.Warn("folder of segments not synced", "error", err)
		return
	}
	for _, n := range removed {
		s.segments.gone(n)
	}
}

// entriesInOrder returns a segment's entries one by one, nil at the end.
func entriesInOrder(r *segment.Reader) (next func() (*segment.Entry, error), stop func()) {
	pull, stop := iter.Pull2(func(yield func(*segment.Entry, error) bool) {
		err := r.Entries(func(e *segment.Entry) error {
			own := *e
			own.Meta = bytes.Clone(e.Meta)
			if !yield(&own, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	})
	return func() (*segment.Entry, error) {
		e, err, _ := pull()
		return e, err
	}, stop
}

var errStopped = errors.New("stopped")
