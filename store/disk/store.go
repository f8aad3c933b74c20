package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/filepool"
	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/journal"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// Store is the disk engine. It implements store.Store.
type Store struct {
	opts Options
	fs   vfs.FS
	lock io.Closer

	journalDir, segmentDir, indexDir string

	journal  *journal.Journal
	catalog  catalog
	table    *table
	segments segments
	pool     *filepool.Pool[uint64, *segment.Reader]

	room        freeSpace
	headRoom    headRoom
	segmentSize atomic.Int64

	// tree is held by whoever locks more than one slot: child before source.
	tree sync.Mutex
	// maintenance is held by whoever changes the index, merging by a merge.
	maintenance, merging sync.Mutex

	// unfinished is the step of a checkpoint or merge that is due; see finish.
	// Guarded by maintenance.
	unfinished func() error

	dirtyMu sync.Mutex
	dirty   dirtyList

	intervalMu sync.Mutex
	interval   time.Duration // Options.SyncInterval
	// lax says that changes may have been acknowledged before they were synced.
	lax atomic.Bool

	deadlines deadlines

	lastID       atomic.Uint64 // stream ID
	sequence     atomic.Uint64 // of checkpoints and merges
	number       atomic.Uint64 // of segments
	checkpointed atomic.Uint64 // manifest.checkpoint

	// opened is the sequence of the last checkpoint of an earlier process that
	// did not close the store; 0 if it did.
	opened uint64

	closed  atomic.Bool
	closing chan struct{}
	wake    chan struct{} // wakes the checkpointer
	compact chan struct{} // wakes the merger
	workers sync.WaitGroup

	checkpoints, merges, mergedBytes atomic.Uint64
	checkpointNanos                  atomic.Int64
}

var _ store.Store = (*Store)(nil)

// Close makes everything durable, checkpoints it so that the next start replays
// nothing, and frees the folder.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	close(s.closing)
	s.wakeAll()
	s.workers.Wait()
	err := s.journal.Close()
	if err != nil && s.lax.Load() {
		// What the journal could not sync must not be in a segment; see secure.
		return errors.Join(err, s.release())
	}
	errs := []error{err}
	s.table.each(func(sl *slot) {
		sl.mu.Lock()
		if sl.renewedSince() {
			s.markDirty(sl, 0)
		}
		sl.mu.Unlock()
	})
	if err := s.Checkpoint(); err != nil {
		// The journal has it all; the next start takes longer.
		s.opts.Logger.Warn("no checkpoint at close", "error", err)
	} else if err := s.markClean(); err != nil {
		s.opts.Logger.Warn("close not recorded", "error", err)
	}
	return errors.Join(append(errs, s.release())...)
}

// markClean records that nothing is known that the index does not know.
func (s *Store) markClean() error {
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	if err := s.finish(); err != nil {
		return err
	}
	m := s.newManifest()
	m.clean = true
	return s.newUpdate().commit(&m)
}

// release frees what Open acquired, but for the journal.
func (s *Store) release() error {
	var errs []error
	if s.pool != nil {
		errs = append(errs, s.pool.Close())
	}
	errs = append(errs, s.catalog.close())
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// List implements store.Store.
func (s *Store) List(_ context.Context, prefix, after string, limit int) ([]store.Info, error) {
	var infos []store.Info
	for len(infos) < limit {
		if s.closed.Load() {
			return nil, store.ErrClosed
		}
		names, err := s.names(prefix, after, limit-len(infos))
		if err != nil || len(names) == 0 {
			return infos, err
		}
		for _, name := range names {
			info, err := s.describe(name)
			if err == nil {
				infos = append(infos, info)
			} else if !isRefusal(err) {
				return nil, err
			}
		}
		after = names[len(names)-1]
	}
	return infos, nil
}

// names returns up to limit names, of streams that may exist, in order.
func (s *Store) names(prefix, after string, limit int) ([]string, error) {
	names := s.table.names(prefix, after)
	stored := 0
	err := s.catalog.names(prefix, after, func(name string) bool {
		names = append(names, name)
		stored++
		return stored < limit
	})
	if err != nil {
		return nil, asStoreError(err)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	// Beyond what the index was asked for, its names are not known.
	return names[:min(limit, len(names))], nil
}

func (s *Store) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) kickMerger() {
	select {
	case s.compact <- struct{}{}:
	default:
	}
}

// start begins the background work.
func (s *Store) start() {
	if s.opts.Manual {
		return
	}
	s.workers.Go(s.checkpointer)
	s.workers.Go(s.merger)
	s.workers.Go(s.expirer)
}

// checkpointer writes checkpoints when enough has changed, and watches the free
// space.
func (s *Store) checkpointer() {
	ticker := time.NewTicker(spaceInterval)
	defer ticker.Stop()
	lastSweep := time.Now()
	failing := false
	for {
		select {
		case <-s.closing:
			return
		case <-ticker.C:
			s.look()
		case <-s.wake:
			if failing {
				continue // the ticker tries again
			}
		}
		wrote := false
		if s.full() {
			s.look()
			err := s.Checkpoint()
			if err != nil {
				s.opts.Logger.Error("checkpoint failed; it is tried again", "error", err)
			}
			failing = err != nil
			wrote = err == nil
		}
		if wrote || time.Since(lastSweep) > sweepInterval {
			s.table.sweep()
			lastSweep = time.Now()
		}
		if wrote {
			s.kickMerger()
		}
	}
}

// sweepInterval is how long an unused stream stays in memory at least.
const sweepInterval = 10 * time.Second

func (s *Store) full() bool {
	s.dirtyMu.Lock()
	defer s.dirtyMu.Unlock()
	return s.dirty.due() >= s.opts.CheckpointSize || s.dirty.dead > 0 && s.room.check() != nil
}

// merger merges until nothing is left to merge, and then waits for a checkpoint
// or for a reader to let go of a superseded segment.
func (s *Store) merger() {
	ticker := time.NewTicker(mergeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.compact:
		case <-ticker.C:
		}
		s.maintenance.Lock()
		s.collect()
		s.maintenance.Unlock()
		for !s.closed.Load() {
			merged, err := s.Merge()
			if err != nil && !errors.Is(err, errClosing) {
				s.opts.Logger.Error("merge failed; it is tried again", "error", err)
			}
			if err != nil || !merged {
				break
			}
		}
	}
}

// mergeInterval is how often the merger looks without being told to: streams
// that are deleted or expire make no checkpoint due by themselves.
const mergeInterval = 10 * time.Second

var errClosing = fmt.Errorf("%w while merging", store.ErrClosed)

// pace slows a merge down to what leaves the disk and the processors to others.
// It is called after n bytes.
func (s *Store) pace(n int64) error {
	if s.closed.Load() {
		return errClosing
	}
	if s.opts.Manual {
		return nil
	}
	// At most 200 MB a second, and half of that while a checkpoint is due.
	nap := time.Duration(n) * 5
	if s.full() {
		nap *= 2
	}
	if nap >= time.Millisecond/2 {
		time.Sleep(nap)
	}
	return nil
}

// expirer removes streams whose time is over.
func (s *Store) expirer() {
	ticker := time.NewTicker(s.opts.ExpiryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-ticker.C:
		}
		for !s.closed.Load() {
			n, err := s.Expire()
			if err != nil {
				s.opts.Logger.Error("expired streams not removed; it is tried again", "error", err)
			}
			if err != nil || n < expiryBatch {
				break
			}
		}
	}
}
