package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

const (
	// trustedLength is how much memory a Content-Length alone is worth, in
	// bytes. Beyond it, memory grows with what has really arrived.
	trustedLength = 256 * kib
	// firstRead is the first buffer for a body of unknown length, in bytes.
	firstRead = 4 * kib
	// maxIgnored is how long a body without a meaning may be, in bytes.
	maxIgnored = 64 * kib
)

// readBody reads the request's body, into dst's memory as far as it suffices. It
// refuses one that is too large, before reading it if its length is known, and
// one that stops arriving. Of a body that ends early it returns nothing.
func (h *Handler) readBody(a *answer, dst []byte) ([]byte, error) {
	length, limit := a.r.ContentLength, h.cfg.MaxAppendSize
	switch {
	case length == 0:
		return nil, nil
	case length > limit:
		return nil, tooLarge(limit)
	case length > 0:
		dst = growTo(dst, min(length, trustedLength))
	default:
		dst = growTo(dst, firstRead)
		length = limit + 1 // one byte more than may come is room to notice it
	}
	body := newBodyReader(a)
	for int64(len(dst)) < length {
		if len(dst) == cap(dst) {
			dst = growTo(dst, min(2*int64(len(dst)), length))
		}
		n, err := body.Read(dst[len(dst):min(int64(cap(dst)), length)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF && (a.r.ContentLength < 0 || int64(len(dst)) == length):
			return dst, nil
		case err == io.EOF:
			return nil, errBodyEnded
		case err != nil:
			return nil, err
		}
	}
	if a.r.ContentLength < 0 {
		return nil, tooLarge(limit)
	}
	return dst, nil
}

// growTo returns b with a capacity of at least size bytes.
func growTo(b []byte, size int64) []byte {
	if int64(cap(b)) >= size {
		return b
	}
	return append(make([]byte, 0, size), b...)
}

// dropBody reads the body of a request that should have none: net/http notices
// that a client has gone only once the body is read.
func (h *Handler) dropBody(a *answer) error {
	if a.r.ContentLength == 0 {
		return nil
	}
	n, err := io.Copy(io.Discard, io.LimitReader(newBodyReader(a), maxIgnored+1))
	if err == nil && n > maxIgnored {
		return tooLarge(maxIgnored)
	}
	return err
}

// bodyReader reads a request's body under a rolling deadline. Its errors are
// io.EOF, refusals, and that the client is gone.
//
// The deadline is never lifted here. net/http does so at the end of the body,
// and where it does not (HTTP/2 and 3) the deadline concerns the body alone,
// which has ended. After an error it bounds how long net/http drains the rest.
type bodyReader struct {
	a       *answer
	control *http.ResponseController
}

func newBodyReader(a *answer) *bodyReader {
	a.bodyBound = true
	return &bodyReader{a, http.NewResponseController(a.w)}
}

func (b *bodyReader) Read(p []byte) (int, error) {
	timeout := b.a.h.cfg.ReadTimeout
	// A writer that has no deadlines leaves them to its server.
	_ = b.control.SetReadDeadline(time.Now().Add(timeout))
	n, err := b.a.r.Body.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return n, tooLarge(tooLong.Limit) // a middleware's limit
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, &protocol.Refusal{
			Code:   protocol.BodyTimeout,
			Detail: fmt.Sprintf("nothing of the body arrived for %s, so nothing was stored; send it again", timeout),
		}
	}
	if b.a.r.Context().Err() != nil {
		return n, context.Cause(b.a.r.Context())
	}
	return n, errBodyEnded
}

var errBodyEnded = &protocol.Refusal{
	Code:   protocol.Malformed,
	Detail: "the body ended before its length or is not well framed, so nothing was stored; send it again",
}

func tooLarge(limit int64) *protocol.Refusal {
	return &protocol.Refusal{
		Code:   protocol.TooLarge,
		Detail: fmt.Sprintf("the body has more than %d bytes; send it in several requests", limit),
	}
}

// boundBody limits how long a refusal waits for a body that nobody read: net/http
// drains it first, and has no limit of its own for that.
func (a *answer) boundBody() {
	if a.bodyBound || a.r.ContentLength == 0 {
		return
	}
	_ = http.NewResponseController(a.w).SetReadDeadline(time.Now().Add(a.h.cfg.ReadTimeout))
}
