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
// those that the manifest does not know yet are applied to the index, and if the
// manifest knows segments that are not there the index is not of these segments
// and is built anew.
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
	for _, n := range numbers {
		s.number.Store(max(s.number.Load(), n))
	}
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
	for _, st := range m.segments {
		if !slices.Contains(numbers, st.number) {
			return fmt.Errorf("%w: it names segment %s, which is not there", index.ErrCorrupt, segment.FileName(s.segmentDir, st.number))
		}
	}
	s.adopt(&m)
	if err := s.redo(&m, numbers); err != nil {
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

// adopt takes a manifest's counters and segments over.
func (s *Store) adopt(m *manifest) {
	s.sawID(m.lastID)
	s.checkpointed.Store(m.checkpoint)
	s.sequence.Store(max(s.sequence.Load(), m.sequence))
	for _, st := range m.segments {
		s.segments.add(st)
	}
	s.segments.drop(m.dropped)
}

// redo applies the segments that a crash kept from the manifest.
func (s *Store) redo(m *manifest, numbers []uint64) error {
	known := make(map[uint64]bool)
	for _, st := range m.segments {
		known[st.number] = true
	}
	var unknown []segment.Info
	for _, n := range numbers {
		if known[n] || slices.Contains(m.dropped, n) {
			continue
		}
		info, err := segment.ReadInfo(s.fs, s.segmentDir, n)
		if err != nil {
			return err
		}
		for _, r := range info.Replaces {
			if !known[r] {
				return fmt.Errorf("%w: it is older than the segments", index.ErrCorrupt)
			}
		}
		unknown = append(unknown, info)
	}
	if len(unknown) == 0 {
		return nil
	}
	s.opts.Logger.Warn("segments that the index does not know are applied to it", "segments", len(unknown))
	return s.applyAll(unknown, false)
}

// rebuild fills an empty index from the segments' directories.
func (s *Store) rebuild(numbers []uint64) error {
	start := time.Now()
	var infos []segment.Info
	replaced := make(map[uint64]bool)
	for _, n := range numbers {
		info, err := segment.ReadInfo(s.fs, s.segmentDir, n)
		if err != nil {
			return err
		}
		infos = append(infos, info)
		for _, r := range info.Replaces {
			replaced[r] = true
		}
	}
	var superseded []uint64
	infos = slices.DeleteFunc(infos, func(i segment.Info) bool {
		if replaced[i.Number] {
			superseded = append(superseded, i.Number)
		}
		return replaced[i.Number]
	})
	s.segments.drop(superseded)
	if err := s.applyAll(infos, true); err != nil {
		return err
	}
	s.opened = s.sequence.Load()
	streams, err := s.checkCoverage()
	if err != nil {
		return err
	}
	s.opts.Logger.Warn("index built anew", "segments", len(infos), "streams", streams, "duration", time.Since(start))
	return nil
}

// applyAll applies segments' directories to the index, oldest first, and commits
// the manifest.
func (s *Store) applyAll(infos []segment.Info, rebuild bool) error {
	slices.SortFunc(infos, func(a, b segment.Info) int {
		return cmp.Or(cmp.Compare(a.Newest, b.Newest), cmp.Compare(a.Sequence, b.Sequence))
	})
	u := s.newUpdate()
	for _, info := range infos {
		// A merge adds no streams: those that it has and the index has not were
		// removed since, unless the index is empty.
		insert := rebuild || len(info.Replaces) == 0
		live, err := s.applyDirectory(u, info, insert)
		if err != nil {
			return err
		}
		s.sawID(info.LastID)
		s.sequence.Store(max(s.sequence.Load(), info.Sequence))
		s.checkpointed.Store(max(s.checkpointed.Load(), info.Checkpoint))
		s.segments.add(statOf(info, live))
		if !rebuild {
			s.segments.drop(info.Replaces)
		}
	}
	m := s.newManifest()
	return u.commit(&m)
}

// applyDirectory applies one segment's directory to the index. Doing so again
// changes nothing.
func (s *Store) applyDirectory(u *update, info segment.Info, insert bool) (live int64, err error) {
	r, err := segment.Open(s.fs, s.segmentDir, info.Number)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	pending := make(map[string]bool) // names with changes that are not applied yet
	err = r.Entries(func(e *segment.Entry) error {
		if pending[e.Name] || u.batch.Len() == 0 {
			u.flush()
			clear(pending)
		}
		pending[e.Name] = true
		n, err := s.applyEntry(u, e, info, insert)
		live += n
		return errors.Join(err, u.err)
	})
	u.flush()
	return live, errors.Join(err, u.err)
}

// applyEntry applies one entry, and returns how many bytes of the segment it
// makes live.
func (s *Store) applyEntry(u *update, e *segment.Entry, info segment.Info, insert bool) (live int64, err error) {
	rec, err := s.catalog.stream(e.Name)
	exists := err == nil
	if err != nil && !errors.Is(err, index.ErrNotFound) {
		return 0, err
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
		return 0, nil
	case !same && !insert, exists && rec.state.ID > e.ID:
		return 0, nil
	case exists && !same:
		u.removeProducers(rec.state.ID)
		rec = streamRecord{}
	}
	m, err := decodeMeta(e.Meta)
	if err != nil || m.state.ID != e.ID {
		return 0, fmt.Errorf("%w: segment %d: entry of %q: %w", store.ErrCorrupt, info.Number, e.Name, errMalformed)
	}
	rec.extents = replaced(rec.extents, info, e.Extents)
	if e.LSN >= rec.lsn {
		rec.sequence, rec.lsn, rec.state = info.Sequence, e.LSN, m.state
	}
	u.stream(e.Name, &rec, old)
	for i := range m.producers {
		if err := s.applyProducer(u, e.ID, &m.producers[i]); err != nil {
			return 0, err
		}
	}
	for _, x := range e.Extents {
		live += x.Len
	}
	return live, nil
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

// checkCoverage makes sure that all bytes of all streams are somewhere, and
// returns how many streams there are.
func (s *Store) checkCoverage() (streams int, err error) {
	var gap error
	err = s.catalog.index.Scan([]byte{keyStream}, []byte{keyStream + 1}, func(key, value []byte) bool {
		name := string(key[1:])
		rec, err := decodeStream(name, value)
		if err != nil {
			gap = err
			return false
		}
		streams++
		at := base(&rec.state)
		for _, x := range rec.extents {
			if x.start != at {
				break
			}
			at = x.end()
		}
		if at != rec.state.Tail {
			gap = fmt.Errorf("%w: the bytes of stream %q from %s on are in no segment; a file in %s is missing", store.ErrCorrupt, name, at, s.segmentDir)
			return false
		}
		return true
	})
	return streams, errors.Join(err, gap)
}
