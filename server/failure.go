package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Failure says that the server could not carry out a request. The response's
// headers are set, its status and body are not sent.
type Failure struct {
	// Status is 500, 503 or 507.
	Status int
	// RetryAfter says when to try again, zero if there is no telling. The header
	// of that name is set.
	RetryAfter time.Duration
	// Err is the cause. It is for logs, never for clients.
	Err error
}

// Error gives status and cause.
func (f *Failure) Error() string { return fmt.Sprintf("status %d: %v", f.Status, f.Err) }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// writeFailure answers with the status of a failure.
func writeFailure(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if f := (*Failure)(nil); errors.As(err, &f) {
		status = f.Status
	}
	a := answer{w: w, r: r, header: w.Header()}
	a.text(status, http.StatusText(status))
}

// abort reports a failure and cuts the response off, which has begun: the client
// must not take what it has for all there is.
func (h *Handler) abort(r *http.Request, err error) {
	h.counters.failures.Add(1)
	h.cfg.Report(r, err)
	panic(http.ErrAbortHandler)
}
