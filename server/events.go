package server

import (
	"bytes"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const (
	eventSlots = 256 // a power of two
	// maxShared is how many bytes of a stream an event may carry to be kept for
	// others. It holds a piece and the message that crosses its end.
	maxShared = 2 * ssePiece
)

// eventCache shares encoded events among the readers that follow a stream: when
// it changes they all read the same range, and the first one encodes it. It is
// a table of fixed size in which an event replaces another of the same slot, so
// it needs no account of readers, and holds eventSlots * maxShared bytes of
// streams at the very most. Losing an event costs encoding it again. The zero
// value is empty.
type eventCache struct {
	slots [eventSlots]struct {
		mu sync.Mutex
		e  *encoded
	}
}

// eventKey says all that an event depends on but the cursor.
type eventKey struct {
	id             uint64
	from, next     protocol.Offset
	atTail, closed bool
}

// encoded is a data event, unless there is no data, and its control event. It
// does not change once ready.
type encoded struct {
	key  eventKey
	once sync.Once
	err  error
	// data is the data event, whole also its control event with the given cursor.
	data, whole []byte
	cursor      string
	control     protocol.SSEControl // without a cursor
}

// encode returns the event for a chunk, encoding it if no other reader has.
func (c *eventCache) encode(h *Handler, chunk *store.Chunk, enc protocol.SSEEncoding) (*encoded, error) {
	key := eventKey{chunk.Info.ID, chunk.From, chunk.Next, chunk.AtTail(), chunk.Info.Closed}
	if n := chunk.Len(); n == 0 || n > maxShared || !key.atTail {
		e := &encoded{key: key}
		e.fill(h, chunk, enc)
		return e, e.err
	}
	slot := &c.slots[(key.id*0x9E3779B97F4A7C15)>>(64-8)%eventSlots]
	slot.mu.Lock()
	e := slot.e
	if e == nil || e.key != key {
		e = &encoded{key: key}
		slot.e = e
	}
	slot.mu.Unlock()
	e.once.Do(func() { e.fill(h, chunk, enc) })
	if e.err != nil {
		slot.mu.Lock()
		if slot.e == e {
			slot.e = nil
		}
		slot.mu.Unlock()
	}
	return e, e.err
}

// sseRaw holds a stream's bytes on their way into an event.
var sseRaw = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// fill encodes the chunk.
func (e *encoded) fill(h *Handler, chunk *store.Chunk, enc protocol.SSEEncoding) {
	raw := sseRaw.Get().(*bytes.Buffer)
	defer func() {
		if raw.Cap() <= maxShared {
			raw.Reset()
			sseRaw.Put(raw)
		}
	}()
	raw.Grow(int(chunk.Len()))
	if e.err = chunk.WriteRange(raw, 0, chunk.Len()); e.err != nil {
		return
	}
	data := raw.Bytes()
	cut := len(data)
	if enc == protocol.SSEText {
		cut = protocol.SSETextCut(data, e.key.atTail, e.key.closed)
		if cut == 0 && !e.key.atTail {
			cut = len(data) // an engine's short chunk must not stop the reader
		}
	}
	whole := cut == len(data)
	e.control = protocol.SSEControl{
		Next:     e.key.from + protocol.Offset(cut),
		UpToDate: e.key.atTail && whole,
		Closed:   e.key.atTail && whole && e.key.closed,
	}
	e.cursor = h.defaultCursor()
	if cut > 0 {
		h.counters.sseEncodings.Add(1)
		e.whole = make([]byte, 0, eventSize(cut, enc))
		e.whole = protocol.AppendSSEData(e.whole, data[:cut], enc)
	}
	n := len(e.whole)
	control := e.control
	control.Cursor = e.cursor
	e.whole = protocol.AppendSSEControl(e.whole, control)
	e.data = e.whole[:n:n]
}

// defaultCursor returns the present cursor for clients that have none (§10.1).
func (h *Handler) defaultCursor() string { return protocol.Cursor("", h.cfg.Now(), h.cfg.Rand) }

// eventSize guesses how long an event with n bytes of a stream gets.
func eventSize(n int, enc protocol.SSEEncoding) int {
	const frame = 160 // bytes: the rest of both events
	switch enc {
	case protocol.SSEBase64:
		return frame + (n+2)/3*4
	default:
		return frame + n + n/16
	}
}
