package durablestreams

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

// retryStart is when to try again while a config starts or goes.
const retryStart = 1 * time.Second

// What handle_errors may show to a client.
var (
	errBroken      = errors.New("the server could not carry out the request")
	errUnavailable = errors.New("the server cannot carry out the request now; try again later")
	errNoSpace     = errors.New("the server has no space left for data")
)

// publicError returns the text for a status; causes are for the log alone.
func publicError(status int) error {
	switch status {
	case http.StatusServiceUnavailable:
		return errUnavailable
	case http.StatusInsufficientStorage:
		return errNoSpace
	}
	return errBroken
}

// notOpen is the answer while there is no store: it is being opened, or its
// config is gone.
func notOpen(w http.ResponseWriter, cause error) *server.Failure {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cache-Control", "no-store")
	header.Set("Retry-After", strconv.Itoa(int(retryStart/time.Second)))
	return &server.Failure{Status: http.StatusServiceUnavailable, RetryAfter: retryStart, Err: cause}
}

// fail returns the failure in Caddy's form, with a text that tells nothing of
// its cause. The log has the cause under the same err_id. Headers stay as they
// are, whoever writes the response.
func (h *Handler) fail(r *http.Request, failure *server.Failure) error {
	public := caddyhttp.Error(failure.Status, publicError(failure.Status))
	log := h.logger.Error
	if failure.RetryAfter > 0 {
		log = h.logger.Warn // The next attempt may well succeed.
	}
	log("request failed",
		zap.String("stream", r.URL.Path),
		zap.String("method", r.Method),
		zap.Int("status", failure.Status),
		zap.Error(failure.Err),
		zap.String("err_id", public.ID))
	return public
}

// report logs a failure that cut a response off.
func (h *Handler) report(r *http.Request, err error) {
	h.logger.Error("response cut off", zap.String("stream", r.URL.Path), zap.Error(err))
}
