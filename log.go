package durablestreams

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// switchHandler passes records to the handler in use. A store lives longer than
// the config that opened it, and that config's log writers are closed with it.
type switchHandler struct {
	current *atomic.Pointer[slog.Handler]
	// with repeats on the handler in use what was asked of this one, in order.
	with []func(slog.Handler) slog.Handler
}

func newSwitchHandler(h slog.Handler) *switchHandler {
	s := &switchHandler{current: new(atomic.Pointer[slog.Handler])}
	s.use(h)
	return s
}

// use passes records to h from now on. It applies to every handler derived from
// s, and may be called at any time.
func (s *switchHandler) use(h slog.Handler) { s.current.Store(&h) }

func (s *switchHandler) handler() slog.Handler {
	h := *s.current.Load()
	for _, with := range s.with {
		h = with(h)
	}
	return h
}

func (s *switchHandler) derive(with func(slog.Handler) slog.Handler) *switchHandler {
	return &switchHandler{current: s.current, with: append(s.with[:len(s.with):len(s.with)], with)}
}

// Enabled implements slog.Handler.
func (s *switchHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return (*s.current.Load()).Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (s *switchHandler) Handle(ctx context.Context, r slog.Record) error {
	return s.handler().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s *switchHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return s.derive(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (s *switchHandler) WithGroup(name string) slog.Handler {
	return s.derive(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

// Interface guard
var _ slog.Handler = (*switchHandler)(nil)
