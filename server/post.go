package server

import (
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// maxScratch is the largest buffer that is kept for the next request, in bytes.
const maxScratch = 64 * kib

// scratch holds buffers for bodies that are not kept: JSON is flattened into a
// slice of its own, which then belongs to the engine.
var scratch = sync.Pool{New: func() any { return new(make([]byte, 0, 4*kib)) }}

// post appends to a stream, closes it, or both (§5.2, §5.3).
func (h *Handler) post(a *answer, name string) error {
	req, refusal := protocol.ParseAppend(a.r.Header)
	if refusal != nil {
		return refusal
	}
	if err := h.setAppendBody(a, &req); err != nil {
		return err
	}
	req.Now = h.cfg.Now()
	result, err := h.store.Append(a.r.Context(), name, req)
	if err != nil {
		return err
	}
	if result.Outcome == protocol.Appended {
		h.counters.appends.Add(1)
		h.counters.appendedBytes.Add(int64(len(req.Body)))
	}
	a.appended(&req, &result)
	return nil
}

// setAppendBody reads the body into the request.
func (h *Handler) setAppendBody(a *answer, req *protocol.AppendRequest) error {
	var buf *[]byte
	var dst []byte
	if protocol.IsJSON(req.ContentType) {
		buf = scratch.Get().(*[]byte)
		dst = (*buf)[:0]
	}
	body, err := h.readBody(a, dst)
	if err == nil {
		if refusal := req.SetBody(body); refusal != nil {
			err = refusal
		}
	}
	if buf != nil && cap(body) <= maxScratch {
		if body != nil {
			*buf = body
		}
		scratch.Put(buf)
	}
	return err
}
