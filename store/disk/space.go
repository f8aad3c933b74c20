package disk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/journal"
)

const (
	// slotOverhead is what a changed stream is taken to cost in memory besides
	// its bytes, until the next checkpoint.
	slotOverhead = 512 // bytes
	// admitTimeout bounds how long a writer waits for a checkpoint to make room.
	admitTimeout = 10 * time.Second
	// spaceInterval is how often the file system is asked for its free space.
	spaceInterval = time.Second
	// indexReserve is kept free even for background writes: badger ends the
	// process if it finds the disk full.
	indexReserve = 64 << 20
)

// headRoom bounds the memory that changes take between their commit and the
// checkpoint that moves them into a segment.
type headRoom struct {
	limit int64
	used  atomic.Int64

	mu   sync.Mutex
	more chan struct{} // closed when used shrinks, or stuck changes
	// stuck is why the last checkpoint failed, so that waiting is in vain; nil if
	// it did not.
	stuck error
}

func (h *headRoom) init(limit int64) {
	h.limit, h.more = limit, make(chan struct{})
}

func (h *headRoom) give(n int64) {
	h.used.Add(-n)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broadcast()
}

// setStuck says how the last checkpoint went.
func (h *headRoom) setStuck(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && !errors.Is(err, store.ErrNoSpace) {
		err = fmt.Errorf("%w: %w", store.ErrBusy, err)
	}
	h.stuck = err
	h.broadcast()
}

// broadcast wakes those who wait. mu is held.
func (h *headRoom) broadcast() {
	close(h.more)
	h.more = make(chan struct{})
}

// wait returns when there is room, or fails if there will be none.
func (h *headRoom) wait(ctx context.Context, closing <-chan struct{}) error {
	if h.used.Load() < h.limit {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, admitTimeout, store.ErrBusy)
	defer cancel()
	for {
		h.mu.Lock()
		more, stuck := h.more, h.stuck
		h.mu.Unlock()
		if h.used.Load() < h.limit {
			return nil
		}
		if stuck != nil {
			return stuck
		}
		select {
		case <-more:
		case <-closing:
			return store.ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// freeSpace knows whether the file system has less room than it should.
type freeSpace struct {
	minimum atomic.Int64
	free    atomic.Int64 // as of the last look; -1 if unknown
}

func (f *freeSpace) setMinimum(n int64) { f.minimum.Store(n) }

// check returns store.ErrNoSpace if there is too little room.
func (f *freeSpace) check() error {
	minimum, free := f.minimum.Load(), f.free.Load()
	if minimum <= 0 || free < 0 || free >= minimum {
		return nil
	}
	return fmt.Errorf("%w: %d bytes are free, %d are to be kept", store.ErrNoSpace, free, minimum)
}

// background returns store.ErrNoSpace if a checkpoint or merge must not write n
// more bytes. What is urgent may use the minimum but for a reserve: checkpoints,
// so that what was acknowledged finds its place even then, and merges that give
// back more than they take.
func (f *freeSpace) background(n int64, urgent bool) error {
	minimum, free := f.minimum.Load(), f.free.Load()
	if minimum <= 0 || free < 0 || n == 0 {
		return nil
	}
	keep := minimum
	if urgent {
		keep = reserve(minimum)
	}
	if free-n >= keep {
		return nil
	}
	return fmt.Errorf("%w: %d bytes are free, writing %d would leave too few", store.ErrNoSpace, free, n)
}

// reserve returns how much of the minimum even background writes and the
// journal keep free.
func reserve(minimum int64) int64 { return min(minimum/2, indexReserve) }

// look asks the file system.
func (s *Store) look() {
	free, err := s.fs.FreeSpace(s.opts.Dir)
	if err != nil {
		s.room.free.Store(-1)
		return
	}
	s.room.free.Store(int64(min(free, 1<<62)))
}

// admit lets a change of size bytes in, when there is room in memory, in the
// journal and on the disk. Urgent changes give space back or need next to none.
func (s *Store) admit(ctx context.Context, size int, urgent bool) (journal.Reservation, error) {
	if s.closed.Load() {
		return journal.Reservation{}, store.ErrClosed
	}
	if !urgent {
		if err := s.room.check(); err != nil {
			return journal.Reservation{}, err
		}
		if err := s.headRoom.wait(ctx, s.closing); err != nil {
			return journal.Reservation{}, err
		}
	}
	return s.journal.Reserve(ctx, size, urgent)
}
