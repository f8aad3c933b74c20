package durablestreams

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
)

// storageNamespace is where the modules of storage engines are registered.
const storageNamespace = "http.handlers.durable_streams.storage"

func init() {
	caddy.RegisterModule(new(Memory))
	caddy.RegisterModule(new(Disk))
}

// Storage is implemented by the modules in the namespace
// http.handlers.durable_streams.storage, one per storage engine. Its exported
// fields are complete, defaults included, once it is provisioned.
//
// Stores outlive configs: a config that names the same store as the one before
// it goes on with the store that is open. Therefore provisioning a Storage must
// not touch any data, and these methods are called one at a time.
type Storage interface {
	caddy.Module

	// StoreKey tells the engine's stores apart within the process. It depends on
	// where the data is, and on no other option.
	StoreKey() string

	// OpenStore opens the store. It is called when the config starts, never to
	// validate one.
	OpenStore(StoreOptions) (store.Store, error)

	// ReconfigureStore applies the options to st, which is open and came from
	// OpenStore of a module with the same key. It changes nothing if it returns
	// an error, which then says which option cannot change while st is open.
	ReconfigureStore(store.Store, StoreOptions) error
}

// StoreOptions are what a store gets from its handlers.
type StoreOptions struct {
	// Logger writes where the config in force wants it.
	Logger *slog.Logger
	// MaxAppendSize is the longest body that any of the handlers accepts.
	MaxAppendSize Size
}

// Memory keeps streams in memory: they are gone when the process ends, but
// survive a reload of its config.
type Memory struct {
	// Blocks with the same name share their streams, and so do all blocks without
	// one. Empty by default.
	Name string `json:"name,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Memory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  storageNamespace + ".memory",
		New: func() caddy.Module { return new(Memory) },
	}
}

// StoreKey returns the name.
func (m *Memory) StoreKey() string { return m.Name }

// OpenStore returns an empty store.
func (m *Memory) OpenStore(StoreOptions) (store.Store, error) {
	return memory.New(memory.Options{}), nil
}

// ReconfigureStore has nothing to do.
func (m *Memory) ReconfigureStore(store.Store, StoreOptions) error { return nil }

// resolveDir returns the path by which a folder is known within the process:
// absolute, clean, and without symbolic links as far as the path exists. Opening
// a store makes the rest of the path as plain folders, so the answer stays the
// same.
func resolveDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	missing := ""
	for existing := abs; ; {
		real, err := filepath.EvalSymlinks(existing)
		if err == nil {
			return filepath.Join(real, missing), nil
		}
		parent := filepath.Dir(existing)
		if !errors.Is(err, fs.ErrNotExist) || parent == existing {
			return "", fmt.Errorf("looking up %s: %w", existing, err)
		}
		missing = filepath.Join(filepath.Base(existing), missing)
		existing = parent
	}
}

// Interface guards
var (
	_ Storage = (*Memory)(nil)
	_ Storage = (*Disk)(nil)
)
