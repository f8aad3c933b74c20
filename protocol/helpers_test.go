package protocol_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

const base = "/v1/stream"

var now = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// headers returns a request's headers from names and values in turn.
func headers(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// wantCode demands a refusal with the code, or none if the code is 0.
func wantCode(t *testing.T, refusal *protocol.Refusal, want protocol.Code) {
	t.Helper()
	switch {
	case want == 0 && refusal != nil:
		t.Fatalf("refused: %v", refusal)
	case want != 0 && refusal == nil:
		t.Fatalf("accepted, want %v", want)
	case want != 0 && refusal.Code != want:
		t.Fatalf("refused with %v, want %v", refusal, want)
	}
}

func ttl(seconds int64) protocol.Expiry {
	return protocol.Expiry{TTL: time.Duration(seconds) * time.Second, HasTTL: true}
}

func until(t time.Time) protocol.Expiry { return protocol.Expiry{At: t} }
