package durablestreams

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

const appID = "durable_streams"

func init() {
	caddy.RegisterModule(new(App))
}

// App opens the stores of a config. It has no options, and a config need not
// name it: every durable_streams handler adds it.
//
// Handlers cannot open stores themselves. All that Caddy tells a handler is that
// it is provisioned, and `caddy validate` provisions a config as well, often
// beside a server that runs with the same folder: opening it there would fail on
// the server's lock, or repair what a crashed server left. What `caddy validate`
// never does is to start apps, so that is when stores are opened.
//
// Apps start in no particular order, and requests may come in before this one
// has started: they wait. When a store cannot be opened, the config does not
// load. On a reload the new config starts before the old one stops, so that a
// store which both use stays open, and whatever a request sees is never closed
// under its hands (see lease).
type App struct {
	mu       sync.Mutex // Metrics are collected while a config loads.
	leases   []*lease
	handlers []*Handler
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: appID, New: func() caddy.Module { return new(App) }}
}

// Provision registers the config's metrics.
func (a *App) Provision(ctx caddy.Context) error {
	return ctx.GetMetricsRegistry().Register(collector{a})
}

// Start opens the stores.
func (a *App) Start() error {
	for _, l := range a.leases {
		if err := l.open(); err != nil {
			return err
		}
	}
	return nil
}

// Stop does nothing: requests still run. See Cleanup.
func (a *App) Stop() error { return nil }

// Cleanup gives the stores back. Those in use by running requests follow when
// the requests end.
func (a *App) Cleanup() error {
	var errs []error
	for _, l := range a.leases {
		errs = append(errs, l.end())
	}
	return errors.Join(errs...)
}

// add makes the handler one of this config's, and returns its lease on the store
// that storage describes.
func (a *App) add(h *Handler, storage Storage, log *slog.Logger) (*lease, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := storeKey{storage.CaddyModule().ID, storage.StoreKey()}
	i := slices.IndexFunc(a.leases, func(l *lease) bool { return l.key == key })
	if i < 0 {
		i = len(a.leases)
		a.leases = append(a.leases, newLease(key, storage, log))
	} else if err := sameOptions(a.leases[i].storage, storage); err != nil {
		return nil, err
	}
	l := a.leases[i]
	l.maxAppendSize = max(l.maxAppendSize, h.MaxAppendSize)
	l.whenOpen = append(l.whenOpen, h.serveFrom)
	a.handlers = append(a.handlers, h)
	return l, nil
}

// sameOptions says so if two modules that mean the same store differ.
func sameOptions(a, b Storage) error {
	before, err := optionsOf(a)
	if err != nil {
		return err
	}
	now, err := optionsOf(b)
	if err != nil {
		return err
	}
	all := maps.Clone(before)
	maps.Copy(all, now)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if string(before[name]) != string(now[name]) {
			return fmt.Errorf("two durable_streams blocks use the store %q with different options: %s is %s in one and %s in the other; make them equal, or use different stores",
				b.StoreKey(), name, orDefault(before[name]), orDefault(now[name]))
		}
	}
	return nil
}

// optionsOf returns the module's options by name.
func optionsOf(s Storage) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var options map[string]json.RawMessage
	return options, json.Unmarshal(data, &options)
}

func orDefault(value json.RawMessage) string {
	if value == nil {
		return "its default"
	}
	return string(value)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
