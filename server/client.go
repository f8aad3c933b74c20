package server

import (
	"net/http"
	"time"
)

// writePiece is how much is written under one deadline, in bytes: a client that
// takes less than this in a write timeout counts as one that does not read.
const writePiece = 64 * kib

// client writes to a client that may stop reading. A write that stalls for the
// write timeout fails, and so does all that comes after it.
type client struct {
	a       *answer
	control *http.ResponseController
	// err is the first failure. With it the client is gone; an engine's failure
	// is never here.
	err error
}

func newClient(a *answer) *client {
	return &client{a: a, control: http.NewResponseController(a.w)}
}

// begin sends the status 200.
func (c *client) begin() { c.a.w.WriteHeader(http.StatusOK) }

// Write writes p in pieces, each under a deadline of its own. The last deadline
// stays: it also bounds what net/http writes when the response ends, and ends
// with the response. A response that goes on must call flush.
func (c *client) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), writePiece)]
		var k int
		c.bounded(func() error { k, err = c.a.w.Write(piece); return err })
		n += k
		if c.err != nil {
			return n, c.err
		}
		p = p[k:]
	}
	return n, nil
}

// flush sends what was written and lifts the deadline: under HTTP/2 it would
// otherwise end the response even while nothing is written.
func (c *client) flush() error {
	c.bounded(c.control.Flush)
	if c.err == nil {
		_ = c.control.SetWriteDeadline(time.Time{})
	}
	return c.err
}

// bounded runs write under a deadline. Writers without deadlines leave them to
// their server.
func (c *client) bounded(write func() error) {
	if c.err != nil {
		return
	}
	deadline := time.Now().Add(c.a.h.cfg.WriteTimeout)
	_ = c.control.SetWriteDeadline(deadline)
	if c.err = write(); c.err != nil && !time.Now().Before(deadline) {
		// HTTP/2 reports a reset stream, so the clock tells best.
		c.a.h.counters.readersCutOff.Add(1)
	}
}
