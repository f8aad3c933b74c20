package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

const cached = "public, max-age=60, stale-while-revalidate=300"

func TestGet(t *testing.T) {
	create := step{method: "PUT", target: "a", headers: h("Content-Type", text), body: "0123456", status: 201}
	run(t, server.Config{MaxChunkSize: 4}, []scenario{
		{"§5.6: in chunks", []step{
			create,
			{
				method: "GET", target: "a", status: 200, wantBody: "0123",
				want: h("Content-Type", text, "Content-Length", "4", "Stream-Next-Offset", at("4"), "Stream-Up-To-Date", "", "Stream-Closed", "", "Stream-Cursor", "", "Cache-Control", cached),
			},
			{
				method: "GET", target: "a?offset=" + at("4"), status: 200, wantBody: "456",
				want: h("Content-Length", "3", "Stream-Next-Offset", at("7"), "Stream-Up-To-Date", "true", "Cache-Control", cached),
			},
			{
				method: "GET", target: "a?offset=" + at("7"), status: 200,
				want: h("Content-Type", text, "Content-Length", "0", "Stream-Next-Offset", at("7"), "Stream-Up-To-Date", "true", "Stream-Closed", "", "Cache-Control", "no-store"),
			},
		}},
		{"§5.6: a closed stream's end", []step{
			create,
			{method: "POST", target: "a", headers: h("Stream-Closed", "true"), status: 204},
			{method: "GET", target: "a?offset=-1", status: 200, wantBody: "0123", want: h("Stream-Closed", "", "Stream-Up-To-Date", "")},
			{method: "GET", target: "a?offset=" + at("4"), status: 200, wantBody: "456", want: h("Stream-Closed", "true", "Stream-Up-To-Date", "true", "Cache-Control", cached)},
			{method: "GET", target: "a?offset=" + at("7"), status: 200, want: h("Stream-Closed", "true", "Stream-Up-To-Date", "true", "Cache-Control", "no-store")},
		}},
		{"§8: offset=now", []step{
			create,
			{method: "GET", target: "a?offset=now", status: 200, want: h("Stream-Next-Offset", at("7"), "Stream-Up-To-Date", "true", "ETag", "", "Cache-Control", "no-store", "Content-Length", "0")},
			{method: "GET", target: "a?offset=now", headers: h("If-None-Match", "*"), status: 200},
			{method: "POST", target: "a", headers: h("Stream-Closed", "true"), status: 204},
			{method: "GET", target: "a?offset=now", status: 200, want: h("Stream-Closed", "true", "Stream-Up-To-Date", "true", "Stream-Next-Offset", at("7"), "ETag", "")},
		}},
		{"§9.1.5: JSON", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", jsonType), status: 201},
			{method: "GET", target: "a", status: 200, wantBody: "[]", want: h("Content-Length", "2", "Stream-Up-To-Date", "true", "Cache-Control", "no-store")},
			{method: "GET", target: "a?offset=now", status: 200, wantBody: "[]", want: h("Content-Length", "2")},
			{method: "POST", target: "a", headers: h("Content-Type", jsonType), body: `[1,"long"]`, status: 204},
			{method: "GET", target: "a", status: 200, wantBody: "[1]", want: h("Content-Length", "3", "Content-Type", jsonType, "Stream-Next-Offset", at("3"), "Stream-Up-To-Date", "")},
			{method: "GET", target: "a?offset=" + at("3"), status: 200, wantBody: `["long"]`, want: h("Content-Length", "8", "Stream-Up-To-Date", "true")},
		}},
		{"§11.1: unknown parameters are ignored", []step{
			create,
			{method: "GET", target: "a?x=y&offset=" + at("4"), status: 200, wantBody: "456"},
		}},
		{"§10.1: data of somebody in particular", []step{
			create,
			{method: "GET", target: "a", headers: h("Authorization", "Bearer x"), status: 200, wantBody: "0123", want: h("Cache-Control", "private, max-age=60, stale-while-revalidate=300")},
			{method: "GET", target: "a", headers: h("Cookie", "a=b"), status: 200, wantBody: "0123", want: h("Cache-Control", "private, max-age=60, stale-while-revalidate=300")},
		}},
	})
}

func TestGet_lifetimeBoundsCaching(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	cfg := server.Config{Now: func() time.Time { return now }}
	in := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339Nano) }
	for _, c := range []struct {
		name, header, value, want string
		request                   []string
	}{
		{"long TTL", "Stream-TTL", "60", cached, nil},
		{"short TTL", "Stream-TTL", "59", "public, max-age=59", nil},
		{"short TTL, private", "Stream-TTL", "10", "private, max-age=10", h("Authorization", "x")},
		{"far end", "Stream-Expires-At", in(time.Hour), cached, nil},
		{"near end", "Stream-Expires-At", in(20*time.Second + 900*time.Millisecond), "public, max-age=20", nil},
		{"at the end", "Stream-Expires-At", in(900 * time.Millisecond), "no-store", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, cfg)
			w.must(t, "PUT", "a", "x", c.header, c.value)
			w.call(t, "GET", "a", "", c.request...).header(t, "Cache-Control", c.want)
		})
	}
}

func TestGet_etag(t *testing.T) {
	w := newWorld(t, server.Config{MaxChunkSize: 4})
	w.must(t, "PUT", "a", "0123456", "Content-Type", text)
	tags := map[string]string{}
	get := func(target string, headers ...string) response { return w.call(t, "GET", target, "", headers...) }
	note := func(what, target string) string {
		t.Helper()
		tag := get(target).Header.Get("ETag")
		if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			t.Errorf("%s: ETag %q", what, tag)
		}
		for other, theirs := range tags {
			if tag == theirs {
				t.Errorf("%s and %s have the same ETag %s", what, other, tag)
			}
		}
		tags[what] = tag
		return tag
	}
	first := note("first chunk", "a")
	tail := note("tail chunk", "a?offset="+at("4"))
	empty := note("empty", "a?offset="+at("7"))

	for _, c := range []struct {
		target, tag string
		headers     []string
		want        []string
	}{
		{"a", first, nil, h("Cache-Control", cached, "Stream-Next-Offset", at("4"), "Stream-Up-To-Date", "")},
		{"a?offset=-1", "W/" + first, nil, h("Cache-Control", cached)},
		{"a", `"x", ` + first, h("Authorization", "x"), h("Cache-Control", "private, max-age=60, stale-while-revalidate=300")},
		{"a?offset=" + at("4"), tail, nil, h("Stream-Next-Offset", at("7"), "Stream-Up-To-Date", "true", "Stream-Closed", "")},
		{"a?offset=" + at("7"), empty, nil, h("Cache-Control", "no-store", "Stream-Up-To-Date", "true")},
	} {
		got := get(c.target, append(h("If-None-Match", c.tag), c.headers...)...)
		if got.StatusCode != http.StatusNotModified {
			t.Errorf("%s with %s: status %d", c.target, c.tag, got.StatusCode)
		}
		got.header(t, append(c.want, "Content-Type", "", "Content-Length", "")...)
		if tag := got.Header.Get("ETag"); !strings.Contains(c.tag, tag) {
			t.Errorf("304 has the ETag %s", tag)
		}
	}
	if got := get("a", "If-None-Match", tail); got.StatusCode != 200 {
		t.Errorf("another chunk's tag: status %d", got.StatusCode)
	}

	w.must(t, "POST", "a", "", "Stream-Closed", "true")
	if got := get("a?offset="+at("7"), "If-None-Match", empty); got.StatusCode != 200 {
		t.Errorf("the end of a closed stream is hidden by status %d", got.StatusCode)
	}
	closed := note("closed tail chunk", "a?offset="+at("4"))
	got := get("a?offset="+at("4"), "If-None-Match", closed)
	got.header(t, "Stream-Closed", "true", "ETag", closed)

	w.must(t, "DELETE", "a", "")
	w.must(t, "PUT", "a", "0123456", "Content-Type", text)
	note("first chunk of the next stream", "a")
}

func TestHead(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	run(t, server.Config{Now: func() time.Time { return now }}, []scenario{
		{"§5.5: open", []step{
			{method: "PUT", target: "a", headers: h("Content-Type", text), body: "abc", status: 201},
			{method: "HEAD", target: "a", status: 200, want: h("Content-Type", text, "Stream-Next-Offset", at("3"), "Cache-Control", "no-store", "Stream-Closed", "", "Stream-TTL", "", "Stream-Expires-At", "", "Stream-Up-To-Date", "")},
		}},
		{"§5.5: closed", []step{
			{method: "PUT", target: "a", headers: h("Stream-Closed", "true"), status: 201},
			{method: "HEAD", target: "a", status: 200, want: h("Stream-Closed", "true")},
		}},
		{"§5.5: TTL", []step{
			{method: "PUT", target: "a", headers: h("Stream-TTL", "3600"), status: 201},
			{method: "HEAD", target: "a", status: 200, want: h("Stream-TTL", "3600", "Stream-Expires-At", "")},
		}},
		{"§5.5: expiry", []step{
			{method: "PUT", target: "a", headers: h("Stream-Expires-At", "2031-01-01T02:00:00+02:00"), status: 201},
			{method: "HEAD", target: "a", status: 200, want: h("Stream-Expires-At", "2031-01-01T00:00:00Z", "Stream-TTL", "")},
		}},
		{"§5.5: expiry within a second", []step{
			{method: "PUT", target: "a", headers: h("Stream-Expires-At", "2031-01-01T00:00:00.250Z"), status: 201},
			{method: "HEAD", target: "a", status: 200, want: h("Stream-Expires-At", "2031-01-01T00:00:00.25Z")},
		}},
		{"§5.5: none", []step{{method: "HEAD", target: "a", status: 404, want: h("Cache-Control", "no-store")}}},
	})
}
