package durablestreams_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestHandler_routing checks that a stream is the same wherever a site puts the
// directive.
func TestHandler_routing(t *testing.T) {
	const options = "durable_streams {\n\t\tlong_poll_timeout 10m\n\t}\n"
	for _, test := range []struct{ name, global, site, base string }{
		{"alone", "", options, "/v1/stream"},
		{"with a matcher", "", "durable_streams /v1/stream/* {\n\t}\nrespond else", "/v1/stream"},
		{"route", "", "route {\n\t" + options + "}", "/v1/stream"},
		{"route with a matcher", "", "route /v1/stream/* {\n\t" + options + "}\nrespond else", "/v1/stream"},
		{"handle", "", "handle /v1/stream/* {\n\t" + options + "}\nhandle {\n\trespond else\n}", "/v1/stream"},
		{"handle_path", "", "handle_path /streams/* {\n\t" + options + "}", "/streams"},
		{"stripped to the base path", "", "handle_path /api/* {\n\t" + options + "}", "/api/v1/stream"},
		{"handle_path to the root", "", "handle_path /streams/* {\n\tdurable_streams {\n\t\tbase_path /\n\t}\n}", "/streams"},
		{"base_path", "", "durable_streams {\n\t\tbase_path /s/\n\t}", "/s"},
		{"base_path /", "", "durable_streams {\n\t\tbase_path /\n\t}", ""},
		{"order", "order durable_streams before file_server", options, "/v1/stream"},
		{"log, encode, metrics, header, tracing", "metrics", "log\nencode\nheader X-Site yes\ntracing\n" + options, "/v1/stream"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newInstance(t)
			c.global = test.global
			c.load(test.site)
			testStream(t, c.url(test.base+"/room/"+name()))
		})
	}
}

func pathOf(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.EscapedPath()
}

// TestHandler_onePath checks that the sites which docs/configuration.md recommends
// where access depends on the path give a stream one path only.
func TestHandler_onePath(t *testing.T) {
	for _, test := range []struct{ site, base, other string }{
		{"durable_streams /v1/stream/* {\n\t}\nrespond 404", "/v1/stream", ""},
		{"handle_path /streams/* {\n\tdurable_streams {\n\t\tbase_path /\n\t}\n}\nrespond 404", "/streams", "/streams/v1/stream"},
	} {
		c := newInstance(t)
		c.load(test.site)
		stream := "/" + name()
		status(t, http.StatusCreated, "PUT", c.url(test.base+stream), "one")
		status(t, http.StatusNotFound, "GET", c.url(test.other+stream), "")
	}
	c := newInstance(t)
	c.load("durable_streams")
	stream := "/" + name()
	status(t, http.StatusCreated, "PUT", c.url("/v1/stream"+stream), "one")
	status(t, http.StatusBadRequest, "GET", c.url(stream), "")
}

// testStream takes a stream through its life.
func testStream(t *testing.T, url string) {
	t.Helper()
	if got := status(t, http.StatusCreated, "PUT", url, "one").Header.Get("Location"); got != url {
		t.Errorf("Location is %q, want %q", got, url)
	}
	next := status(t, http.StatusNoContent, "POST", url, "two").Header.Get("Stream-Next-Offset")
	read := status(t, http.StatusOK, "GET", url, "")
	if read.body != "onetwo" || read.Header.Get("Stream-Next-Offset") != next {
		t.Errorf("read %q up to %s, want onetwo up to %s", read.body, read.Header.Get("Stream-Next-Offset"), next)
	}
	if got := status(t, http.StatusOK, "HEAD", url, "").Header.Get("Stream-Next-Offset"); got != next {
		t.Errorf("HEAD has offset %s, want %s", got, next)
	}

	fork := status(t, http.StatusCreated, "PUT", url+"-fork", "three", "Stream-Forked-From: "+pathOf(t, url))
	if got := status(t, http.StatusOK, "GET", fork.Header.Get("Location"), "").body; got != "onetwothree" {
		t.Errorf("the fork has %q, want onetwothree", got)
	}
	status(t, http.StatusNoContent, "DELETE", url+"-fork", "")

	// The SSE reader has the first event only after it watches the stream, and its
	// control event tells the position at which the long-poll begins.
	sse := open(t, http.DefaultClient, "GET", url+"?offset=-1&live=sse", "", nil)
	defer sse.Body.Close()
	live := events(sse)
	for _, want := range []string{"data", "control"} {
		if e, _ := within(t, "first events", live); e.name != want {
			t.Fatalf("event %+v, want a %s event", e, want)
		}
	}
	polled := make(chan answer, 1)
	go func() {
		polled <- send(t, http.DefaultClient, "GET", url+"?live=long-poll&offset="+next, "", nil)
	}()
	status(t, http.StatusNoContent, "POST", url, "three", "Stream-Closed: true")
	if got, _ := within(t, "long-poll", polled); got.body != "three" {
		t.Errorf("long-poll got status %d and %q, want three", got.StatusCode, got.body)
	}
	all := drain(t, "events after the close", live)
	if len(all) < 2 || all[0].data != "three" || !strings.Contains(all[len(all)-1].data, `"streamClosed":true`) {
		t.Errorf("events after the close: %+v, want three and a control event that closes the stream", all)
	}
	status(t, http.StatusConflict, "POST", url, "four")
	status(t, http.StatusNoContent, "DELETE", url, "")
	status(t, http.StatusNotFound, "GET", url, "")
}

func TestHandler_elseIsUntouched(t *testing.T) {
	c := start(t, "durable_streams /v1/stream/*\nrespond \"something else\"")
	if got := status(t, http.StatusOK, "GET", c.url("/other"), "").body; got != "something else" {
		t.Errorf("another path got %q", got)
	}
	status(t, http.StatusNotFound, "GET", c.url("/v1/stream/"+name()), "")
}

func TestHandler_encode(t *testing.T) {
	c := start(t, "encode gzip\ndurable_streams")
	url := c.url("/v1/stream/" + name())
	text := strings.Repeat("compressible ", 1000)
	status(t, http.StatusCreated, "PUT", url, text)
	plain := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer plain.CloseIdleConnections()
	if got := send(t, plain, "GET", url, "", header{"Accept-Encoding: gzip"}); got.Header.Get("Content-Encoding") != "gzip" || len(got.body) >= len(text) {
		t.Errorf("catch-up has Content-Encoding %q and %d bytes", got.Header.Get("Content-Encoding"), len(got.body))
	}
	if got := send(t, http.DefaultClient, "GET", url, "", nil); got.body != text {
		t.Error("catch-up does not decompress to what was appended")
	}
	sse := open(t, plain, "GET", url+"?offset=-1&live=sse", "", header{"Accept-Encoding: gzip"})
	defer sse.Body.Close()
	if got := sse.Header.Get("Content-Encoding"); got != "" {
		t.Errorf("SSE has Content-Encoding %q", got)
	}
	if e, _ := within(t, "first event", events(sse)); e.data != text {
		t.Errorf("the first event has %d bytes, want %d", len(e.data), len(text))
	}
}

func TestHandler_forwardAuth(t *testing.T) {
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer auth.Close()
	c := start(t, "forward_auth "+auth.Listener.Addr().String()+" {\n\turi /auth\n}\ndurable_streams")
	url := c.url("/v1/stream/" + name())
	status(t, http.StatusUnauthorized, "PUT", url, "one")
	status(t, http.StatusCreated, "PUT", url, "one", "Authorization: Bearer good")
	if got := status(t, http.StatusOK, "GET", url+"?offset=-1&live=long-poll", "", "Authorization: Bearer good").body; got != "one" {
		t.Errorf("an authorized reader got %q", got)
	}
	status(t, http.StatusUnauthorized, "GET", url, "", "Authorization: Bearer bad")
}

func TestHandler_twoBlocksShareAStore(t *testing.T) {
	c := start(t, "durable_streams /v1/stream/*\nhandle_path /s/* {\n\tdurable_streams\n}\n"+
		"handle_path /other/* {\n\tdurable_streams {\n\t\tstorage memory {\n\t\t\tname other\n\t\t}\n\t}\n}")
	stream := name()
	status(t, http.StatusCreated, "PUT", c.url("/v1/stream/"+stream), "shared")
	if got := status(t, http.StatusOK, "GET", c.url("/s/"+stream), "").body; got != "shared" {
		t.Errorf("through the other block: %q", got)
	}
	status(t, http.StatusNotFound, "GET", c.url("/other/"+stream), "")
}

func TestHandler_locationBehindProxies(t *testing.T) {
	forwarded := []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: streams.example.com"}
	for _, test := range []struct {
		name, global string
		lines        []string
		want         string // "" for what the client asked for
	}{
		{"nobody is trusted", "", forwarded, ""},
		{"another is trusted", "servers {\n\ttrusted_proxies static 192.0.2.0/24\n}", forwarded, ""},
		{"trusted", "servers {\n\ttrusted_proxies static 127.0.0.0/8\n}", forwarded, "https://streams.example.com"},
		{"trusted, no headers", "servers {\n\ttrusted_proxies static 127.0.0.0/8\n}", nil, ""},
		{
			"trusted, a chain", "servers {\n\ttrusted_proxies static 127.0.0.0/8\n}",
			[]string{"X-Forwarded-Proto: https, http", "X-Forwarded-Host: a.example, b.example"},
			"https://a.example",
		},
		{
			"trusted, nonsense", "servers {\n\ttrusted_proxies static 127.0.0.0/8\n}",
			[]string{"X-Forwarded-Proto: javascript", "X-Forwarded-Host: evil/path?"},
			"",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newInstance(t)
			c.global = test.global
			c.load("handle_path /api/* {\n\tdurable_streams\n}")
			path := "/api/a%20" + name()
			url, want := c.url(path), test.want+path
			if test.want == "" {
				want = url
			}
			if got := status(t, http.StatusCreated, "PUT", url+"?x=y", "", test.lines...).Header.Get("Location"); got != want {
				t.Errorf("Location is %q, want %q", got, want)
			}
		})
	}
}
