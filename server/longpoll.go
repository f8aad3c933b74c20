package server

import (
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// longPoll answers with the first data there is, or after a while that there is
// none (§5.7).
type longPoll struct {
	a      *answer
	req    protocol.ReadRequest
	end    time.Time
	at     protocol.Offset // where it waits
	waited bool
}

var _ liveMode = (*longPoll)(nil)

func newLongPoll(a *answer, req protocol.ReadRequest) *longPoll {
	return &longPoll{a: a, req: req, end: time.Now().Add(a.h.cfg.LongPollTimeout)}
}

func (l *longPoll) pieceSize() int { return l.a.h.cfg.MaxChunkSize }

func (l *longPoll) cursor() string {
	return protocol.Cursor(l.req.Cursor, l.a.h.cfg.Now(), l.a.h.cfg.Rand)
}

func (l *longPoll) take(c *store.Chunk) (protocol.Offset, step, error) {
	l.at = c.Next
	switch {
	case c.Len() > 0:
		return c.Next, done, l.a.h.sendChunk(l.a, c, &l.req, l.cursor())
	case c.AtEnd():
		l.a.nothingNew(c.Next, true, l.cursor())
		return c.Next, done, nil
	}
	if !l.waited {
		l.waited = true
		l.a.h.counters.longPollWaits.Add(1)
	}
	return c.Next, wait, nil
}

func (l *longPoll) patience() time.Duration { return time.Until(l.end) }

func (l *longPoll) lapse(_, changed bool) step {
	if changed {
		return more
	}
	l.a.nothingNew(l.at, false, l.cursor())
	return done
}

func (l *longPoll) lost(err error) error { return err }
