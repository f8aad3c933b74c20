package server

import (
	"context"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// A liveMode is one of the two forms of a live answer. The loop calls it from
// one goroutine.
type liveMode interface {
	// pieceSize is about how many bytes of the stream one take should get.
	pieceSize() int
	// take sends what the chunk has. It returns the position to read on from and
	// what to do next. An error with which nothing was sent is the caller's to
	// answer.
	take(c *store.Chunk) (next protocol.Offset, then step, err error)
	// patience is how long to wait for a change before lapse is due.
	patience() time.Duration
	// lapse is called when nothing happened for so long, or when live answers
	// must end. changed says that there is something new that will not be read.
	lapse(ending, changed bool) step
	// lost ends the answer because the stream cannot be read any more. It returns
	// what is still to be answered.
	lost(err error) error
}

// step says how the live loop goes on.
type step uint8

const (
	wait step = iota // for a change
	more             // read on at once
	done             // the answer is complete
)

// minWait keeps the loop from spinning where the store's clock and the server's
// differ about whether a stream has expired.
const minWait = 10 * time.Millisecond

// live serves a live request: it watches, reads, answers and waits, in this
// order, so that no change falls between a read and the wait that follows it. A
// watch stays until it fires; a backlog costs no new one for each piece.
func (h *Handler) live(a *answer, name string, from protocol.Offset, mode liveMode) error {
	watch := watcher{store: h.store, name: name}
	defer watch.close()
	var id uint64
	for {
		watch.start()
		chunk, err := h.store.Read(a.r.Context(), name, from, mode.pieceSize())
		if err != nil {
			return mode.lost(err)
		}
		info := chunk.Info
		if id == 0 {
			id = info.ID
		}
		next, then, err := h.take(a, id, chunk, mode)
		if err != nil {
			return mode.lost(err)
		}
		from = next
		for then == wait {
			switch watch.wait(a.r.Context(), h.untilDue(mode, info), h.ending) {
			case changed:
				watch.stop()
				then = more
			case gone:
				return mode.lost(context.Cause(a.r.Context()))
			case ending:
				then = mode.lapse(true, watch.fired())
			case timeUp:
				if h.isOver(info) {
					then = more // and hear so from the store
				} else {
					then = mode.lapse(false, watch.fired())
				}
			}
		}
		if then == done {
			return nil
		}
	}
}

// take gives the chunk to mode and closes it. The reader began on the stream id.
func (h *Handler) take(a *answer, id uint64, chunk *store.Chunk, mode liveMode) (protocol.Offset, step, error) {
	defer h.closeChunk(a, chunk)
	if chunk.Info.ID != id {
		// Positions of the stream that was deleted mean nothing in this one.
		return 0, done, errReplaced
	}
	return mode.take(chunk)
}

var errReplaced = &protocol.Refusal{
	Code:   protocol.NotFound,
	Detail: "the stream was deleted; another one of its name exists now, read it from its start",
}

// untilDue returns how long a reader of the stream may wait.
func (h *Handler) untilDue(mode liveMode, info store.Info) time.Duration {
	d := mode.patience()
	if at := info.Expiry.At; !at.IsZero() {
		d = min(d, at.Sub(h.cfg.Now()))
	}
	return max(d, minWait)
}

// isOver reports whether the stream has come to its absolute end. A sliding one
// does not come while somebody watches (§5.1).
func (h *Handler) isOver(info store.Info) bool {
	at := info.Expiry.At
	return !at.IsZero() && !h.cfg.Now().Before(at)
}
