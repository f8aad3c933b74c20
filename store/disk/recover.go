package disk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// loadSegments makes the index and the segments agree. Segments are the truth:
// those that the manifest does not know yet are applied to the index. An index
// that is older than the segments, so that some it knows are gone, is built anew.
func (s *Store) loadSegments() error {
	numbers, leftovers, err := segment.List(s.fs, s.segmentDir)
	if err != nil {
		return err
	}
	for _, name := range leftovers {
		s.opts.Logger.Warn("unfinished segment removed", "file", name)
		if err := s.fs.Remove(name); err != nil {
			return err
		}
	}
	// A process that was killed may have left a segment whose name a power loss
	// would still take away, after the index has learnt of it.
	if err := s.fs.SyncDir(s.segmentDir); err != nil {
		return err
	}
	s.sawNumbers(numbers)
	m, err := s.catalog.manifest()
	switch {
	case err == nil:
	case !errors.Is(err, index.ErrNotFound):
		return err
	case len(numbers) > 0:
		s.opts.Logger.Warn("the index is missing; it is built anew from the segments", "segments", len(numbers))
		return s.rebuild(numbers)
	default:
		// IDs go on from the time, so that a folder that is emptied does not
		// repeat the ETags that caches keep.
		s.lastID.Store(uint64(time.Now().UnixNano()))
		u := s.newUpdate()
		fresh := s.newManifest()
		return u.commit(&fresh)
	}
	var unknown []uint64
	for _, n := range numbers {
		if !m.knows(n) {
			unknown = append(unknown, n)
		}
	}
	if err := s.checkMissing(&m, numbers, unknown); err != nil {
		return err
	}
	s.adopt(&m)
	if err := s.redo(&m, unknown); err != nil {
		return err
	}
	if !m.clean {
		s.opened = s.sequence.Load()
		return nil
	}
	dirty := s.newManifest()
	u := s.newUpdate()
	return u.commit(&dirty)
}

// knows reports whether the manifest names the segment.
func (m *manifest) knows(number uint64) bool {
	return slices.Contains(m.dropped, number) ||
		slices.ContainsFunc(m.segments, func(st segmentStat) bool { return st.number == number })
}

// checkMissing looks for segments of the manifest that are not there. If there
// are others that it does not know, the index is older than the segments.
func (s *Store) checkMissing(m *manifest, numbers, unknown []uint64) error {
	for i := 0; i < len(m.segments); i++ {
		st := m.segments[i]
		if slices.Contains(numbers, st.number) {
			continue
		}
		file := segment.FileName(s.segmentDir, st.number)
		switch {
		case len(unknown) > 0:
			return fmt.Errorf("%w: it is older than the segments: it names %s, which is not there", index.ErrCorrupt, file)
		case st.live > 0:
			return &store.CorruptionError{File: file, Reason: fmt.Sprintf("the segment is missing, and %d bytes of streams with it", st.live)}
		}
		// An older index may still name what has vanished since.
		s.opts.Logger.Warn("a segment without living data is missing", "file", file)
		m.segments = slices.Delete(m.segments, i, i+1)
		i--
	}
	return nil
}

// sawNumbers keeps the numbers of new segments above all that were used: what is
// said of an old one must never be true of a new one.
func (s *Store) sawNumbers(numbers []uint64) {
	for _, n := range numbers {
		s.number.Store(max(s.number.Load(), n))
	}
}

// adopt takes a manifest's counters and segments over.
func (s *Store) adopt(m *manifest) {
	s.sawID(m.lastID)
	s.checkpointed.Store(m.checkpoint)
	s.sequence.Store(max(s.sequence.Load(), m.sequence))
	for _, st := range m.segments {
		s.segments.add(st)
		s.sawNumbers([]uint64{st.number})
	}
	s.segments.drop(m.dropped)
	s.sawNumbers(m.dropped)
}

// redo applies the segments that a crash kept from the manifest.
func (s *Store) redo(m *manifest, unknown []uint64) error {
	if len(unknown) == 0 {
		return nil
	}
	infos, err := s.readInfos(unknown)
	if err != nil {
		return err
	}
	for _, info := range infos {
		for _, r := range info.Replaces {
			// What a merge replaces, the index learnt of before the merge began.
			if !m.knows(r) && (isMerge(info) || !slices.Contains(unknown, r)) {
				return fmt.Errorf("%w: it is older than the segments", index.ErrCorrupt)
			}
		}
	}
	s.opts.Logger.Warn("segments that the index does not know are applied to it", "segments", len(unknown))
	if _, err = s.applyAll(infos, false); errors.Is(err, errGap) {
		return fmt.Errorf("%w: %w", index.ErrCorrupt, err)
	}
	return err
}

// rebuild fills an empty index from the segments' directories.
func (s *Store) rebuild(numbers []uint64) error {
	start := time.Now()
	infos, err := s.readInfos(numbers)
	if err != nil {
		return err
	}
	streams, err := s.applyAll(infos, true)
	if err != nil {
		return err
	}
	s.opened = s.sequence.Load()
	s.opts.Logger.Warn("index built anew", "segments", len(numbers), "streams", streams, "duration", time.Since(start))
	return nil
}

func (s *Store) readInfos(numbers []uint64) (infos []segment.Info, err error) {
	for _, n := range numbers {
		info, err := segment.ReadInfo(s.fs, s.segmentDir, n)
		if err != nil {
			return nil, err
		}
		s.sawNumbers(info.Replaces)
		infos = append(infos, info)
	}
	return infos, nil
}

func isMerge(i segment.Info) bool { return i.Newest != i.Sequence }

// inUse returns those of the segments that no other one replaces, and the others.
// What a segment that does not count says of others does not count either.
func inUse(infos []segment.Info) (used []segment.Info, superseded []uint64) {
	slices.SortFunc(infos, func(a, b segment.Info) int { return cmp.Compare(b.Sequence, a.Sequence) })
	replaced := make(map[uint64]bool)
	for _, info := range infos {
		if replaced[info.Number] {
			superseded = append(superseded, info.Number)
			continue
		}
		used = append(used, info)
		for _, r := range info.Replaces {
			replaced[r] = true
		}
	}
	return used, superseded
}

// applyAll applies segments' directories to the index, oldest first, and commits
// the manifest. It returns how many streams there are.
func (s *Store) applyAll(infos []segment.Info, rebuild bool) (streams int, err error) {
	infos, superseded := inUse(infos)
	s.segments.drop(superseded)
	slices.SortFunc(infos, func(a, b segment.Info) int {
		return cmp.Or(cmp.Compare(a.Newest, b.Newest), cmp.Compare(a.Sequence, b.Sequence))
	})
	u := s.newUpdate()
	for _, info := range infos {
		// A merge adds no streams: those that it has and the index has not were
		// removed since, unless the index is empty.
		if err := s.applyDirectory(u, info, rebuild || !isMerge(info)); err != nil {
			return 0, err
		}
		s.sawID(info.LastID)
		s.sequence.Store(max(s.sequence.Load(), info.Sequence))
		s.checkpointed.Store(max(s.checkpointed.Load(), info.Checkpoint))
		s.segments.add(statOf(info, 0))
		if !rebuild {
			s.segments.drop(info.Replaces)
		}
	}
	if streams, err = s.recount(); err != nil {
		return 0, err
	}
	m := s.newManifest()
	return streams, u.commit(&m)
}

// applyDirectory applies one segment's directory to the index. Doing so again
// changes nothing.
func (s *Store) applyDirectory(u *update, info segment.Info, insert bool) error {
	r, err := segment.Open(s.fs, s.segmentDir, info.Number)
	if err != nil {
		return err
	}
	defer r.Close()
	pending := make(map[string]bool) // names with changes that are not applied yet
	err = r.Entries(func(e *segment.Entry) error {
		if pending[e.Name] || u.batch.Len() == 0 {
			u.flush()
			clear(pending)
		}
		pending[e.Name] = true
		return errors.Join(s.applyEntry(u, e, info, insert), u.err)
	})
	u.flush()
	return errors.Join(err, u.err)
}

// applyEntry applies one entry.
func (s *Store) applyEntry(u *update, e *segment.Entry, info segment.Info, insert bool) error {
	rec, err := s.catalog.stream(e.Name)
	exists := err == nil
	if err != nil && !errors.Is(err, index.ErrNotFound) {
		return err
	}
	var old []byte
	if exists {
		old = deadlineKey(e.Name, &rec.state)
	}
	same := exists && rec.state.ID == e.ID
	switch {
	case e.Tombstone:
		if same {
			u.removeStream(e.Name, old)
		}
		u.removeProducers(e.ID)
		return nil
	case !same && !insert, exists && rec.state.ID > e.ID:
		return nil
	case exists && !same:
		u.removeProducers(rec.state.ID)
		rec = streamRecord{}
	}
	m, err := decodeMeta(e.Meta)
	if err != nil || m.state.ID != e.ID {
		return fmt.Errorf("%w: segment %d: entry of %q: %w", store.ErrCorrupt, info.Number, e.Name, errMalformed)
	}
	rec.extents = replaced(rec.extents, info, e.Extents)
	if e.LSN >= rec.lsn {
		rec.sequence, rec.lsn, rec.state = info.Sequence, e.LSN, m.state
	}
	u.stream(e.Name, &rec, old)
	for i := range m.producers {
		if err := s.applyProducer(u, e.ID, &m.producers[i]); err != nil {
			return err
		}
	}
	return nil
}

// applyProducer keeps the later of what two segments say of a producer.
func (s *Store) applyProducer(u *update, id uint64, p *protocol.Producer) error {
	now, err := s.catalog.producer(id, p.ID)
	if err != nil && !errors.Is(err, index.ErrNotFound) {
		return err
	}
	if err == nil && (now.Epoch > p.Epoch || now.Epoch == p.Epoch && now.Seq >= p.Seq) {
		return nil
	}
	u.producer(id, p)
	return nil
}

var errGap = fmt.Errorf("%w: bytes are in no segment", store.ErrCorrupt)

// recount counts the living bytes of all segments, makes sure that all bytes of
// all streams are somewhere, and returns how many streams there are.
func (s *Store) recount() (streams int, err error) {
	live := make(map[uint64]int64)
	var damage error
	err = s.catalog.scan([]byte{keyStream}, []byte{keyStream + 1}, func(key, value []byte) bool {
		name := string(key[1:])
		var rec streamRecord
		if rec, damage = decodeStream(name, value); damage != nil {
			return false
		}
		streams++
		at := base(&rec.state)
		for _, x := range rec.extents {
			live[x.segment] += x.len
			if x.start == at {
				at = x.end()
			}
		}
		if at != rec.state.Tail {
			damage = fmt.Errorf("%w: those of stream %q from %s on; a file in %s is missing", errGap, name, at, s.segmentDir)
		}
		return damage == nil
	})
	s.segments.setLive(live)
	return streams, errors.Join(err, damage)
}
