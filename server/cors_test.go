package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

func list(h http.Header, name string) map[string]bool {
	all := map[string]bool{}
	for item := range strings.SplitSeq(strings.ToLower(h.Get(name)), ",") {
		all[strings.TrimSpace(item)] = true
	}
	return all
}

func TestPreflight(t *testing.T) {
	w := newWorld(t, server.Config{})
	for _, target := range []string{"a", "/v1/stream/", "/v1/stream/a/../b", "__registry__"} {
		got := w.call(t, "OPTIONS", target, "", "Origin", "https://app.example", "Access-Control-Request-Method", "PUT",
			"Access-Control-Request-Headers", "traceparent, X-Own_Header,stream-seq, bad name, é, <b>")
		if got.StatusCode != http.StatusNoContent {
			t.Errorf("%s: status %d", target, got.StatusCode)
		}
		got.header(t, "Access-Control-Max-Age", "86400")
		methods := list(got.Header, "Access-Control-Allow-Methods")
		for _, method := range []string{"get", "head", "put", "post", "delete"} {
			if !methods[method] {
				t.Errorf("method %s is not allowed", method)
			}
		}
		headers := list(got.Header, "Access-Control-Allow-Headers")
		for _, name := range []string{
			"content-type", "authorization", "if-match", "if-none-match", "last-event-id", "cache-control",
			"stream-seq", "stream-ttl", "stream-expires-at", "stream-closed", "stream-expected-offset",
			"stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset",
			"producer-id", "producer-epoch", "producer-seq", "traceparent", "x-own_header",
		} {
			if !headers[name] {
				t.Errorf("header %s is not allowed", name)
			}
		}
		if value := got.Header.Get("Access-Control-Allow-Headers"); strings.ContainsAny(value, "<é*") || strings.Contains(value, "bad name") ||
			strings.Count(strings.ToLower(value), "stream-seq") != 1 {
			t.Errorf("Access-Control-Allow-Headers: %s", value)
		}
	}
}

func TestPreflight_isBounded(t *testing.T) {
	w := newWorld(t, server.Config{})
	got := w.call(t, "OPTIONS", "a", "", "Access-Control-Request-Headers", strings.Repeat("x-y,", 10_000))
	if n := len(got.Header.Get("Access-Control-Allow-Headers")); n > 2048 {
		t.Errorf("%d bytes are echoed", n)
	}
}

// TestExposedHeaders holds the list of exposed headers against those that
// answers really have.
func TestExposedHeaders(t *testing.T) {
	w := newWorld(t, server.Config{})
	answers := []response{
		w.call(t, "PUT", "a", "x", "Content-Type", octets, "Stream-TTL", "60"),
		w.call(t, "PUT", "b", "", "Stream-Expires-At", "2999-01-01T00:00:00Z", "Stream-Closed", "true"),
		w.call(t, "HEAD", "a", ""), w.call(t, "HEAD", "b", ""),
		w.call(t, "GET", "a", ""),
		w.call(t, "GET", "a?offset=-1&live=long-poll", ""),
		w.call(t, "GET", "b?offset=-1&live=sse", ""),
		w.call(t, "POST", "a", "x", "Content-Type", octets, "Producer-Id", "p", "Producer-Epoch", "0", "Producer-Seq", "0"),
		w.call(t, "POST", "a", "x", "Content-Type", octets, "Producer-Id", "p", "Producer-Epoch", "0", "Producer-Seq", "9"),
		w.call(t, "PATCH", "a", ""),
	}
	// Headers that scripts may read in any case, or that are for the browser.
	free := map[string]bool{
		"X-Content-Type-Options": true, "Cross-Origin-Resource-Policy": true, "X-Accel-Buffering": true,
		"Access-Control-Allow-Origin": true, "Access-Control-Expose-Headers": true,
	}
	for _, got := range answers {
		exposed := list(got.Header, "Access-Control-Expose-Headers")
		if !exposed["retry-after"] {
			t.Error("Retry-After is not exposed")
		}
		for name := range got.Header {
			if !free[name] && !exposed[strings.ToLower(name)] {
				t.Errorf("%s is not exposed", name)
			}
		}
	}
}

// TestHeaders_notShared changes header values in place, as Caddy's header
// directive does when it replaces text.
func TestHeaders_notShared(t *testing.T) {
	w := newWorld(t, server.Config{})
	for range 2 {
		got := w.call(t, "GET", "a", "")
		got.header(t, "Cache-Control", "no-store")
		for _, values := range got.Header {
			for i := range values {
				values[i] = "changed"
			}
		}
	}
	discard := &discardWriter{header: http.Header{}}
	w.http.ServeHTTP(discard, newRequest("GET", "a", ""))
	for name, values := range discard.header {
		if cap(values) != 1 {
			t.Errorf("appending to %s would overwrite another header", name)
		}
		values[0] = "changed"
	}
	w.call(t, "GET", "a", "").header(t, "Cache-Control", "no-store")
}
