package server

import (
	"errors"
	"sync"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// ssePiece is about how many bytes of a stream one data event carries.
const ssePiece = 64 * kib

// sse streams events until the stream or the response's time ends (§5.8). Every
// write ends with a whole control event or comment, so that a response may end
// after any of them.
type sse struct {
	a   *answer
	out *client
	req protocol.ReadRequest
	enc protocol.SSEEncoding
	// cursor is the last one sent. It never goes back (§10.1).
	cursor string
	// control is the last control event, without its cursor.
	control protocol.SSEControl
	begun   bool
	end     time.Time // of the response
	quiet   time.Time // since the last write
}

var _ liveMode = (*sse)(nil)

func newSSE(a *answer, req protocol.ReadRequest) *sse {
	now := time.Now()
	return &sse{a: a, out: newClient(a), req: req, end: now.Add(a.h.cfg.SSEReconnectInterval), quiet: now}
}

func (s *sse) pieceSize() int { return ssePiece }

func (s *sse) take(c *store.Chunk) (protocol.Offset, step, error) {
	s.enc = protocol.SSEEncodingFor(c.Info.ContentType)
	e, err := s.a.h.events.encode(s.a.h, c, s.enc)
	if err != nil {
		return c.From, done, err
	}
	next := e.control.Next
	if len(e.data) == 0 && s.begun && e.control == s.control {
		return next, wait, nil // woken for nothing that the client can use yet
	}
	if !s.begun {
		s.begin()
	}
	s.send(e)
	s.a.h.counters.readBytes.Add(int64(next - c.From))
	switch {
	case s.out.err != nil, e.control.Closed:
		return next, done, nil
	case c.AtTail():
		return next, wait, nil
	case s.a.h.isEnding(), !time.Now().Before(s.end):
		return next, done, nil
	}
	return next, more, nil
}

func (s *sse) begin() {
	s.begun = true
	s.a.events(s.enc)
	s.cursor = protocol.Cursor(s.req.Cursor, s.a.h.cfg.Now(), s.a.h.cfg.Rand)
}

// advance moves the cursor on to now, a default cursor, unless it is ahead of
// that: a client's own may have been.
func (s *sse) advance(now string) {
	if len(now) > len(s.cursor) || len(now) == len(s.cursor) && now > s.cursor {
		s.cursor = now
	}
}

// sseBuffers hold events on their way to a client.
var sseBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 1*kib)) }}

// send writes an event's data and its control event in one piece.
func (s *sse) send(e *encoded) {
	s.advance(e.cursor) // as old as the change that it tells of
	s.control = e.control
	s.a.h.counters.sseEvents.Add(1)
	if s.cursor == e.cursor || e.control.Closed {
		s.write(e.whole)
		return
	}
	buf := sseBuffers.Get().(*[]byte)
	control := e.control
	control.Cursor = s.cursor
	*buf = protocol.AppendSSEControl(append((*buf)[:0], e.data...), control)
	s.write(*buf)
	if cap(*buf) <= maxScratch {
		sseBuffers.Put(buf)
	}
}

// write writes and flushes. After a failure the client is gone, and the loop
// ends with the next step.
func (s *sse) write(b []byte) {
	if _, err := s.out.Write(b); err == nil {
		_ = s.out.flush() // kept in s.out.err
	}
	s.quiet = time.Now()
}

func (s *sse) patience() time.Duration {
	heartbeat := s.quiet.Add(s.a.h.cfg.SSEHeartbeat)
	if s.end.Before(heartbeat) {
		heartbeat = s.end
	}
	return time.Until(heartbeat)
}

func (s *sse) lapse(ending, changed bool) step {
	switch {
	case ending:
		s.advance(s.a.h.defaultCursor())
		control := s.control
		control.Cursor = s.cursor
		control.UpToDate = control.UpToDate && !changed
		s.a.h.counters.sseEvents.Add(1)
		s.write(protocol.AppendSSEControl(nil, control))
		return done
	case !time.Now().Before(s.end):
		return done
	case time.Since(s.quiet) >= s.a.h.cfg.SSEHeartbeat:
		s.write([]byte(protocol.SSEHeartbeat))
	}
	if s.out.err != nil {
		return done
	}
	return wait
}

// lost ends the response. A stream that is gone ends it in good order, after the
// last event; the client learns why when it comes back.
func (s *sse) lost(err error) error {
	if !s.begun {
		return err
	}
	if refusal := (*protocol.Refusal)(nil); errors.As(err, &refusal) ||
		errors.Is(err, store.ErrClosed) || s.a.r.Context().Err() != nil {
		return nil
	}
	s.a.h.abort(s.a.r, err)
	return nil
}
