package durablestreams

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
)

// slowStorage opens its store when it may.
type slowStorage struct {
	Memory
	may    chan struct{}
	opened *closeCounter
}

type closeCounter struct {
	store.Store
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return c.Store.Close() }

func (s *slowStorage) OpenStore(StoreOptions) (store.Store, error) {
	<-s.may
	s.opened = &closeCounter{Store: memory.New(memory.Options{})}
	return s.opened, nil
}

func newSlowLease(t *testing.T) (*lease, *slowStorage) {
	storage := &slowStorage{may: make(chan struct{})}
	key := storeKey{caddy.ModuleID("test"), t.Name()}
	return newLease(key, storage, slog.New(slog.DiscardHandler)), storage
}

func TestLease_requestWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, storage := newSlowLease(t)
		served := make(chan store.Store, 1)
		l.whenOpen = append(l.whenOpen, func(st store.Store) { served <- st })
		entered := make(chan error, 1)
		go func() { entered <- l.enter(t.Context()) }()
		started := make(chan error, 1)
		go func() { started <- l.open() }()
		synctest.Wait()
		if len(entered) != 0 {
			t.Fatal("a request got a store that is not open")
		}
		close(storage.may)
		if err := errors.Join(<-started, <-entered); err != nil {
			t.Fatal(err)
		}
		if <-served != storage.opened {
			t.Error("the handler got another store")
		}

		// The config goes, then its request.
		if err := l.end(); err != nil || storage.opened.closed != 0 {
			t.Fatalf("closed %d times under a request, %v", storage.opened.closed, err)
		}
		// Until then more requests may come, over connections that are open.
		if err := errors.Join(l.enter(t.Context()), l.leave()); err != nil {
			t.Fatal(err)
		}
		if err := l.leave(); err != nil || storage.opened.closed != 1 {
			t.Fatalf("closed %d times, %v; want once", storage.opened.closed, err)
		}
		if err := l.enter(t.Context()); !errors.Is(err, errConfigGone) {
			t.Errorf("a late request got %v", err)
		}
	})
}

func TestLease_requestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, storage := newSlowLease(t)
		opened := make(chan error, 1)
		go func() { opened <- l.open() }()
		begin := time.Now()
		if err := l.enter(t.Context()); !errors.Is(err, errNotOpenYet) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(begin); waited != openWait {
			t.Errorf("waited %s, want %s", waited, openWait)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.enter(gone); !errors.Is(err, errNotOpenYet) {
			t.Errorf("a client that has gone got %v", err)
		}
		close(storage.may)
		if err := errors.Join(<-opened, l.end()); err != nil {
			t.Error(err)
		}
	})
}

func TestLease_configThatNeverStarts(t *testing.T) {
	l, storage := newSlowLease(t)
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	if err := l.enter(t.Context()); !errors.Is(err, errConfigGone) {
		t.Errorf("a request got %v", err)
	}
	if err := l.open(); !errors.Is(err, errConfigGone) {
		t.Errorf("opening returned %v", err)
	}
	if storage.opened != nil {
		t.Error("the store was opened")
	}
}
