package server

import (
	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// put creates a stream or a fork (§5.1, §4.2).
func (h *Handler) put(a *answer, name string) error {
	req, refusal := protocol.ParseCreate(a.r.Header, h.cfg.Stripped(a.r), h.cfg.BasePath)
	if refusal != nil {
		return refusal
	}
	body, err := h.readBody(a, nil)
	if err != nil {
		return err
	}
	req.Now = h.cfg.Now()
	contentType := req.ContentType
	if req.Fork != nil {
		// After the body, which may take its time: the source should be looked at
		// when the fork is made.
		if contentType, err = store.ResolveFork(a.r.Context(), h.store, &req); err != nil {
			return err
		}
	}
	req.SetBody(body, contentType)
	info, created, err := h.store.Create(a.r.Context(), name, req)
	if err != nil {
		return err
	}
	if created {
		h.counters.appendedBytes.Add(int64(len(req.Body)))
	}
	a.created(info, created)
	return nil
}
