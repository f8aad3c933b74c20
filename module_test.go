package durablestreams

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// TestHandler_withoutItsStore has a request that comes over an open connection
// after its config and all other requests have gone.
func TestHandler_withoutItsStore(t *testing.T) {
	l, _ := newSlowLease(t)
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	h := &Handler{lease: l, logger: zap.NewNop()}
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, httptest.NewRequest("GET", "/v1/stream/a", nil), nil)
	var failure caddyhttp.HandlerError
	if !errors.As(err, &failure) || failure.StatusCode != http.StatusServiceUnavailable || !errors.Is(err, errUnavailable) {
		t.Errorf("got %v, want a 503 that tells nothing of its cause", err)
	}
	for name, want := range map[string]string{"Retry-After": "1", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
