package disk

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
)

const (
	// expiryBatch bounds how many of them one look at the index takes.
	expiryBatch = 1000
	// expiryWriters is how many are removed at once, so that removals share syncs.
	expiryWriters = 16
)

// deadlines orders the streams in memory that may expire. Entries are not moved
// when a stream is renewed: one that comes too early is entered again.
type deadlines struct {
	mu   sync.Mutex
	heap deadlineHeap
}

type deadline struct {
	at   time.Time
	slot *slot
}

// schedule enters a stream among the deadlines in memory. The slot's lock is
// held.
func (s *Store) schedule(sl *slot) {
	if !sl.assigned.exists || sl.assigned.state.Deleted {
		return
	}
	at, ok := sl.assigned.state.Expiry.Deadline(sl.assigned.state.Accessed)
	if !ok {
		return
	}
	s.deadlines.mu.Lock()
	defer s.deadlines.mu.Unlock()
	switch h := s.deadlines.heap; {
	case sl.heapIndex == 0:
		heap.Push(&s.deadlines.heap, deadline{at: at, slot: sl})
	case at.Before(h[sl.heapIndex-1].at):
		// The entry is that of an earlier stream of this name.
		h[sl.heapIndex-1].at = at
		heap.Fix(&s.deadlines.heap, sl.heapIndex-1)
	}
}

// remove takes out a slot that leaves memory.
func (d *deadlines) remove(sl *slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sl.heapIndex != 0 {
		heap.Remove(&d.heap, sl.heapIndex-1)
	}
}

// due takes out the names whose time may be over.
func (d *deadlines) due(now time.Time) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.heap) > 0 && !d.heap[0].at.After(now) {
		names = append(names, heap.Pop(&d.heap).(deadline).slot.name)
	}
	return names
}

// Expire removes streams whose time is over and returns how many it looked at.
// The store calls it by itself unless Options.Manual is set.
func (s *Store) Expire() (int, error) {
	now := s.opts.Now()
	// The index knows the deadlines of the cold streams. What it says of those in
	// memory may be out of date.
	var names []string
	cold := make(map[string][]byte) // the keys that say so
	err := s.catalog.expired(now, func(name string, key []byte) bool {
		if sl := s.table.find(name); sl != nil {
			s.table.unpin(sl)
			return true
		}
		names = append(names, name)
		cold[name] = bytes.Clone(key)
		return len(names) < expiryBatch
	})
	if err != nil {
		return 0, asStoreError(err)
	}
	names = append(names, s.deadlines.due(now)...)
	work := make(chan string)
	failed := make(chan error, expiryWriters)
	var wg sync.WaitGroup
	for range min(expiryWriters, len(names)) {
		wg.Go(func() {
			for name := range work {
				if err := s.expireName(name, now); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for _, name := range names {
		work <- name
	}
	close(work)
	wg.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	if err := s.dropDeadlines(cold); err != nil {
		errs = append(errs, err)
	}
	return len(names), errors.Join(errs...)
}

// dropDeadlines removes those of the keys that streams' records do not bear out.
// An update of the index that was cut short leaves them; they would be looked at
// for ever, and many of them would hide what is behind them.
func (s *Store) dropDeadlines(keys map[string][]byte) error {
	stale := make(map[string][]byte)
	find := func() error {
		clear(stale)
		for name, key := range keys {
			rec, err := s.catalog.stream(name)
			if err != nil && !errors.Is(err, index.ErrNotFound) {
				return asStoreError(err)
			}
			if err != nil || !bytes.Equal(deadlineKey(name, &rec.state), key) {
				stale[name] = key
			}
		}
		return nil
	}
	if err := find(); err != nil || len(stale) == 0 {
		return err
	}
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	if err := s.finish(); err != nil {
		return err
	}
	if err := find(); err != nil || len(stale) == 0 {
		return err
	}
	u := s.newUpdate()
	for _, key := range stale {
		u.delete(key)
	}
	u.flush()
	s.catalog.failed = s.catalog.failed || u.err != nil
	return u.err
}

// expireName removes one stream if its time is over, and else enters it anew.
func (s *Store) expireName(name string, now time.Time) error {
	sl, err := s.acquire(name)
	if err != nil {
		return err
	}
	defer s.table.unpin(sl)
	sl.mu.Lock()
	over := sl.over(now)
	if !over {
		s.schedule(sl)
	}
	sl.mu.Unlock()
	if !over {
		return nil
	}
	err = s.expire(context.Background(), sl, now)
	if errors.Is(err, store.ErrClosed) {
		return nil
	}
	if err != nil {
		sl.mu.Lock()
		s.schedule(sl) // try again
		sl.mu.Unlock()
	}
	return err
}

// deadlineHeap implements heap.Interface.
type deadlineHeap []deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot.heapIndex, h[j].slot.heapIndex = i+1, j+1
}

func (h *deadlineHeap) Push(x any) {
	d := x.(deadline)
	*h = append(*h, d)
	d.slot.heapIndex = len(*h)
}

func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = deadline{}
	*h = (*h)[:last]
	d.slot.heapIndex = 0
	return d
}
