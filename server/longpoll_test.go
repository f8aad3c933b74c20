package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

// pending is a request that may wait.
type pending struct {
	done   chan struct{}
	got    response
	cancel context.CancelFunc
	took   time.Duration
}

// start begins a request and waits until it waits, or is answered.
func (w *world) start(t *testing.T, target string, headers ...string) *pending {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &pending{done: make(chan struct{}), cancel: cancel}
	r := newRequest("GET", target, "", headers...).WithContext(ctx)
	go func() {
		defer close(p.done)
		begin := time.Now()
		rec := httptest.NewRecorder()
		w.http.ServeHTTP(rec, r)
		p.took = time.Since(begin)
		p.got = checkResponse(t, "GET", rec.Result())
	}()
	synctest.Wait()
	return p
}

func (p *pending) answered() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// answer waits for the answer and checks its status.
func (p *pending) answer(t *testing.T, status int, headers ...string) response {
	t.Helper()
	<-p.done
	if p.got.StatusCode != status {
		t.Fatalf("status %d (%s), want %d", p.got.StatusCode, p.got.body, status)
	}
	p.got.header(t, headers...)
	return p.got
}

// cursorAt is the default cursor at a time (§10.1).
func cursorAt(at time.Time) string { return protocol.Cursor("", at, nil) }

func TestLongPoll(t *testing.T) {
	const timeout = 10 * time.Second
	for _, c := range []struct {
		name string
		test func(t *testing.T, w *world)
	}{
		{"§5.7: data is there", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset=-1&live=long-poll")
			got := p.answer(t, 200, "Content-Type", text, "Stream-Next-Offset", at("3"), "Stream-Up-To-Date", "true", "Stream-Closed", "",
				"Stream-Cursor", cursorAt(clock()), "Cache-Control", cached)
			if got.body != "old" || got.Header.Get("ETag") == "" || p.took != 0 {
				t.Errorf("%q after %s", got.body, p.took)
			}
			w.start(t, "a?offset=-1&live=long-poll", "If-None-Match", got.Header.Get("ETag")).
				answer(t, 304, "Stream-Cursor", cursorAt(clock()), "Stream-Next-Offset", at("3"))
		}},
		{"§5.7: data comes", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset="+at("3")+"&live=long-poll")
			time.Sleep(timeout / 2)
			synctest.Wait()
			if p.answered() {
				t.Fatal("answered too soon")
			}
			if s := w.handler.Stats(); s.LongPollReaders != 1 || s.LongPollWaits != 1 {
				t.Errorf("%+v", s)
			}
			w.must(t, "POST", "a", "new", "Content-Type", text)
			got := p.answer(t, 200, "Stream-Next-Offset", at("6"), "Stream-Up-To-Date", "true", "Cache-Control", cached, "Stream-Cursor", cursorAt(clock()))
			if got.body != "new" || p.took != timeout/2 {
				t.Errorf("%q after %s", got.body, p.took)
			}
			if s := w.handler.Stats(); s.LongPollReaders != 0 || s.ReadBytes != 3 {
				t.Errorf("%+v", s)
			}
		}},
		{"§5.7: nothing comes", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset="+at("3")+"&live=long-poll")
			time.Sleep(timeout)
			p.answer(t, 204, "Stream-Next-Offset", at("3"), "Stream-Up-To-Date", "true", "Stream-Cursor", cursorAt(clock()),
				"Stream-Closed", "", "Cache-Control", "no-store", "ETag", "", "Content-Type", "")
			if p.took != timeout {
				t.Errorf("after %s", p.took)
			}
		}},
		{"§5.7: the stream is closed at once", func(t *testing.T, w *world) {
			w.must(t, "POST", "a", "", "Stream-Closed", "true")
			p := w.start(t, "a?offset="+at("3")+"&live=long-poll")
			p.answer(t, 204, "Stream-Next-Offset", at("3"), "Stream-Up-To-Date", "true", "Stream-Closed", "true", "Cache-Control", "no-store")
			if p.took != 0 {
				t.Errorf("after %s", p.took)
			}
			w.start(t, "a?offset=-1&live=long-poll").answer(t, 200, "Stream-Closed", "true", "Stream-Up-To-Date", "true")
		}},
		{"§5.7: the stream closes", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset="+at("3")+"&live=long-poll")
			w.must(t, "POST", "a", "", "Stream-Closed", "true")
			p.answer(t, 204, "Stream-Next-Offset", at("3"), "Stream-Closed", "true", "Stream-Up-To-Date", "true")
		}},
		{"§5.7: the stream closes with data", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset="+at("3")+"&live=long-poll")
			w.must(t, "POST", "a", "end", "Content-Type", text, "Stream-Closed", "true")
			if got := p.answer(t, 200, "Stream-Next-Offset", at("6"), "Stream-Closed", "true", "Stream-Up-To-Date", "true"); got.body != "end" {
				t.Error(got.body)
			}
		}},
		{"§8: offset=now waits at the tail", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset=now&live=long-poll")
			if p.answered() {
				t.Fatal("answered at once")
			}
			w.must(t, "POST", "a", "new", "Content-Type", text)
			got := p.answer(t, 200, "Stream-Next-Offset", at("6"), "Stream-Up-To-Date", "true", "ETag", "", "Cache-Control", "no-store")
			if got.body != "new" {
				t.Error(got.body)
			}
		}},
		{"§8: offset=now, nothing comes", func(t *testing.T, w *world) {
			w.start(t, "a?offset=now&live=long-poll").answer(t, 204, "Stream-Next-Offset", at("3"), "Stream-Up-To-Date", "true")
		}},
		{"§8: offset=now on a closed stream", func(t *testing.T, w *world) {
			w.must(t, "POST", "a", "", "Stream-Closed", "true")
			w.start(t, "a?offset=now&live=long-poll").answer(t, 204, "Stream-Next-Offset", at("3"), "Stream-Up-To-Date", "true", "Stream-Closed", "true")
		}},
		{"§10.1: the cursor goes on", func(t *testing.T, w *world) {
			now := cursorAt(clock())
			got := w.start(t, "a?offset=-1&live=long-poll&cursor="+now).answer(t, 200)
			client, _ := strconv.Atoi(now)
			if next, err := strconv.Atoi(got.Header.Get("Stream-Cursor")); err != nil || next <= client {
				t.Errorf("cursor %s after %s", got.Header.Get("Stream-Cursor"), now)
			}
			w.start(t, "a?offset=-1&live=long-poll&cursor=12").answer(t, 200, "Stream-Cursor", now)
			w.start(t, "a?offset=-1&live=long-poll&cursor=abc").answer(t, 200, "Stream-Cursor", now)
		}},
		{"§4.2: appends to a fork's source do not count", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", "", "Stream-Forked-From", "/v1/stream/a")
			p := w.start(t, "b?offset="+at("3")+"&live=long-poll")
			w.must(t, "POST", "a", "x", "Content-Type", text)
			synctest.Wait()
			if p.answered() {
				t.Fatal("woken by the source")
			}
			w.must(t, "POST", "b", "y", "Content-Type", text)
			if got := p.answer(t, 200); got.body != "y" {
				t.Error(got.body)
			}
			if got := w.start(t, "b?offset=-1&live=long-poll").answer(t, 200); got.body != "oldy" {
				t.Error(got.body)
			}
		}},
		{"§5.4: the stream is deleted", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset="+at("3")+"&live=long-poll")
			w.must(t, "DELETE", "a", "")
			p.answer(t, 404, "Stream-Next-Offset", "")
		}},
		{"§4.2: the stream is deleted softly", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", "", "Stream-Forked-From", "/v1/stream/a")
			p := w.start(t, "a?offset="+at("3")+"&live=long-poll")
			w.must(t, "DELETE", "a", "")
			p.answer(t, 410)
		}},
		{"§5.1: the stream comes to its end", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", "", "Stream-Expires-At", clock().Add(timeout/2).Format(time.RFC3339Nano))
			p := w.start(t, "b?offset=-1&live=long-poll")
			p.answer(t, 404)
			if p.took < timeout/2 || p.took > timeout/2+time.Second {
				t.Errorf("after %s", p.took)
			}
		}},
		{"§5.1: a stream with a waiting reader does not expire", func(t *testing.T, w *world) {
			w.must(t, "PUT", "b", "", "Stream-TTL", "3")
			w.start(t, "b?offset=-1&live=long-poll").answer(t, 204)
			time.Sleep(2 * time.Second)
			w.start(t, "b?offset=-1&live=long-poll").answer(t, 204)
		}},
		{"the client leaves", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset=now&live=long-poll")
			p.cancel()
			p.answer(t, 499)
			if s := w.handler.Stats(); s.LongPollReaders != 0 || s.Failures != 0 {
				t.Errorf("%+v", s)
			}
		}},
		{"readers end", func(t *testing.T, w *world) {
			p := w.start(t, "a?offset=now&live=long-poll")
			for range 3 {
				go w.handler.EndReaders()
			}
			p.answer(t, 204, "Stream-Next-Offset", at("3"), "Stream-Up-To-Date", "true", "Stream-Cursor", cursorAt(clock()))
			late := w.start(t, "a?offset=now&live=long-poll")
			late.answer(t, 204, "Stream-Next-Offset", at("3"))
			w.start(t, "a?offset=-1&live=long-poll").answer(t, 200)
			if p.took+late.took != 0 {
				t.Errorf("after %s and %s", p.took, late.took)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, server.Config{LongPollTimeout: timeout})
				w.must(t, "PUT", "a", "old", "Content-Type", text)
				c.test(t, w)
			})
		})
	}
}

// TestLongPoll_recreated: positions of a deleted stream mean nothing in the next
// one of its name, even if nobody noticed that there was none in between.
func TestLongPoll_recreated(t *testing.T) {
	for _, live := range []string{"long-poll", "sse"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, server.Config{})
			w.must(t, "PUT", "a", "old", "Content-Type", text)
			gate := &gatedStore{Store: w.store, open: make(chan struct{})}
			slow := newWorldOn(t, gate, server.Config{})
			p := slow.start(t, "a?offset="+at("3")+"&live="+live)
			gate.closed.Store(true)
			w.must(t, "DELETE", "a", "")
			w.must(t, "PUT", "a", "another", "Content-Type", text)
			close(gate.open)
			if live == "sse" {
				events := newEventReader(newBody(p.answer(t, 200)))
				events.control(t)
				events.end(t)
			} else {
				p.answer(t, http.StatusNotFound)
			}
		})
	}
}
