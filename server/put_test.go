package server_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

func TestPut(t *testing.T) {
	run(t, server.Config{}, []scenario{
		{"§5.1: created", []step{
			{
				method: "PUT", target: "a", headers: h("Content-Type", "text/plain; charset=utf-8"), status: 201,
				want: h("Location", "http://example.com/v1/stream/a", "Content-Type", "text/plain; charset=utf-8",
					"Stream-Next-Offset", at("0"), "Stream-Closed", ""),
			},
		}},
		{"§5.1: default content type", []step{
			{method: "PUT", target: "a", status: 201, want: h("Content-Type", octets)},
		}},
		{"§5.1: initial bytes", []step{
			{method: "PUT", target: "a", body: "hello", status: 201, want: h("Stream-Next-Offset", at("5"))},
			{method: "GET", target: "a", status: 200, wantBody: "hello"},
		}},
		{"§5.1: exists with the same configuration", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", "text/plain"), body: "x", status: 201},
			{
				method: "PUT", target: "a", headers: h("Content-Type", "TEXT/plain"), body: "x", status: 200,
				want: h("Location", "", "Content-Type", "text/plain", "Stream-Next-Offset", at("1")),
			},
			{method: "GET", target: "a", status: 200, wantBody: "x"},
		}},
		{"§5.1: exists with another configuration", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", "text/plain"), status: 201},
			{method: "PUT", target: "a", headers: h("Content-Type", "text/html"), status: 409},
			{method: "PUT", target: "a", headers: h("Content-Type", "text/plain", "Stream-TTL", "60"), status: 409},
			{method: "PUT", target: "a", headers: h("Content-Type", "text/plain", "Stream-Closed", "true"), status: 409},
		}},
		{"§5.1: created closed", []step{
			{method: "PUT", target: "a", headers: h("Stream-Closed", "TRUE"), body: "all", status: 201, want: h("Stream-Closed", "true", "Stream-Next-Offset", at("3"))},
			{method: "PUT", target: "a", headers: h("Stream-Closed", "true"), status: 200, want: h("Stream-Closed", "true")},
			{method: "PUT", target: "a", status: 409},
			{method: "POST", target: "a", headers: h("Content-Type", octets), body: "x", status: 409, want: h("Stream-Closed", "true", "Stream-Next-Offset", at("3"))},
		}},
		{"§4.1: Stream-Closed other than true is absent", []step{
			{method: "PUT", target: "a", headers: h("Stream-Closed", "yes"), status: 201, want: h("Stream-Closed", "")},
		}},
		{"§9.1.3: an empty array creates an empty stream", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", jsonType), body: "[]", status: 201, want: h("Stream-Next-Offset", at("0"))},
			{method: "GET", target: "a", status: 200, wantBody: "[]"},
		}},
		{"§9.1.2: an array is flattened", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", jsonType), body: "[1, 2]", status: 201, want: h("Stream-Next-Offset", at("6"))},
			{method: "GET", target: "a", status: 200, wantBody: "[1,\n2]"},
		}},
		{"§4.2: fork at the tail", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", "text/plain"), body: "abc", status: 201},
			{
				method: "PUT", target: "b", headers: h("Stream-Forked-From", "/v1/stream/a"), body: "de", status: 201,
				want: h("Content-Type", "text/plain", "Stream-Next-Offset", at("5"), "Location", "http://example.com/v1/stream/b"),
			},
			{method: "PUT", target: "b", headers: h("Stream-Forked-From", "/v1/stream/a"), status: 200, want: h("Stream-Next-Offset", at("5"))},
			{method: "GET", target: "b", status: 200, wantBody: "abcde"},
			{method: "GET", target: "a", status: 200, wantBody: "abc"},
		}},
		{"§4.2: fork of a JSON stream counts messages, and its body is JSON", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", jsonType), body: "[1,2,3]", status: 201},
			{method: "PUT", target: "b", headers: h("Stream-Forked-From", "/v1/stream/a", "Stream-Fork-Offset", at("3"), "Stream-Fork-Sub-Offset", "1"), body: `["x"]`, status: 201},
			{method: "GET", target: "b", status: 200, wantBody: "[1,\n2,\n\"x\"]", want: h("Content-Type", jsonType)},
			{method: "PUT", target: "c", headers: h("Stream-Forked-From", "/v1/stream/a", "Stream-Fork-Offset", at("3"), "Stream-Fork-Sub-Offset", "9"), status: 400},
			{method: "PUT", target: "c", headers: h("Stream-Forked-From", "/v1/stream/a"), body: "{", status: 400},
			{method: "HEAD", target: "c", status: 404},
		}},
		{"§4.2: fork of nothing, of another type, of the deleted", []step{
			{method: "PUT", target: "b", headers: h("Stream-Forked-From", "/v1/stream/a"), status: 404},
			{method: "PUT", target: "a", headers: h("Content-Type", "text/plain"), body: "abc", status: 201},
			{method: "PUT", target: "b", headers: h("Stream-Forked-From", "/v1/stream/a", "Content-Type", "text/html"), status: 409},
			{method: "PUT", target: "b", headers: h("Stream-Forked-From", "/v1/stream/a"), status: 201},
			{method: "DELETE", target: "a", status: 204},
			{method: "PUT", target: "c", headers: h("Stream-Forked-From", "/v1/stream/a"), status: 409},
			{method: "PUT", target: "a", headers: h("Content-Type", "text/plain"), status: 409},
		}},
	})
}

func TestPut_chunkedBody(t *testing.T) {
	w := newWorld(t, server.Config{})
	r := newRequest("PUT", "a", "in pieces")
	r.ContentLength = -1
	w.do(t, r).header(t, "Stream-Next-Offset", at("9"))
}

func TestPut_location(t *testing.T) {
	w := newWorld(t, server.Config{})
	r := newRequest("PUT", "/v1/stream/a%20b//c?x=y", "", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "elsewhere")
	r.Host, r.TLS = "streams.example:8443", &tls.ConnectionState{}
	w.do(t, r).header(t, "Location", "https://streams.example:8443/v1/stream/a%20b//c")

	r = newRequest("PUT", "/v1/stream/d", "")
	r.Host = ""
	w.do(t, r).header(t, "Location", "/v1/stream/d")

	w = newWorld(t, server.Config{StreamURL: func(r *http.Request) string { return "made:" + r.URL.Path }})
	w.call(t, "PUT", "a", "").header(t, "Location", "made:/v1/stream/a")
}

func TestPut_bodyNearTheLimit(t *testing.T) {
	const limit = 1000
	for _, length := range []int{limit - 1, limit, limit + 1, 5 * limit} {
		for _, known := range []bool{true, false} {
			w := newWorld(t, server.Config{MaxAppendSize: limit})
			body := strings.Repeat("x", length)
			for _, method := range []string{"PUT", "POST"} {
				r := newRequest(method, "a", body, "Content-Type", octets)
				if !known {
					r.ContentLength = -1
				}
				got := w.do(t, r)
				if refused := got.StatusCode == 413; refused != (length > limit) {
					t.Errorf("%s of %d bytes, length known %v: status %d", method, length, known, got.StatusCode)
				}
				if method == "PUT" && length > limit {
					if head := w.call(t, "HEAD", "a", ""); head.StatusCode != 404 {
						t.Errorf("a refused PUT created the stream")
					}
					w.must(t, "PUT", "a", "")
				}
			}
			if got := w.call(t, "GET", "a", ""); length > limit && got.body != "" || length <= limit && got.body != body+body {
				t.Errorf("%d bytes, length known %v: the stream has %d bytes", length, known, len(got.body))
			}
		}
	}
}
