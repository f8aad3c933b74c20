// Package durablestreams is a Caddy module that serves the Durable Streams
// Protocol: the HTTP handler http.handlers.durable_streams, in a Caddyfile
// durable_streams.
//
// This package only adapts. The protocol's rules are in package protocol, the
// HTTP of it in package server, the storage engines below package store.
package durablestreams

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Defaults of the handler's options.
const (
	defaultBasePath             = "/v1/stream"
	defaultLongPollTimeout      = caddy.Duration(30 * time.Second)
	defaultSSEReconnectInterval = caddy.Duration(60 * time.Second)
	defaultSSEHeartbeat         = caddy.Duration(15 * time.Second)
	defaultMaxAppendSize        = 16 * MiB
	defaultMaxChunkSize         = 4 * MiB
)

// Handler serves streams by the Durable Streams Protocol. It answers every
// request that reaches it, so put it behind a matcher or into a route of its own.
//
// A stream's name is its path below base_path. With data_dir, streams are kept
// on disk; without it and without storage, in memory.
type Handler struct {
	// The options of the disk engine. They need data_dir.
	DiskOptions

	// The storage engine with its options, instead of data_dir and the other
	// options of the disk engine. Absent means the engine `disk` if data_dir is
	// set, else `memory`.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=http.handlers.durable_streams.storage inline_key=engine"`

	// The path below which streams live: the rest of a request's path is the name
	// of the stream. A path that is not below it is a name as a whole, so that the
	// handler also works where a prefix was stripped from the path. Empty means
	// the default, `/v1/stream`.
	BasePath string `json:"base_path,omitempty"`

	// How long a long-poll request waits for new data before it is answered with
	// 204. 0 means the default, `30s`.
	LongPollTimeout caddy.Duration `json:"long_poll_timeout,omitempty"`

	// After how long a server-sent events response ends, so that the client
	// connects again and caches in between can share responses. 0 means the
	// default, `60s`.
	SSEReconnectInterval caddy.Duration `json:"sse_reconnect_interval,omitempty"`

	// After how long without an event a server-sent events response carries a
	// comment, which keeps proxies from closing a silent connection. 0 means the
	// default, `15s`.
	SSEHeartbeat caddy.Duration `json:"sse_heartbeat,omitempty"`

	// How many bytes the body of a request may have; a longer one is answered with
	// 413 and nothing of it is stored. A number or a string such as `"16MiB"`.
	// 0 means the default, `16MiB`.
	MaxAppendSize Size `json:"max_append_size,omitempty"`

	// How many bytes one response carries at most before it tells the client where
	// to go on; a single JSON message may be longer. A number or a string such as
	// `"4MiB"`. 0 means the default, `4MiB`.
	MaxChunkSize Size `json:"max_chunk_size,omitempty"`

	logger *zap.Logger
	lease  *lease
	// server is nil until the store is open.
	server atomic.Pointer[server.Handler]
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.durable_streams",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision fills in defaults and claims the store, which opens when the config
// starts.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.setDefaults()
	storage, err := h.loadStorage(ctx)
	if err != nil {
		return err
	}
	app, err := ctx.App(appID)
	if err != nil {
		return err
	}
	if h.lease, err = app.(*App).add(h, storage, ctx.Slogger()); err != nil {
		return err
	}
	// The end of a server waits for its handlers, and only then cancels contexts
	// and cleans up. This is the one hook that runs before the wait.
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		srv.RegisterOnShutdown(h.endReaders)
	}
	return nil
}

func (h *Handler) setDefaults() {
	setDefault(&h.BasePath, defaultBasePath)
	if len(h.BasePath) > 1 {
		h.BasePath = strings.TrimSuffix(h.BasePath, "/")
	}
	setDefault(&h.LongPollTimeout, defaultLongPollTimeout)
	setDefault(&h.SSEReconnectInterval, defaultSSEReconnectInterval)
	setDefault(&h.SSEHeartbeat, defaultSSEHeartbeat)
	setDefault(&h.MaxAppendSize, defaultMaxAppendSize)
	setDefault(&h.MaxChunkSize, defaultMaxChunkSize)
}

// loadStorage provisions the storage engine's module.
func (h *Handler) loadStorage(ctx caddy.Context) (Storage, error) {
	if err := h.checkEngine(); err != nil {
		return nil, err
	}
	if h.StorageRaw == nil {
		engine := "memory"
		options := any(new(Memory))
		if h.DataDir != "" {
			engine, options = "disk", &Disk{h.DiskOptions}
		} else {
			h.logger.Warn("streams are kept in memory and are gone when the server ends; set data_dir to keep them, or storage memory if that is meant")
		}
		var warnings []caddyconfig.Warning
		h.StorageRaw = caddyconfig.JSONModuleObject(options, "engine", engine, &warnings)
		if len(warnings) > 0 {
			return nil, errors.New(warnings[0].Message)
		}
	}
	module, err := ctx.LoadModule(h, "StorageRaw")
	if err != nil {
		return nil, err
	}
	storage, ok := module.(Storage)
	if !ok {
		return nil, fmt.Errorf("the module %T is not a storage engine", module)
	}
	return storage, nil
}

// checkEngine says which options do not belong to the storage engine in use.
func (h *Handler) checkEngine() error {
	switch option := h.used(); {
	case option == "":
		return nil
	case h.StorageRaw != nil:
		return fmt.Errorf("%s and storage are both set; move %s into the storage block", option, option)
	case h.DataDir == "":
		return fmt.Errorf("%s is an option of the disk engine, and without data_dir streams are kept in memory; set data_dir, or remove %s", option, option)
	}
	return nil
}

// Validate says which option is out of range.
func (h *Handler) Validate() error { return h.check() }

// check says which option is out of range; 0, for the default, never is.
func (h *Handler) check() error {
	return firstError(
		checkBasePath(h.BasePath),
		checkRange("long_poll_timeout", time.Duration(h.LongPollTimeout), time.Millisecond, time.Hour),
		checkRange("sse_reconnect_interval", time.Duration(h.SSEReconnectInterval), time.Millisecond, 24*time.Hour),
		checkRange("sse_heartbeat", time.Duration(h.SSEHeartbeat), time.Millisecond, 24*time.Hour),
		checkRange("max_append_size", h.MaxAppendSize, 1, GiB),
		checkRange("max_chunk_size", h.MaxChunkSize, 1, GiB),
		h.DiskOptions.check(),
	)
}

// checkBasePath says why no request's path could be below path.
func checkBasePath(path string) error {
	if path == "" {
		return nil
	}
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("base_path is %q; it must begin with /", path)
	}
	if strings.ContainsAny(path, "?#*{}") {
		return fmt.Errorf("base_path is %q; it is a plain path, without ?, #, * and placeholders", path)
	}
	return nil
}

// serveFrom makes the handler serve the store's streams.
func (h *Handler) serveFrom(st store.Store) {
	h.server.Store(server.New(st, server.Config{
		BasePath:             h.BasePath,
		LongPollTimeout:      time.Duration(h.LongPollTimeout),
		SSEReconnectInterval: time.Duration(h.SSEReconnectInterval),
		SSEHeartbeat:         time.Duration(h.SSEHeartbeat),
		MaxAppendSize:        int64(h.MaxAppendSize),
		MaxChunkSize:         int(h.MaxChunkSize),
		StreamURL:            streamURL,
		Stripped:             stripped,
		Report:               h.report,
	}))
}

// ServeHTTP answers the request. A failure of the store is returned, so that
// handle_errors and the log see it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if err := h.lease.enter(r.Context()); err != nil {
		return h.fail(r, notOpen(w, err))
	}
	defer h.leave()
	var failure *server.Failure
	err := h.server.Load().ServeHTTP(w, r)
	if errors.As(err, &failure) {
		return h.fail(r, failure)
	}
	return err
}

func (h *Handler) leave() {
	if err := h.lease.leave(); err != nil {
		h.logger.Error("closing the store failed", zap.Error(err))
	}
}

// endReaders ends the live responses, so that a server which stops need not wait
// for them.
func (h *Handler) endReaders() {
	if s := h.server.Load(); s != nil {
		s.EndReaders()
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
