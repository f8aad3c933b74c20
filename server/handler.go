package server

import (
	"net/http"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Handler serves the streams of one store. Its methods may be called
// concurrently. It does not own the store: whoever opened it closes it, after
// the handler's last request.
type Handler struct {
	store    store.Store
	cfg      Config
	counters counters
	events   eventCache
	// ending is closed when live readers must not wait any longer.
	ending chan struct{}
	end    sync.Once
}

// New returns a handler for the streams of st.
func New(st store.Store, cfg Config) *Handler {
	return &Handler{
		store:    st,
		cfg:      cfg.withDefaults(),
		counters: newCounters(),
		ending:   make(chan struct{}),
	}
}

// EndReaders makes every live response end soon: a long-poll answers that there
// is nothing new, an SSE response sends a last control event. Live requests that
// come later are answered with what there is. It returns without waiting for
// them and may be called more than once.
func (h *Handler) EndReaders() { h.end.Do(func() { close(h.ending) }) }

// ServeHTTP answers the request. If the server itself is at fault, it answers
// nothing and returns a *[Failure]: how such an answer looks is the embedding
// server's matter.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	a := newAnswer(h, w, r)
	if err := h.serve(a); err != nil {
		return a.fail(err)
	}
	return nil
}

// serve carries out the request. A *protocol.Refusal and any other error it
// returns are still to be answered.
func (h *Handler) serve(a *answer) error {
	switch a.r.Method {
	case http.MethodPut, http.MethodPost:
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
		if err := h.dropBody(a); err != nil {
			return err
		}
	default:
		return &protocol.Refusal{Code: protocol.MethodNotAllowed, Detail: "a stream has the methods " + allowedMethods}
	}
	if a.r.Method == http.MethodOptions {
		a.preflight()
		return nil
	}
	name, refusal := protocol.ParsePath(a.r.URL.Path, h.cfg.Stripped(a.r), h.cfg.BasePath)
	if refusal != nil {
		return refusal
	}
	switch a.r.Method {
	case http.MethodGet:
		return h.get(a, name)
	case http.MethodHead:
		return h.head(a, name)
	}
	if refusal := protocol.CheckWritable(name); refusal != nil {
		return refusal
	}
	switch a.r.Method {
	case http.MethodPut:
		return h.put(a, name)
	case http.MethodPost:
		return h.post(a, name)
	default:
		return h.delete(a, name)
	}
}

// HTTPHandler returns the handler for use without an embedding server. Failures
// are reported and answered with their status and a text that tells nothing of
// their cause.
func (h *Handler) HTTPHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.ServeHTTP(w, r); err != nil {
			h.cfg.Report(r, err)
			writeFailure(w, r, err)
		}
	})
}

// isEnding reports whether EndReaders was called.
func (h *Handler) isEnding() bool {
	select {
	case <-h.ending:
		return true
	default:
		return false
	}
}
