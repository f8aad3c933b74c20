package server_test

import (
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

// TestBadInput sends what no client should, and looks at the streams afterwards.
func TestBadInput(t *testing.T) {
	type input struct {
		name    string
		method  string
		target  string
		headers []string
		body    string
		status  int
		code    protocol.Code
	}
	const big = "0123456789012345678901234567890123456789" // more than the limit below
	producer := func(id, epoch, seq string) []string {
		return h("Content-Type", text, "Producer-Id", id, "Producer-Epoch", epoch, "Producer-Seq", seq)
	}
	var inputs []input
	add := func(in input) { inputs = append(inputs, in) }

	for _, offset := range []string{
		"", "0", "1", "-2", "abc", "0,1", "0%201", "NOW", "+1", at("1") + "0", "000000000000000x_0000000000000000",
		"0000000000000001-0000000000000000", "%00", strings.Repeat("9", 5000), "0_0", "%D9%A1",
	} {
		add(input{"malformed offset " + offset, "GET", "text?offset=" + offset, nil, "", 400, protocol.InvalidOffset})
	}
	for _, live := range []string{"", "&live=long-poll", "&live=sse"} {
		add(input{"offset past the tail" + live, "GET", "text?offset=" + at("9") + live, nil, "", 400, protocol.InvalidOffset})
		add(input{"greatest offset" + live, "GET", "text?offset=9999999999999999_0000000000000000" + live, nil, "", 400, protocol.InvalidOffset})
		add(input{"offset in a message" + live, "GET", "json?offset=" + at("1") + live, nil, "", 400, protocol.InvalidOffset})
		add(input{"two offsets" + live, "GET", "text?offset=-1&offset=-1" + live, nil, "", 400, protocol.Malformed})
	}
	for _, query := range []string{
		"live=sse", "live=long-poll", "live=&offset=-1", "live=websocket&offset=-1", "live=SSE&offset=-1", "live=sse&live=sse&offset=-1",
		"cursor=1&cursor=2&live=sse&offset=-1", "%zz", "offset=-1;live=sse", "live=true&offset=-1",
	} {
		add(input{"query " + query, "GET", "text?" + query, nil, "", 400, protocol.Malformed})
	}
	for _, ttl := range []string{"", "-1", "+1", "01", "1.0", "1e3", " 1", "0x1", "abc", "9999999999999999999999", "3153600001", "١"} {
		add(input{"TTL " + ttl, "PUT", "new", h("Stream-TTL", ttl), "", 400, protocol.Malformed})
	}
	for _, expiry := range []string{"", "tomorrow", "2030-01-01", "2030-01-01 00:00:00Z", "2030-13-01T00:00:00Z", "1893456000", "2030-01-01T00:00:00"} {
		add(input{"expiry " + expiry, "PUT", "new", h("Stream-Expires-At", expiry), "", 400, protocol.Malformed})
	}
	add(input{"TTL and expiry", "PUT", "new", h("Stream-TTL", "1", "Stream-Expires-At", "2030-01-01T00:00:00Z"), "", 400, protocol.Malformed})
	add(input{"two TTLs", "PUT", "new", h("Stream-TTL", "1", "Stream-TTL", "1"), "", 400, protocol.Malformed})
	for _, contentType := range []string{"text", "/", "text/", "te xt/plain", "text/pl\x7fain", strings.Repeat("x", 600) + "/y"} {
		add(input{"content type " + contentType, "PUT", "new", h("Content-Type", contentType), "", 400, protocol.Malformed})
	}

	for _, p := range [][3]string{
		{"", "0", "0"},
		{"p", "-1", "0"},
		{"p", "0", "-1"},
		{"p", "1.0", "0"},
		{"p", "0", "1e0"},
		{"p", "01", "0"},
		{"p", "0", "00"},
		{"p", "", "0"},
		{"p", "0", ""},
		{"p", "9007199254740992", "0"},
		{"p", "0", "9007199254740992"},
		{"p", "abc", "0"},
		{"p", "0", "0x0"},
		{strings.Repeat("p", 257), "0", "0"},
	} {
		add(input{"producer " + strings.Join(p[:], "/"), "POST", "text", producer(p[0], p[1], p[2]), "x", 400, protocol.Malformed})
	}
	for _, headers := range [][]string{
		h("Producer-Id", "p"), h("Producer-Epoch", "0"), h("Producer-Seq", "0"),
		h("Producer-Id", "p", "Producer-Epoch", "0"), h("Producer-Id", "p", "Producer-Seq", "0"), h("Producer-Epoch", "0", "Producer-Seq", "0"),
		append(h("Producer-Id", "q"), producer("p", "0", "0")[2:]...),
		h("Stream-Seq", ""), h("Stream-Seq", strings.Repeat("s", 1025)), h("Stream-Seq", "1", "Stream-Seq", "2"),
		h("If-Match", at("1"), "Stream-Expected-Offset", at("2")),
		append(h("If-Match", at("4")), producer("p", "0", "0")[2:]...),
		h("Content-Type", text),
	} {
		add(input{"headers " + strings.Join(headers, "/"), "POST", "text", append(h("Content-Type", text), headers...), "x", 400, protocol.Malformed})
	}
	add(input{"expected offset", "POST", "text", h("Content-Type", text, "If-Match", `"*"`), "x", 400, protocol.InvalidOffset})
	add(input{"first request of an epoch", "POST", "text", producer("old", "9", "1"), "x", 400, protocol.EpochStart})
	add(input{"gap", "POST", "text", producer("p", "0", "5"), "x", 409, protocol.SequenceGap})

	add(input{"no body", "POST", "text", h("Content-Type", text), "", 400, protocol.Malformed})
	add(input{"no content type", "POST", "text", nil, "x", 400, protocol.Malformed})
	add(input{"another content type", "POST", "text", h("Content-Type", jsonType), "1", 409, protocol.ContentTypeMismatch})
	for _, body := range []string{
		"{", "[1,]", "nul", "1 2", "{'a':1}", `{"a":1,}`, "\xff", `"` + "\x01" + `"`, "01", "[1", `"\x"`, "NaN", " ", "[]", "[[1]",
		strings.Repeat("[", 30),
	} {
		add(input{"JSON " + body, "POST", "json", h("Content-Type", jsonType), body, 400, protocol.InvalidJSON})
		if body != "[]" {
			add(input{"first JSON " + body, "PUT", "new", h("Content-Type", jsonType), body, 400, protocol.InvalidJSON})
		}
	}
	add(input{"too large", "POST", "text", h("Content-Type", text), big, 413, protocol.TooLarge})
	add(input{"too large at first", "PUT", "new", h("Content-Type", text), big, 413, protocol.TooLarge})
	add(input{"body of a GET", "GET", "text", nil, strings.Repeat("x", 65<<10), 413, protocol.TooLarge})

	for _, target := range []string{
		"/v1/stream", "/v1/stream/", "/", "/v1/stream/.", "/v1/stream/..", "/v1/stream/a/../b", "/v1/stream/a/./b", "/v1/stream/%2e%2e/b",
		"/v1/stream/a%00b", "/v1/stream/a%0Ab", "/v1/stream/%ff", "/v1/stream/" + strings.Repeat("n", 1025),
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE"} {
			add(input{"name " + method + " " + target, method, target, h("Content-Type", text), "x", 400, protocol.InvalidName})
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		add(input{"reserved " + method, method, "__registry__", h("Content-Type", text), "x", 403, protocol.Reserved})
		add(input{"control " + method, method, "__ds/x", h("Content-Type", text), "x", 404, protocol.NotFound})
	}
	add(input{"reserved to read", "GET", "__registry__", nil, "", 404, protocol.NotFound})
	for _, method := range []string{"PATCH", "TRACE", "CONNECT", "BREW", "get", "PROPFIND"} {
		add(input{"method " + method, method, "text", nil, "", 405, protocol.MethodNotAllowed})
	}

	fork := func(headers ...string) []string {
		return append(h("Stream-Forked-From", "/v1/stream/text"), headers...)
	}
	for _, source := range []string{"", "text", "/v1/stream/", "/v1/stream/../x", "%zz", "http://elsewhere/v1/stream/text", "/v1/stream/%00"} {
		add(input{"fork from " + source, "PUT", "new", h("Stream-Forked-From", source), "", 400, 0})
	}
	for _, headers := range [][]string{
		h("Stream-Fork-Offset", at("0")), h("Stream-Fork-Sub-Offset", "0"),
		fork("Stream-Fork-Offset", "x"), fork("Stream-Fork-Offset", "now"), fork("Stream-Fork-Offset", ""), fork("Stream-Fork-Offset", at("9")),
		fork("Stream-Fork-Sub-Offset", "1"), fork("Stream-Fork-Offset", at("0"), "Stream-Fork-Sub-Offset", "-1"),
		fork("Stream-Fork-Offset", at("0"), "Stream-Fork-Sub-Offset", "01"), fork("Stream-Fork-Offset", at("0"), "Stream-Fork-Sub-Offset", "6"),
		fork("Stream-Fork-Offset", at("0"), "Stream-Fork-Sub-Offset", "9223372036854775807"),
		h("Stream-Forked-From", "/v1/stream/json", "Stream-Fork-Offset", at("1")),
	} {
		add(input{"fork " + strings.Join(headers, "/"), "PUT", "new", headers, "", 400, 0})
	}
	add(input{"fork of nothing", "PUT", "new", h("Stream-Forked-From", "/v1/stream/none"), "", 404, protocol.SourceNotFound})

	w := newWorld(t, server.Config{MaxAppendSize: int64(len(big)) - 1})
	w.must(t, "PUT", "text", "text", "Content-Type", text)
	w.must(t, "PUT", "json", `["json"]`, "Content-Type", jsonType)
	w.must(t, "POST", "text", "s", producer("old", "8", "0")...)
	for _, in := range inputs {
		t.Run(in.name, func(t *testing.T) {
			r := newRequest(in.method, "/", in.body, in.headers...)
			target := in.target
			if !strings.HasPrefix(target, "/") {
				target = base + target
			}
			parsed, err := r.URL.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			// As it came, without the cleaning that Parse does.
			*r.URL = *parsed
			path, _, _ := strings.Cut(target, "?")
			if !strings.Contains(path, "%") {
				r.URL.Path = path
			}
			for _, known := range []bool{true, false} {
				r := r.Clone(t.Context())
				r.Body = newRequest("PUT", "a", in.body).Body
				if !known {
					if in.body == "" {
						continue
					}
					r.ContentLength = -1
				}
				got := w.do(t, r)
				if got.StatusCode != in.status {
					t.Errorf("status %d (%s), want %d", got.StatusCode, strings.TrimSpace(got.body), in.status)
				}
				if in.code != 0 && in.method != "HEAD" && !strings.HasPrefix(got.body, in.code.String()+": ") {
					t.Errorf("body %q, want code %s", got.body, in.code)
				}
				if in.status == 405 {
					got.header(t, "Allow", "GET, HEAD, PUT, POST, DELETE, OPTIONS")
				}
			}
		})
	}
	if got := w.call(t, "GET", "text", ""); got.body != "texts" {
		t.Errorf("the text stream is now %q", got.body)
	}
	if got := w.call(t, "GET", "json", ""); got.body != `["json"]` {
		t.Errorf("the JSON stream is now %q", got.body)
	}
	if got := w.call(t, "HEAD", "new", ""); got.StatusCode != 404 {
		t.Errorf("a refused PUT left a stream")
	}
	if n := w.handler.Stats().Refusals[protocol.MethodNotAllowed]; n != 6 {
		t.Errorf("%d refusals for their method, want 6", n)
	}
}
