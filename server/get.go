package server

import (
	"net/url"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// get reads a stream: what there is (§5.6), or live (§5.7, §5.8).
func (h *Handler) get(a *answer, name string) error {
	query, err := url.ParseQuery(a.r.URL.RawQuery)
	if err != nil {
		return &protocol.Refusal{Code: protocol.Malformed, Detail: "the query string is not well-formed; percent-encode what is not a letter or digit"}
	}
	req, refusal := protocol.ParseRead(query, a.r.Header)
	if refusal != nil {
		return refusal
	}
	switch req.Live {
	case protocol.LongPoll:
		h.counters.longPollReaders.Add(1)
		defer h.counters.longPollReaders.Add(-1)
		return h.live(a, name, req.From, newLongPoll(a, req))
	case protocol.SSE:
		h.counters.sseReaders.Add(1)
		defer h.counters.sseReaders.Add(-1)
		return h.live(a, name, req.From, newSSE(a, req))
	}
	chunk, err := h.store.Read(a.r.Context(), name, req.From, h.cfg.MaxChunkSize)
	if err != nil {
		return err
	}
	defer h.closeChunk(a, chunk)
	return h.sendChunk(a, chunk, &req, "")
}

// closeChunk closes a chunk after its use.
func (h *Handler) closeChunk(a *answer, chunk *store.Chunk) {
	if err := chunk.Close(); err != nil {
		h.cfg.Report(a.r, err)
	}
}

// sendChunk answers with the chunk, or that the client has it already. An
// engine that fails before its first byte is still an error to be answered.
func (h *Handler) sendChunk(a *answer, chunk *store.Chunk, req *protocol.ReadRequest, cursor string) error {
	if a.chunk(chunk, req, cursor) {
		return nil
	}
	body := chunkBody{out: newClient(a), isJSON: protocol.IsJSON(chunk.Info.ContentType)}
	end := chunk.Len()
	if body.isJSON {
		end -= int64(protocol.SeparatorLen)
	}
	err := chunk.WriteRange(&body, 0, end)
	if err == nil {
		err = body.finish()
	}
	h.counters.readBytes.Add(body.sent)
	switch {
	case err == nil, body.out.err != nil:
		return nil // whole, or the client is gone and nobody waits for the rest
	case body.begun:
		h.abort(a.r, err)
	}
	return err
}

// chunkBody is the body of a response that carries a chunk. The response begins
// with its first bytes, so that an engine that finds its data damaged can still
// be answered for.
type chunkBody struct {
	out    *client
	isJSON bool
	begun  bool
	sent   int64 // wire bytes
}

func (b *chunkBody) Write(p []byte) (int, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	n, err := b.out.Write(p)
	b.sent += int64(n)
	return n, err
}

func (b *chunkBody) begin() error {
	if b.begun {
		return nil
	}
	b.begun = true
	b.out.begin()
	if !b.isJSON {
		return nil
	}
	_, err := b.out.Write([]byte{'['})
	return err
}

// finish ends the body.
func (b *chunkBody) finish() error {
	if err := b.begin(); err != nil || !b.isJSON {
		return err
	}
	_, err := b.out.Write([]byte{']'})
	return err
}
