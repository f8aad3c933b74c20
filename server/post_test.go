package server_test

import (
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

func TestPost(t *testing.T) {
	producer := func(id, epoch, seq string) []string {
		return h("Content-Type", text, "Producer-Id", id, "Producer-Epoch", epoch, "Producer-Seq", seq)
	}
	create := step{method: "PUT", target: "a", headers: h("Content-Type", text), status: 201}
	plain := h("Content-Type", text)
	run(t, server.Config{}, []scenario{
		{"§5.2: appended", []step{
			create,
			{method: "POST", target: "a", headers: plain, body: "abc", status: 204, want: h("Stream-Next-Offset", at("3"), "Stream-Closed", "", "Producer-Epoch", "")},
			{method: "POST", target: "a", headers: plain, body: "de", status: 204, want: h("Stream-Next-Offset", at("5"))},
			{method: "GET", target: "a", status: 200, wantBody: "abcde"},
		}},
		{"§5.2: no such stream", []step{
			{method: "POST", target: "a", headers: plain, body: "abc", status: 404},
		}},
		{"§5.2: appended and closed", []step{
			create,
			{method: "POST", target: "a", headers: append(h("Stream-Closed", "True"), plain...), body: "abc", status: 204, want: h("Stream-Next-Offset", at("3"), "Stream-Closed", "true")},
			{method: "POST", target: "a", headers: append(h("Stream-Closed", "true"), plain...), body: "abc", status: 409, want: h("Stream-Next-Offset", at("3"), "Stream-Closed", "true")},
		}},
		{"§5.3: closed", []step{
			create,
			{method: "POST", target: "a", headers: h("Stream-Closed", "true"), status: 204, want: h("Stream-Next-Offset", at("0"), "Stream-Closed", "true")},
			{method: "POST", target: "a", headers: h("Stream-Closed", "true", "Content-Type", jsonType), status: 204, want: h("Stream-Next-Offset", at("0"), "Stream-Closed", "true")},
		}},
		{"§5.2: closed comes before the content type", []step{
			create,
			{method: "POST", target: "a", headers: h("Stream-Closed", "true"), status: 204},
			{method: "POST", target: "a", headers: h("Content-Type", jsonType), body: "{", status: 409, want: h("Stream-Closed", "true", "Stream-Next-Offset", at("0"))},
		}},
		{"§5.2: another content type", []step{
			create,
			{method: "POST", target: "a", headers: h("Content-Type", jsonType), body: "1", status: 409, want: h("Stream-Closed", "", "Stream-Next-Offset", "")},
		}},
		{"§5.2: Stream-Seq must rise", []step{
			create,
			{method: "POST", target: "a", headers: append(h("Stream-Seq", "b"), plain...), body: "1", status: 204},
			{method: "POST", target: "a", headers: append(h("Stream-Seq", "b"), plain...), body: "1", status: 409},
			{method: "POST", target: "a", headers: append(h("Stream-Seq", "c"), plain...), body: "2", status: 204, want: h("Stream-Next-Offset", at("2"))},
		}},
		{"§5.2.1: new, duplicate, next", []step{
			create,
			{method: "POST", target: "a", headers: producer("p", "0", "0"), body: "1", status: 200, want: h("Producer-Epoch", "0", "Producer-Seq", "0", "Stream-Next-Offset", at("1"))},
			{method: "POST", target: "a", headers: producer("p", "0", "1"), body: "2", status: 200, want: h("Producer-Epoch", "0", "Producer-Seq", "1", "Stream-Next-Offset", at("2"))},
			{method: "POST", target: "a", headers: producer("p", "0", "0"), body: "1", status: 204, want: h("Producer-Epoch", "0", "Producer-Seq", "1", "Stream-Next-Offset", at("2"))},
			{method: "POST", target: "a", headers: producer("q", "0", "0"), body: "3", status: 200, want: h("Producer-Seq", "0")},
			{method: "GET", target: "a", status: 200, wantBody: "123"},
		}},
		{"§5.2.1: gap", []step{
			create,
			{method: "POST", target: "a", headers: producer("p", "0", "2"), body: "1", status: 409, want: h("Producer-Expected-Seq", "0", "Producer-Received-Seq", "2", "Stream-Closed", "")},
		}},
		{"§5.2.1: a conflict that is no gap says so", []step{
			create,
			{method: "POST", target: "a", headers: producer("p", "0", "0"), body: "1", status: 200},
			{method: "POST", target: "a", headers: h("Stream-Closed", "true"), status: 204},
			{method: "POST", target: "a", headers: producer("p", "0", "1"), body: "2", status: 409, want: h("Stream-Closed", "true", "Producer-Expected-Seq", "1", "Producer-Received-Seq", "1")},
			{method: "POST", target: "a", headers: plain, body: "2", status: 409, want: h("Producer-Expected-Seq", "", "Producer-Received-Seq", "")},
		}},
		{"§5.2.1: stale epoch", []step{
			create,
			{method: "POST", target: "a", headers: producer("p", "7", "0"), body: "1", status: 200},
			{method: "POST", target: "a", headers: producer("p", "6", "0"), body: "1", status: 403, want: h("Producer-Epoch", "7", "Producer-Seq", "")},
			{method: "POST", target: "a", headers: producer("p", "8", "1"), body: "1", status: 400},
		}},
		{"§5.2.1: close without data, repeated", []step{
			create,
			{method: "POST", target: "a", headers: append(h("Stream-Closed", "true"), producer("p", "0", "0")...), status: 204, want: h("Stream-Closed", "true", "Producer-Epoch", "0", "Producer-Seq", "0")},
			{method: "POST", target: "a", headers: append(h("Stream-Closed", "true"), producer("p", "0", "0")...), status: 204, want: h("Stream-Closed", "true", "Producer-Seq", "0")},
			{method: "POST", target: "a", headers: append(h("Stream-Closed", "true"), producer("p", "0", "1")...), status: 409, want: h("Stream-Closed", "true")},
		}},
		{"§5.2.1: close with data, repeated", []step{
			create,
			{method: "POST", target: "a", headers: append(h("Stream-Closed", "true"), producer("p", "0", "0")...), body: "end", status: 200, want: h("Stream-Closed", "true", "Stream-Next-Offset", at("3"))},
			{method: "POST", target: "a", headers: append(h("Stream-Closed", "true"), producer("p", "0", "0")...), body: "end", status: 204, want: h("Stream-Closed", "true", "Stream-Next-Offset", at("3"))},
		}},
		{"§9.1: JSON", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", jsonType), status: 201},
			{method: "POST", target: "a", headers: h("Content-Type", "application/json; charset=utf-8"), body: `[ {"k" : 1e400}, [2] ]`, status: 204, want: h("Stream-Next-Offset", "0000000000000018_0000000000000000")},
			{method: "POST", target: "a", headers: h("Content-Type", jsonType), body: "[]", status: 400},
			{method: "GET", target: "a", status: 200, wantBody: "[{\"k\":1e400},\n[2]]"},
		}},
		{"compare and append", []step{
			create,
			{method: "POST", target: "a", headers: append(h("If-Match", `"`+at("0")+`"`), plain...), body: "1", status: 204},
			{method: "POST", target: "a", headers: append(h("If-Match", at("0")), plain...), body: "2", status: 412, want: h("Stream-Next-Offset", at("1"), "Stream-Closed", "")},
			{method: "POST", target: "a", headers: append(h("Stream-Expected-Offset", at("1")), plain...), body: "2", status: 204, want: h("Stream-Next-Offset", at("2"))},
		}},
		{"§4.2: soft-deleted", []step{
			create,
			{method: "PUT", target: "b", headers: h("Stream-Forked-From", "/v1/stream/a"), status: 201},
			{method: "DELETE", target: "a", status: 204},
			{method: "POST", target: "a", headers: plain, body: "1", status: 410},
			{method: "GET", target: "a", status: 410},
			{method: "HEAD", target: "a", status: 410},
			{method: "DELETE", target: "a", status: 410},
			{method: "GET", target: "a?offset=-1&live=long-poll", status: 410},
			{method: "GET", target: "a?offset=-1&live=sse", status: 410},
		}},
		{"§5.4: deleted", []step{
			{method: "DELETE", target: "a", status: 404},
			create,
			{method: "DELETE", target: "a", status: 204, want: h("Stream-Next-Offset", "")},
			{method: "GET", target: "a", status: 404},
		}},
	})
}

// TestPost_scratchIsNotShared appends JSON bodies of falling length: a buffer
// that goes back to the pool must not be what the engine keeps.
func TestPost_scratchIsNotShared(t *testing.T) {
	w := newWorld(t, server.Config{})
	w.must(t, "PUT", "a", "", "Content-Type", jsonType)
	for _, body := range []string{`"aaaaaaaa"`, `"bbbb"`, `"c"`} {
		w.must(t, "POST", "a", body, "Content-Type", jsonType)
	}
	if got := w.call(t, "GET", "a", ""); got.body != "[\"aaaaaaaa\",\n\"bbbb\",\n\"c\"]" {
		t.Error(got.body)
	}
}
