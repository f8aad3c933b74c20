package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// sseClient is a client in the same process that reads what is flushed.
type sseClient struct {
	*eventReader
	w      *pipeWriter
	cancel context.CancelFunc
	done   chan struct{}
	panics any
}

// pipeWriter is a response whose body a client reads as it is flushed.
type pipeWriter struct {
	*httptest.ResponseRecorder
	pipe    *io.PipeWriter
	flushes int
	writes  int
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.ResponseRecorder.Write(p)
}

func (w *pipeWriter) Flush() {
	w.flushes++
	w.ResponseRecorder.Flush()
	if _, err := w.Body.WriteTo(w.pipe); err != nil {
		panic(err)
	}
}

// follow begins an SSE request.
func (w *world) follow(t *testing.T, target string) *sseClient {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, pipe := io.Pipe()
	c := &sseClient{
		eventReader: newEventReader(r), cancel: cancel, done: make(chan struct{}),
		w: &pipeWriter{ResponseRecorder: httptest.NewRecorder(), pipe: pipe},
	}
	go func() {
		defer close(c.done)
		defer pipe.Close()
		defer func() { c.panics = recover() }()
		w.http.ServeHTTP(c.w, newRequest("GET", target+"&live=sse", "").WithContext(ctx))
	}()
	t.Cleanup(func() {
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		<-c.done
	})
	return c
}

func TestSSE(t *testing.T) {
	cfg := server.Config{SSEHeartbeat: 15 * time.Second, SSEReconnectInterval: time.Minute}
	for _, c := range []struct {
		name string
		test func(t *testing.T, w *world)
	}{
		{"§5.8: headers", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=-1")
			c.expect(t, "data", "old")
			synctest.Wait()
			got := response{Response: c.w.Result()}
			got.header(t, "Content-Type", "text/event-stream", "Cache-Control", "no-cache, no-store, no-transform", "X-Accel-Buffering", "no",
				"Content-Length", "", "ETag", "", "Stream-SSE-Data-Encoding", "", "X-Content-Type-Options", "nosniff", "Access-Control-Allow-Origin", "*")
			w.must(t, "PUT", "b", "\x00\xff", "Content-Type", "image/png")
			c = w.follow(t, "b?offset=-1")
			c.expect(t, "data", "AP8=")
			synctest.Wait()
			response{Response: c.w.Result()}.header(t, "Stream-SSE-Data-Encoding", "base64")
			c.control(t)
		}},
		{"§5.8: data, then what comes", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=-1")
			c.expect(t, "data", "old")
			if got, want := c.control(t), (control{at("3"), cursorAt(clock()), true, false}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			for i, body := range []string{"one", "two"} {
				w.must(t, "POST", "a", body, "Content-Type", text)
				c.expect(t, "data", body)
				if got := c.control(t); got.StreamNextOffset != at(string("69"[i])) || !got.UpToDate {
					t.Errorf("%+v", got)
				}
			}
			synctest.Wait()
			if c.w.writes != 3 || c.w.flushes != 3 {
				t.Errorf("%d writes and %d flushes for three changes", c.w.writes, c.w.flushes)
			}
			if s := w.handler.Stats(); s.SSEReaders != 1 || s.SSEEvents != 3 || s.ReadBytes != 9 {
				t.Errorf("%+v", s)
			}
			c.cancel()
			<-c.done
			if s := w.handler.Stats(); s.SSEReaders != 0 || s.Failures != 0 {
				t.Errorf("%+v", s)
			}
		}},
		{"§5.8: nothing at first", func(t *testing.T, w *world) {
			for _, contentType := range []string{text, jsonType, octets} {
				w.must(t, "PUT", contentType, "", "Content-Type", contentType)
				c := w.follow(t, contentType+"?offset=-1")
				if got, want := c.control(t), (control{at("0"), cursorAt(clock()), true, false}); got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
			}
		}},
		{"§8: offset=now", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=now")
			if got := c.control(t); got.StreamNextOffset != at("3") || !got.UpToDate {
				t.Errorf("%+v", got)
			}
			w.must(t, "POST", "a", "new", "Content-Type", text)
			c.expect(t, "data", "new")
		}},
		{"§8: offset=now on a closed stream", func(t *testing.T, w *world) {
			w.must(t, "POST", "a", "", "Stream-Closed", "true")
			c := w.follow(t, "a?offset=now")
			if got, want := c.control(t), (control{at("3"), "", true, true}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			c.end(t)
		}},
		{"§5.8: closed before", func(t *testing.T, w *world) {
			w.must(t, "POST", "a", "", "Stream-Closed", "true")
			c := w.follow(t, "a?offset=-1")
			c.expect(t, "data", "old")
			if got, want := c.control(t), (control{at("3"), "", true, true}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			c.end(t)
		}},
		{"§5.8: closed without data", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=now")
			c.control(t)
			w.must(t, "POST", "a", "", "Stream-Closed", "true")
			if got := c.control(t); !got.StreamClosed || got.StreamNextOffset != at("3") {
				t.Errorf("%+v", got)
			}
			c.end(t)
		}},
		{"§5.8: the last data comes before the end", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=now")
			c.control(t)
			w.must(t, "POST", "a", "end", "Content-Type", text, "Stream-Closed", "true")
			c.expect(t, "data", "end")
			if got := c.control(t); !got.StreamClosed || got.StreamNextOffset != at("6") {
				t.Errorf("%+v", got)
			}
			c.end(t)
		}},
		{"§5.8: JSON", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", `[{"k":"v"},[2]]`, "Content-Type", jsonType)
			c := w.follow(t, "b?offset=-1")
			c.expect(t, "data", "[\n{\"k\":\"v\"},\n[2]\n]")
			c.control(t)
		}},
		{"§5.8: in pieces", func(t *testing.T, w *world) {
			body := strings.Repeat("x", 200<<10)
			w.must(t, "PUT", "b", body, "Content-Type", text, "Stream-Closed", "true")
			c := w.follow(t, "b?offset=-1")
			var got strings.Builder
			for {
				event, err := c.next()
				if err != nil || event.kind != "data" {
					t.Fatal(event.kind, err)
				}
				got.WriteString(event.data)
				if len(event.data) > 64<<10 {
					t.Errorf("an event with %d bytes", len(event.data))
				}
				end := c.control(t)
				if last := got.Len() == len(body); end.UpToDate != last || end.StreamClosed != last || (end.StreamCursor == "") != last {
					t.Errorf("%+v after %d bytes", end, got.Len())
				}
				if end.StreamClosed {
					break
				}
			}
			c.end(t)
			if got.String() != body {
				t.Error("other bytes")
			}
		}},
		{"§5.8: a character in two appends", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=now")
			c.control(t)
			w.must(t, "POST", "a", "x\xe2\x82", "Content-Type", text)
			c.expect(t, "data", "x")
			if got := c.control(t); got.StreamNextOffset != at("4") || got.UpToDate {
				t.Errorf("%+v", got)
			}
			w.must(t, "POST", "a", "\xacy", "Content-Type", text)
			c.expect(t, "data", "€y")
			if got := c.control(t); got.StreamNextOffset != at("8") || !got.UpToDate {
				t.Errorf("%+v", got)
			}
			w.must(t, "POST", "a", "\xe2", "Content-Type", text)
			if got := c.control(t); got.StreamNextOffset != at("8") || got.UpToDate {
				t.Errorf("%+v", got)
			}
			w.must(t, "POST", "a", "", "Stream-Closed", "true")
			c.expect(t, "data", "\xe2")
			if got := c.control(t); got.StreamNextOffset != at("9") || !got.StreamClosed {
				t.Errorf("%+v", got)
			}
			c.end(t)
		}},
		{"§10.1: the cursor never goes back", func(t *testing.T, w *world) {
			ahead := cursorAt(clock().Add(2 * time.Minute))
			c := w.follow(t, "a?offset=-1&cursor="+ahead)
			c.expect(t, "data", "old")
			last := c.control(t).StreamCursor
			if last <= ahead {
				t.Errorf("cursor %s after %s", last, ahead)
			}
			for range 3 {
				w.must(t, "POST", "a", "x", "Content-Type", text)
				c.expect(t, "data", "x")
				if now := c.control(t).StreamCursor; now < last {
					t.Errorf("cursor %s after %s", now, last)
				}
			}
			c = w.follow(t, "a?offset=now")
			first := c.control(t).StreamCursor
			time.Sleep(50 * time.Second)
			w.must(t, "POST", "a", "x", "Content-Type", text)
			c.expect(t, "data", "x")
			if now := c.control(t).StreamCursor; now != cursorAt(clock()) || now <= first {
				t.Errorf("cursor %s after %s", now, first)
			}
		}},
		{"heartbeat and interval", func(t *testing.T, w *world) {
			begin := time.Now()
			c := w.follow(t, "a?offset=now")
			c.control(t)
			time.Sleep(10 * time.Second)
			w.must(t, "POST", "a", "x", "Content-Type", text)
			c.expect(t, "data", "x")
			c.control(t)
			c.end(t)
			if took := time.Since(begin); took != time.Minute {
				t.Errorf("ended after %s", took)
			}
			if c.comments != 3 { // at 25, 40 and 55 s
				t.Errorf("%d heartbeats", c.comments)
			}
		}},
		{"§10.2: the interval ends a backlog too", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", strings.Repeat("x", 1<<20), "Content-Type", text)
			c := w.follow(t, "b?offset=-1")
			var n int
			for ; ; n++ {
				event, err := c.next()
				if err == io.EOF {
					break
				}
				if err != nil || event.kind != "data" {
					t.Fatal(event.kind, err)
				}
				c.control(t)
				time.Sleep(10 * time.Second)
			}
			if n < 5 || n > 8 {
				t.Errorf("%d events in a minute", n)
			}
		}},
		{"§5.4: the stream is deleted", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=now")
			c.control(t)
			w.must(t, "DELETE", "a", "")
			c.end(t)
		}},
		{"§5.1: the stream comes to its end", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", "", "Stream-Expires-At", clock().Add(5*time.Second).Format(time.RFC3339Nano))
			begin := time.Now()
			c := w.follow(t, "b?offset=-1")
			c.control(t)
			c.end(t)
			if took := time.Since(begin); took > 6*time.Second {
				t.Errorf("ended after %s", took)
			}
		}},
		{"§5.1: a followed stream does not expire", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", "", "Content-Type", text, "Stream-TTL", "5")
			c := w.follow(t, "b?offset=-1")
			c.control(t)
			time.Sleep(30 * time.Second)
			w.must(t, "POST", "b", "x", "Content-Type", text)
			c.expect(t, "data", "x")
		}},
		{"readers end", func(t *testing.T, w *world) {
			c := w.follow(t, "a?offset=-1")
			c.expect(t, "data", "old")
			want := c.control(t)
			synctest.Wait()
			w.handler.EndReaders()
			w.handler.EndReaders()
			if got := c.control(t); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			c.end(t)
			c = w.follow(t, "a?offset=-1")
			c.expect(t, "data", "old")
			c.control(t)
			c.control(t)
			c.end(t)
		}},
		{"the store closes", func(t *testing.T, w *world) {
			gate := &closingStore{Store: w.store}
			other := newWorldOn(t, gate, server.Config{})
			c := other.follow(t, "a?offset=now")
			c.control(t)
			synctest.Wait()
			gate.err.Store(&store.ErrClosed)
			w.must(t, "POST", "a", "x", "Content-Type", text)
			c.end(t)
			<-c.done
			if c.panics != nil || other.handler.Stats().Failures != 0 {
				t.Errorf("%v, %+v", c.panics, other.handler.Stats())
			}
		}},
		{"the store fails", func(t *testing.T, w *world) {
			gate := &closingStore{Store: w.store}
			var reported error
			other := newWorldOn(t, gate, server.Config{Report: func(_ *http.Request, err error) { reported = err }})
			c := other.follow(t, "a?offset=now")
			c.control(t)
			synctest.Wait()
			gate.err.Store(&store.ErrCorrupt)
			w.must(t, "POST", "a", "x", "Content-Type", text)
			<-c.done
			if c.panics != http.ErrAbortHandler || reported != store.ErrCorrupt || other.handler.Stats().Failures != 1 {
				t.Errorf("%v, %v", c.panics, reported)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, cfg)
				w.must(t, "PUT", "a", "old", "Content-Type", text)
				c.test(t, w)
			})
		})
	}
}
