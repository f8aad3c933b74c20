package server

import (
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

// readBody reads the request's body, into dst's memory if it is large enough.
// It refuses one that is too large before reading it if its length is known, and
// one that stops arriving. Nothing of a body that ends early is returned.
func (h *Handler) readBody(a *answer, dst []byte) ([]byte, error) {
	return h.readBodyUpTo(a, dst, h.cfg.MaxAppendSize)
}

// dropBody reads the body of a request that should have none: net/http notices
// that a client has gone only once the body is read.
func (h *Handler) dropBody(a *answer) error {
	if a.r.ContentLength == 0 {
		a.bodyRead = true
		return nil
	}
	_, err := h.readBodyUpTo(a, nil, maxIgnored)
	return err
}

func (h *Handler) readBodyUpTo(a *answer, dst []byte, limit int64) ([]byte, error) {
	length := a.r.ContentLength
	switch {
	case length == 0:
		a.bodyRead = true
		return nil, nil
	case length > limit:
		return nil, tooLarge(limit)
	case length < 0:
		dst = growTo(dst, firstRead)
	default:
		dst = growTo(dst, min(length, trustedLength))
	}
	control := http.NewResponseController(a.w)
	for int64(len(dst)) != length {
		if int64(len(dst)) > limit {
			return nil, tooLarge(limit)
		}
		if len(dst) == cap(dst) {
			dst = growTo(dst, grown(len(dst), length, limit))
		}
		// A rolling deadline. It needs no end: net/http lifts it when the body has
		// been read, and where it is not lifted it concerns nothing but the body.
		// A writer without deadlines leaves them to its server.
		_ = control.SetReadDeadline(time.Now().Add(h.cfg.ReadTimeout))
		n, err := a.r.Body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			if length >= 0 && int64(len(dst)) != length {
				err = io.ErrUnexpectedEOF
			} else {
				break
			}
		}
		if err != nil {
			return nil, h.bodyError(a, err)
		}
	}
	if int64(len(dst)) > limit {
		return nil, tooLarge(limit)
	}
	a.bodyRead = true
	return dst, nil
}

// grown returns the size of the buffer that follows one of n bytes: twice that,
// but not more than can come. One byte past the limit is room enough to notice.
func grown(n int, length, limit int64) int64 {
	most := limit + 1
	if length >= 0 {
		most = length
	}
	return min(2*int64(n), most)
}

// growTo returns b with a capacity of at least size bytes.
func growTo(b []byte, size int64) []byte {
	if int64(cap(b)) >= size {
		return b
	}
	return append(make([]byte, 0, size), b...)
}

// bodyError says why a body could not be read.
func (h *Handler) bodyError(a *answer, err error) error {
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return tooLarge(tooLong.Limit) // a middleware's limit
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &protocol.Refusal{
			Code:   protocol.BodyTimeout,
			Detail: fmt.Sprintf("nothing of the body arrived for %s; nothing was stored", h.cfg.ReadTimeout),
		}
	}
	return &protocol.Refusal{Code: protocol.Malformed, Detail: "the body ended before its length or is not well-formed; nothing was stored"}
}

func tooLarge(limit int64) *protocol.Refusal {
	return &protocol.Refusal{
		Code:   protocol.TooLarge,
		Detail: fmt.Sprintf("the body has more than %d bytes; send it in several requests", limit),
	}
}

// boundBody limits how long an answer waits for a body that was not read:
// net/http drains it first, and does so without a limit of its own.
func (a *answer) boundBody() {
	if a.bodyRead || a.r.ContentLength == 0 {
		return
	}
	_ = http.NewResponseController(a.w).SetReadDeadline(time.Now().Add(a.h.cfg.ReadTimeout))
}
