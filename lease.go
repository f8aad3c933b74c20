package durablestreams

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// openWait is how long a request waits for its store to be opened. Listeners
// accept connections before every part of a config has started.
const openWait = 5 * time.Second

var (
	errNotOpenYet = errors.New("the store is still being opened")
	errConfigGone = errors.New("the config of this handler was unloaded")
)

// lease is one config's claim on a store. All handlers of the config that mean
// the same store share it.
type lease struct {
	key     storeKey
	storage Storage
	log     *slog.Logger
	// maxAppendSize is that of the handler with the greatest.
	maxAppendSize Size
	// whenOpen are called with the open store, before any request gets it.
	whenOpen []func(store.Store)

	settle sync.Once
	// ready is closed when the store is open, and when it will never be.
	ready chan struct{}
	// shared and err are set before ready is closed, one of them not to nil.
	shared *sharedStore
	err    error

	// users is 1 for the config plus the number of its running requests. Requests
	// outlive their config: on a reload, handlers run on after their module's
	// Cleanup. At 0 it stays 0, and the claim is taken back.
	users atomic.Int64
}

func newLease(key storeKey, storage Storage, log *slog.Logger) *lease {
	l := &lease{key: key, storage: storage, log: log, ready: make(chan struct{})}
	l.users.Store(1)
	return l
}

// open opens the store.
func (l *lease) open() error {
	l.settle.Do(func() {
		l.shared, l.err = claim(l)
		if l.err == nil {
			for _, f := range l.whenOpen {
				f(l.shared.Store)
			}
		}
		close(l.ready)
	})
	return l.err
}

// end takes the config's share back. The store is given up at once, or after the
// last of the config's requests.
func (l *lease) end() error {
	l.settle.Do(func() {
		l.err = errConfigGone
		close(l.ready)
	})
	return l.leave()
}

// enter makes the store usable until leave. It waits a while for a store that is
// being opened.
func (l *lease) enter(ctx context.Context) error {
	if err := l.awaitReady(ctx); err != nil {
		return err
	}
	if l.err != nil {
		return l.err
	}
	for {
		n := l.users.Load()
		if n == 0 {
			return errConfigGone
		}
		if l.users.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

// awaitReady returns nil once the store is open or never will be.
func (l *lease) awaitReady(ctx context.Context) error {
	select {
	case <-l.ready:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	select {
	case <-l.ready:
		return nil
	case <-ctx.Done():
		return errNotOpenYet
	}
}

// openStore returns the store if it is open, else nil.
func (l *lease) openStore() store.Store {
	select {
	case <-l.ready:
		if l.shared != nil {
			return l.shared.Store
		}
	default:
	}
	return nil
}

// leave ends a use of the store.
func (l *lease) leave() error {
	if l.users.Add(-1) > 0 || l.shared == nil {
		return nil
	}
	return disclaim(l)
}
