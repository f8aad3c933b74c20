package storetest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/storetest"
)

// TestRunDurable runs the durable part on a place that does what the suite
// demands in the simplest way, so that a failure elsewhere is the engine's.
func TestRunDurable(t *testing.T) {
	storetest.RunDurable(t, func(*testing.T) storetest.Durable { return &diary{} })
}

// diary is a Durable that writes down every successful call and, when it is
// opened again, lets a new engine in memory live through all of them.
type diary struct {
	mu      sync.Mutex
	current *diaryStore // the open one
	entries []entry
	ids     []uint64 // that creations returned, in order
}

type entry struct {
	at time.Time
	do func(*diaryStore) error
}

func (d *diary) Crash() error {
	d.mu.Lock()
	crashed := d.current
	d.current = nil
	d.mu.Unlock()
	return crashed.Close()
}

func (d *diary) Open(opts storetest.Options) (store.Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var mu sync.Mutex
	past := true
	var then time.Time
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		if past {
			return then
		}
		return opts.Now()
	}
	s := &diaryStore{
		Store: memory.New(memory.Options{Now: now}), diary: d, now: opts.Now,
		outside: make(map[uint64]uint64), watches: make(map[*int]func()),
	}
	for i, e := range d.entries {
		mu.Lock()
		then = e.at
		mu.Unlock()
		if err := e.do(s); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	for watch, stop := range s.watches { // those ended with the old store
		stop()
		delete(s.watches, watch)
	}
	mu.Lock()
	past = false
	mu.Unlock()
	d.current = s
	return s, nil
}

// diaryStore is an engine in memory whose streams have the IDs that they got
// when they were first created.
type diaryStore struct {
	*memory.Store
	diary   *diary
	now     func() time.Time
	created int               // how many entries were creations
	outside map[uint64]uint64 // the engine's IDs to those of the diary
	watches map[*int]func()   // how to stop those that are open
}

// write does something and, if it succeeds, writes it down.
func (s *diaryStore) write(do func(*diaryStore) error) error {
	s.diary.mu.Lock()
	defer s.diary.mu.Unlock()
	if s.diary.current != s {
		return store.ErrClosed
	}
	at := s.now()
	err := do(s)
	if err == nil {
		s.diary.entries = append(s.diary.entries, entry{at: at, do: do})
	}
	return err
}

func (s *diaryStore) Create(ctx context.Context, name string, r protocol.CreateRequest) (info store.Info, created bool, err error) {
	err = s.write(func(s *diaryStore) error {
		again := r
		if r.Fork != nil {
			fork := *r.Fork
			for inside, outside := range s.outside {
				if outside == r.Fork.SourceID {
					fork.SourceID = inside
				}
			}
			again.Fork = &fork
		}
		info, created, err = s.Store.Create(context.WithoutCancel(ctx), name, again)
		if created {
			if s.created == len(s.diary.ids) {
				s.diary.ids = append(s.diary.ids, info.ID)
			}
			s.outside[info.ID] = s.diary.ids[s.created]
			s.created++
		}
		return err
	})
	info.ID = s.id(info.ID)
	return info, created, err
}

func (s *diaryStore) Append(ctx context.Context, name string, r protocol.AppendRequest) (res store.AppendResult, err error) {
	err = s.write(func(s *diaryStore) (err error) {
		res, err = s.Store.Append(ctx, name, r)
		return err
	})
	return res, err
}

func (s *diaryStore) Delete(ctx context.Context, name string) error {
	return s.write(func(s *diaryStore) error { return s.Store.Delete(ctx, name) })
}

func (s *diaryStore) Read(ctx context.Context, name string, from protocol.Offset, maxBytes int) (chunk *store.Chunk, err error) {
	err = s.write(func(s *diaryStore) (err error) {
		chunk, err = s.Store.Read(ctx, name, from, maxBytes)
		return err
	})
	if err == nil {
		chunk.Info.ID = s.id(chunk.Info.ID)
	}
	return chunk, err
}

func (s *diaryStore) Head(ctx context.Context, name string) (store.Info, error) {
	info, err := s.Store.Head(ctx, name)
	info.ID = s.id(info.ID)
	return info, err
}

func (s *diaryStore) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	infos, err := s.Store.List(ctx, prefix, after, limit)
	for i := range infos {
		infos[i].ID = s.id(infos[i].ID)
	}
	return infos, err
}

func (s *diaryStore) Watch(name string) (changed <-chan struct{}, stop func()) {
	watch := new(int)
	err := s.write(func(s *diaryStore) error {
		changed, s.watches[watch] = s.Store.Watch(name)
		return nil
	})
	if err != nil {
		return s.Store.Watch(name)
	}
	return changed, func() {
		_ = s.write(func(s *diaryStore) error {
			s.watches[watch]()
			delete(s.watches, watch)
			return nil
		})
	}
}

func (s *diaryStore) id(inside uint64) uint64 {
	s.diary.mu.Lock()
	defer s.diary.mu.Unlock()
	return s.outside[inside]
}
