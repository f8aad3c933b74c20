package disk

import (
	"context"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// Watch implements store.Store. For a missing stream it keeps nothing, and the
// channel is closed when the store is.
func (s *Store) Watch(name string) (changed <-chan struct{}, stop func()) {
	sl, err := s.acquire(name)
	if err != nil {
		return closedChannel, func() {} // the Read that follows reports it
	}
	sl.mu.Lock()
	now := s.opts.Now()
	sl.over(now) // a stream that is watched already does not expire
	if s.closed.Load() || protocol.Available(sl.durable.current(), now) != nil {
		sl.mu.Unlock()
		s.table.unpin(sl)
		return s.closing, func() {}
	}
	defer sl.mu.Unlock()
	id := sl.durable.state.ID
	if sl.watched != id {
		sl.watched, sl.watchers = id, 0
	}
	sl.watchers++
	if sl.changed == nil {
		sl.changed = make(chan struct{})
	}
	var once sync.Once
	return sl.changed, func() { once.Do(func() { s.unwatch(sl, id) }) }
}

func (s *Store) unwatch(sl *slot, id uint64) {
	var renewal *op
	sl.mu.Lock()
	if sl.watched == id {
		if sl.assigned.exists && sl.assigned.state.ID == id && !sl.assigned.state.Deleted {
			renewal = s.touch(sl, s.opts.Now())
		}
		if sl.watchers--; sl.watchers == 0 {
			sl.changed = nil
		}
	}
	sl.mu.Unlock()
	s.table.unpin(sl)
	awaitTouch(context.Background(), renewal)
}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// wakeAll tells every watcher that the store is closing.
func (s *Store) wakeAll() {
	s.table.each(func(sl *slot) {
		sl.mu.Lock()
		sl.wake()
		sl.mu.Unlock()
	})
}
