package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/journal"
)

// A checkpoint or merge has two steps: the segment, and what the index learns of
// it. An error between them leaves a whole segment that the index does not know,
// or half knows. It must neither be forgotten (the next start would apply it,
// over later ones, and bring back what was deleted meanwhile) nor be removed (the
// index may know it after all). So the second step stays due, and nothing else
// changes the index before it is done. A segment whose first step failed is
// dropped instead: the next one's footer names it as replaced, for its removal
// may not have reached the disk.

// finish does the step that is due, if one is, with the index opened anew if
// that has failed. maintenance is held.
func (s *Store) finish() error {
	if err := s.catalog.reopen(func() (index.Index, error) { return s.opts.OpenIndex(s.indexDir) }); err != nil {
		return fmt.Errorf("open the index again: %w", err)
	}
	if s.unfinished == nil {
		return nil
	}
	if err := s.unfinished(); err != nil {
		s.catalog.failed = true
		return err
	}
	s.unfinished = nil
	return nil
}

// secure waits until the journal has synced all that it has acknowledged. A
// segment must not be ahead of the journal: after a power loss the LSNs that are
// missing there would be given out again, and be skipped in the next replay.
func (s *Store) secure() error {
	if !s.lax.Load() {
		return nil // each batch is synced before it is acknowledged
	}
	if err := s.journal.Err(); errors.Is(err, store.ErrClosed) {
		return nil // and Close has synced it
	} else if err != nil {
		return err
	}
	room, err := s.journal.Reserve(context.Background(), recordOverhead, true)
	if err != nil {
		return err
	}
	s.intervalMu.Lock()
	defer s.intervalMu.Unlock()
	s.journal.SetSyncInterval(0)
	defer s.journal.SetSyncInterval(s.interval)
	mark := s.newOp(recordMark, s.opts.Now())
	if err := s.submit(mark, nil, room); err != nil {
		return err
	}
	return mark.wait(context.Background())
}

// setInterval changes Options.SyncInterval.
func (s *Store) setInterval(o Options, j *journal.Journal) {
	s.intervalMu.Lock()
	defer s.intervalMu.Unlock()
	s.interval = o.SyncInterval
	if o.SyncInterval > 0 {
		s.lax.Store(true)
	}
	j.SetSyncInterval(o.SyncInterval)
}

// spaceError makes a file system's error about a full disk the engine's.
func spaceError(err error) error {
	if vfs.IsNoSpace(err) && !errors.Is(err, store.ErrNoSpace) {
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	}
	return err
}
