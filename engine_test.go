package durablestreams_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	durablestreams "github.com/caddy-durable-streams/caddy-durable-streams"
	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
)

func init() {
	caddy.RegisterModule(new(testEngine))
}

// testEngine is a storage engine as another module would add one. In a Caddyfile:
// storage test_engine <key> [<mode>].
type testEngine struct {
	Key string `json:"key"`
	// Mode is what a test wants to happen.
	Mode string `json:"mode,omitempty"`
}

// Modes of a testEngine.
const (
	failOpen = "fail_open"
	failLive = "fail_reconfigure"
	failRead = "fail_read" // with readErrors[key]
)

var _ interface {
	durablestreams.Storage
	caddyfile.Unmarshaler
} = (*testEngine)(nil)

var errTestEngine = errors.New("a secret of the engine")

func (*testEngine) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.durable_streams.storage.test_engine",
		New: func() caddy.Module { return new(testEngine) },
	}
}

func (e *testEngine) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return d.ArgErr()
	}
	e.Key = args[0]
	if len(args) == 2 {
		e.Mode = args[1]
	}
	return nil
}

func (e *testEngine) StoreKey() string { return e.Key }

func (e *testEngine) OpenStore(opts durablestreams.StoreOptions) (store.Store, error) {
	if e.Mode == failOpen {
		return nil, fmt.Errorf("opening %s: %w", e.Key, errTestEngine)
	}
	st := &testStore{Store: memory.New(memory.Options{}), key: e.Key, log: opts.Logger.With("store", e.Key)}
	st.apply(e.Mode, opts)
	testStores.Store(e.Key, st)
	st.log.Info("opened")
	return st, nil
}

func (e *testEngine) ReconfigureStore(st store.Store, opts durablestreams.StoreOptions) error {
	if e.Mode == failLive {
		return fmt.Errorf("mode cannot become %s while %s is open", e.Mode, e.Key)
	}
	st.(*testStore).apply(e.Mode, opts)
	return nil
}

// testStores are the stores that are open, by key.
var testStores sync.Map

// testStore is a store of the testEngine.
type testStore struct {
	store.Store
	key string
	log *slog.Logger

	mu            sync.Mutex
	mode          string
	maxAppendSize durablestreams.Size
}

func (s *testStore) apply(mode string, opts durablestreams.StoreOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode, s.maxAppendSize = mode, opts.MaxAppendSize
	s.log.Info("reconfigured", "mode", mode)
}

func (s *testStore) currentMode() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode
}

// readErrors are what reads fail with, by the stream's name.
var readErrors = map[string]error{
	"broken":  errTestEngine,
	"busy":    fmt.Errorf("%w: %w", store.ErrBusy, errTestEngine),
	"full":    fmt.Errorf("%w: %w", store.ErrNoSpace, errTestEngine),
	"corrupt": &store.CorruptionError{File: "/secret/path", Offset: 1, Reason: "checksum"},
}

func (s *testStore) Read(ctx context.Context, name string, from protocol.Offset, maxBytes int) (*store.Chunk, error) {
	if err := readErrors[name]; err != nil && s.currentMode() == failRead {
		return nil, err
	}
	return s.Store.Read(ctx, name, from, maxBytes)
}

func (s *testStore) Close() error {
	testStores.CompareAndDelete(s.key, s)
	s.log.Info("closed")
	return s.Store.Close()
}

// openTestStore returns the open store with that key, nil if there is none.
func openTestStore(key string) *testStore {
	st, _ := testStores.Load(key)
	s, _ := st.(*testStore)
	return s
}
