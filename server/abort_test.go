package server_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

var errDisk = &store.CorruptionError{File: "/secret/place", Offset: 7, Reason: "checksum"}

// failingBody gives some bytes and then fails.
type failingBody struct {
	good   string
	closed *atomic.Int64
}

func (b failingBody) WriteTo(w io.Writer, _, _ int64) error {
	if b.good != "" {
		if _, err := io.WriteString(w, b.good); err != nil {
			return err
		}
	}
	return errDisk
}

func (b failingBody) Close() error { b.closed.Add(1); return nil }

func failing(good string, contentType string, closed *atomic.Int64) chunkStore {
	return chunkStore{
		info: store.Info{ID: 1, ContentType: contentType, Tail: 100_000},
		body: func() store.Body { return failingBody{good, closed} },
	}
}

// TestRead_failsBeforeTheFirstByte: the client gets a whole answer, and none of
// the headers that were meant for the data.
func TestRead_failsBeforeTheFirstByte(t *testing.T) {
	for _, contentType := range []string{octets, jsonType} {
		for _, query := range []string{"", "&live=long-poll", "&live=sse"} {
			var reported error
			var closed atomic.Int64
			w := newWorldOn(t, failing("", contentType, &closed), server.Config{Report: func(_ *http.Request, err error) { reported = err }})
			got := w.call(t, "GET", "a?offset=-1"+query, "")
			if got.StatusCode != 500 || got.body != "Internal Server Error\n" {
				t.Errorf("%s%s: status %d, body %q", contentType, query, got.StatusCode, got.body)
			}
			got.header(t, "Content-Length", "", "ETag", "", "Stream-Next-Offset", "", "Stream-Cursor", "", "Stream-Up-To-Date", "",
				"Stream-SSE-Data-Encoding", "", "X-Accel-Buffering", "", "Cache-Control", "no-store", "Content-Type", "text/plain; charset=utf-8")
			if !errors.Is(reported, store.ErrCorrupt) {
				t.Errorf("reported %v", reported)
			}
			if closed.Load() != 1 {
				t.Errorf("the chunk was closed %d times", closed.Load())
			}
		}
	}
}

// TestRead_failsAfterTheFirstByte: the client must notice that it does not have
// everything.
func TestRead_failsAfterTheFirstByte(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, query := range []string{"", "&live=long-poll"} {
			reported := make(chan error, 1)
			var closed atomic.Int64
			handler := server.New(failing(strings.Repeat("x", 5000), octets, &closed), server.Config{Report: func(_ *http.Request, err error) { reported <- err }})
			srv := httptest.NewUnstartedServer(handler.HTTPHandler())
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			resp, err := srv.Client().Get(srv.URL + base + "a?offset=-1" + query)
			if err == nil {
				var body []byte
				body, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if len(body) > 5000 || strings.Contains(string(body), "secret") {
					t.Errorf("%d bytes arrived", len(body))
				}
			}
			if err == nil {
				t.Errorf("HTTP/2 %v%s: the client takes a part for the whole", http2, query)
			}
			if err := <-reported; !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("reported %v", err)
			}
			srv.Close() // waits for the handler
			if closed.Load() != 1 || handler.Stats().Failures != 1 {
				t.Errorf("closed %d times, %d failures", closed.Load(), handler.Stats().Failures)
			}
		}
	}
}
