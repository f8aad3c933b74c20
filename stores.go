package durablestreams

import (
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// openStores are the stores that are open in this process, by storeKey. A store
// is closed when the last config that uses it, and the last request of that
// config, are gone.
var openStores = caddy.NewUsagePool()

// openStoresMu is held while a store is opened, reconfigured or closed, so that
// a store is never opened while its predecessor still closes. It also guards the
// leases of every sharedStore.
var openStoresMu sync.Mutex

// storeKey names an open store.
type storeKey struct {
	engine caddy.ModuleID
	store  string // Storage.StoreKey
}

// sharedStore is an open store together with the configs that use it.
type sharedStore struct {
	store.Store
	handler *switchHandler
	log     *slog.Logger // writes to handler
	// leases are the claims of the configs in the order in which they began. The
	// options of the last one are in force: when a config fails to start after
	// its options were applied, those of the config before it return.
	leases []*lease
}

func (s *sharedStore) options(l *lease) StoreOptions {
	return StoreOptions{Logger: s.log, MaxAppendSize: l.maxAppendSize}
}

// follow puts the lease's options in force. It changes nothing if it fails.
func (s *sharedStore) follow(l *lease) error {
	if err := l.storage.ReconfigureStore(s.Store, s.options(l)); err != nil {
		return err
	}
	s.handler.use(l.log.Handler())
	return nil
}

// Destruct closes the store.
func (s *sharedStore) Destruct() error { return s.Close() }

// claim opens the store that l.storage describes, or joins those who use it.
func claim(l *lease) (*sharedStore, error) {
	openStoresMu.Lock()
	defer openStoresMu.Unlock()
	value, loaded, err := openStores.LoadOrNew(l.key, func() (caddy.Destructor, error) {
		handler := newSwitchHandler(l.log.Handler())
		shared := &sharedStore{handler: handler, log: slog.New(handler)}
		var err error
		shared.Store, err = l.storage.OpenStore(shared.options(l))
		return shared, err
	})
	if err != nil {
		return nil, err
	}
	shared := value.(*sharedStore)
	if loaded {
		if err := shared.follow(l); err != nil {
			_, closeErr := openStores.Delete(l.key)
			return nil, errors.Join(err, closeErr)
		}
	}
	shared.leases = append(shared.leases, l)
	return shared, nil
}

// disclaim takes the claim back. It closes the store if it was the last one.
func disclaim(l *lease) error {
	openStoresMu.Lock()
	defer openStoresMu.Unlock()
	leases := &l.shared.leases
	i := slices.Index(*leases, l)
	*leases = slices.Delete(*leases, i, i+1)
	var err error
	if left := len(*leases); left > 0 && i == left {
		err = l.shared.follow((*leases)[left-1])
	}
	_, closeErr := openStores.Delete(l.key)
	return errors.Join(err, closeErr)
}
