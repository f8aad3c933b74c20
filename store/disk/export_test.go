package disk

import (
	"errors"
	"fmt"
	"time"
)

// CheckQuiet checks, while no call is under way, that nothing leaks: pins are
// those of the dirty list and of watchers, no reader refers to a segment, and the
// memory that is accounted for is that of the dirty list.
func (s *Store) CheckQuiet() error {
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	dirty := make(map[*slot]bool)
	s.dirtyMu.Lock()
	for _, sl := range s.dirty.slots {
		if dirty[sl] {
			fail("slot %q is twice in the dirty list", sl.name)
		}
		dirty[sl] = true
	}
	if used := s.headRoom.used.Load(); used != s.dirty.bytes && s.unfinished == nil {
		fail("%d bytes are accounted for, the dirty list has %d", used, s.dirty.bytes)
	}
	s.dirtyMu.Unlock()
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		sh.mu.RLock()
		for name, sl := range sh.slots {
			sl.mu.Lock()
			want := sl.watchers
			if dirty[sl] {
				want++
			}
			if got := int(sl.pins.Load()); got != want && s.unfinished == nil {
				fail("slot %q has %d pins, want %d", name, got, want)
			}
			if sl.dirty != dirty[sl] && s.unfinished == nil {
				fail("slot %q is dirty: %v, in the list: %v", name, sl.dirty, dirty[sl])
			}
			if sl.inFlight() && s.journal.Err() == nil {
				fail("slot %q has records in flight", name)
			}
			sl.mu.Unlock()
		}
		sh.mu.RUnlock()
	}
	s.segments.mu.Lock()
	if len(s.segments.refs) > 0 {
		fail("readers refer to segments: %v", s.segments.refs)
	}
	s.segments.mu.Unlock()
	if pinned := s.pool.Stats().Pinned; pinned > 0 {
		fail("%d files are pinned", pinned)
	}
	return errors.Join(errs...)
}

// Sweep makes streams leave memory that were not used since the last call.
func (s *Store) Sweep() { s.table.sweep() }

// Abandon ends a store as the end of its process does: without a checkpoint.
func (s *Store) Abandon() {
	s.closed.Store(true)
	close(s.closing)
	s.workers.Wait()
	_ = errors.Join(s.journal.Close(), s.release())
}

// ProducersInMemory returns how many producers of a stream are in memory.
func (s *Store) ProducersInMemory(name string) int {
	sl := s.table.pin(name)
	defer s.table.unpin(sl)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return len(sl.producers)
}

// StaleDeadlines leaves n entries among the deadlines that no stream bears out.
func (s *Store) StaleDeadlines(n int, at time.Time) error {
	u := s.newUpdate()
	for i := range n {
		u.set(append(deadlinePrefix(at), fmt.Sprintf("gone%d", i)...), nil)
	}
	u.flush()
	return u.err
}
