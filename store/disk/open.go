package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/filepool"
	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/journal"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// Open opens the store in a folder, and recovers what a crash left of it.
func Open(opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := open(opts, false)
	if errors.Is(err, index.ErrCorrupt) {
		opts.Logger.Warn("the index is damaged; it is built anew from the segments", "dir", opts.Dir, "error", err)
		s, err = open(opts, true)
	}
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", opts.Dir, err)
	}
	s.start()
	return s, nil
}

// open is one try of Open. fresh throws the index away first.
func open(opts Options, fresh bool) (_ *Store, err error) {
	s := &Store{
		opts: opts, fs: opts.FS,
		journalDir: filepath.Join(opts.Dir, "journal"),
		segmentDir: filepath.Join(opts.Dir, "segments"),
		indexDir:   filepath.Join(opts.Dir, "index"),
		closing:    make(chan struct{}),
		wake:       make(chan struct{}, 1),
		compact:    make(chan struct{}, 1),
	}
	s.table = newTable(s.deadlines.remove, func(sl *slot) { s.markDirty(sl, 0) })
	s.segments.init(s.kickMerger)
	s.headRoom.init(2 * opts.CheckpointSize)
	s.room.setMinimum(opts.MinFreeSpace)
	s.segmentSize.Store(opts.SegmentSize)
	s.interval = opts.SyncInterval
	s.lax.Store(opts.SyncInterval > 0)
	s.pool = filepool.New(opts.MaxFileHandles,
		func(number uint64) (*segment.Reader, error) { return segment.Open(s.fs, s.segmentDir, number) },
		(*segment.Reader).Close)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if err := s.makeFolders(); err != nil {
		return nil, err
	}
	s.look()
	if err := s.room.check(); err != nil {
		opts.Logger.Warn("too little free space; creations and appends are refused until there is more", "dir", opts.Dir, "error", err)
	}
	if fresh {
		if err := opts.RemoveIndex(s.indexDir); err != nil {
			return nil, err
		}
	}
	if s.catalog.index, err = opts.OpenIndex(s.indexDir); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if err := s.loadSegments(); err != nil {
		return nil, err
	}
	start := time.Now()
	var records int
	s.journal, err = journal.Open(s.fs, s.journalDir, journal.Options{
		FileSize: opts.JournalFileSize, SyncInterval: opts.SyncInterval, Logger: opts.Logger,
		MinFree: reserve(opts.MinFreeSpace),
	}, s.checkpointed.Load(), func(lsn uint64, record []byte) error {
		records++
		return s.replay(lsn, record)
	})
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if records > 0 {
		// The process that wrote them did not close the store.
		s.table.each(func(sl *slot) {
			sl.mu.Lock()
			sl.forgive()
			sl.mu.Unlock()
		})
		opts.Logger.Info("journal replayed", "records", records, "duration", time.Since(start))
	}
	return s, nil
}

// makeFolders creates what is missing and takes the lock.
func (s *Store) makeFolders() error {
	if err := s.fs.MkdirAll(s.opts.Dir); err != nil {
		return err
	}
	lock, err := s.fs.Lock(filepath.Join(s.opts.Dir, "lock"))
	if locked := (*vfs.LockedError)(nil); errors.As(err, &locked) {
		return fmt.Errorf("the folder is in use by another server (process %d); stop that one or choose another folder: %w", locked.PID, err)
	}
	if err != nil {
		return err
	}
	s.lock = lock
	for _, dir := range []string{s.journalDir, s.segmentDir} {
		if err := s.fs.MkdirAll(dir); err != nil {
			return err
		}
	}
	for dir := s.opts.Dir; ; dir = filepath.Dir(dir) {
		if err := s.fs.SyncDir(dir); err != nil {
			if dir == s.opts.Dir {
				return err
			}
			break // a folder above that is not ours, and was there before
		}
		if dir == filepath.Dir(dir) || dir == "." {
			break
		}
	}
	return nil
}

// replay applies a record of the journal. What a segment has already is skipped,
// stream by stream.
func (s *Store) replay(lsn uint64, record []byte) error {
	o := op{store: s}
	targets, err := decodeRecord(&o, record)
	if err != nil {
		return fmt.Errorf("%w: journal record %d: %w", store.ErrCorrupt, lsn, err)
	}
	if len(o.Body) >= maxHeadChunk/4 {
		o.Body = append([]byte(nil), o.Body...) // the head keeps it as it is
		o.append.Body = o.Body
	}
	if o.kind == recordCreate {
		if want := base(&o.create) + protocol.Offset(len(o.Body)); o.create.Tail != want {
			return fmt.Errorf("%w: journal record %d: a stream of %d bytes has %d", store.ErrCorrupt, lsn, want, o.create.Tail)
		}
	}
	for _, rt := range targets {
		s.sawID(rt.id)
		sl, err := s.acquire(rt.name)
		if err != nil {
			return err
		}
		sl.mu.Lock()
		v := &sl.durable
		applies := lsn > v.lsn && (rt.effect == effectCreate || v.exists && v.state.ID == rt.id)
		if applies {
			t := target{slot: sl, id: rt.id, effect: rt.effect}
			if rt.effect == effectCreate && v.exists {
				sl.mu.Unlock()
				return fmt.Errorf("%w: journal record %d creates %q, which exists", store.ErrCorrupt, lsn, rt.name)
			}
			o.assign(t, lsn)
			o.publish(t, lsn)
		}
		sl.mu.Unlock()
		s.table.unpin(sl)
	}
	return nil
}

// sawID keeps IDs of new streams above all that were ever given out.
func (s *Store) sawID(id uint64) {
	if id > s.lastID.Load() {
		s.lastID.Store(id)
	}
}

func removeAll(dir string) error { return os.RemoveAll(dir) }

func isRefusal(err error) bool {
	var refusal *protocol.Refusal
	return errors.As(err, &refusal)
}
