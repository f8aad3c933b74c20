package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

// TestSSE_encodedOnce: however many readers follow a stream, and whatever their
// cursors are, each change is encoded once.
func TestSSE_encodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.must(t, "PUT", "a", "", "Content-Type", text)
		ahead := cursorAt(clock().Add(time.Hour))
		var clients []*sseClient
		for i := range 50 {
			target := "a?offset=now"
			if i%2 == 1 {
				target += "&cursor=" + ahead
			}
			c := w.follow(t, target)
			c.control(t)
			clients = append(clients, c)
		}
		for i := range 10 {
			synctest.Wait()
			w.must(t, "POST", "a", fmt.Sprint("change ", i), "Content-Type", text)
			for j, c := range clients {
				c.expect(t, "data", fmt.Sprint("change ", i))
				if got := c.control(t).StreamCursor; (got > ahead) != (j%2 == 1) {
					t.Errorf("reader %d has the cursor %s", j, got)
				}
			}
		}
		if n := w.handler.Stats().SSEEncodings; n != 10 {
			t.Errorf("10 changes were encoded %d times", n)
		}
	})
}

// TestSSE_closeIsNotShared: an event of an open stream and that of the closed
// one differ though their data is the same.
func TestSSE_closeIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.must(t, "PUT", "a", "x", "Content-Type", text)
		c := w.follow(t, "a?offset=-1")
		c.expect(t, "data", "x")
		c.control(t)
		w.must(t, "POST", "a", "", "Stream-Closed", "true")
		c = w.follow(t, "a?offset=-1")
		c.expect(t, "data", "x")
		if got := c.control(t); !got.StreamClosed {
			t.Errorf("%+v", got)
		}
		w.must(t, "DELETE", "a", "")
		w.must(t, "PUT", "a", "y", "Content-Type", text, "Stream-Closed", "true")
		c = w.follow(t, "a?offset=-1")
		c.expect(t, "data", "y")
	})
}

// randomAppends returns bodies of POSTs for a content type, and what a reader
// from the start must get: the bytes, or for JSON the messages.
func randomAppends(r *rand.Rand, contentType string) (bodies []string, want []byte) {
	switch contentType {
	case jsonType:
		var messages []any
		for range 1 + r.IntN(8) {
			var batch []any
			for range 1 + r.IntN(4) {
				var message any = r.IntN(1000)
				switch r.IntN(4) {
				case 0:
					message = strings.Repeat("\"\n\r\u2028é\\", r.IntN(2000))
				case 1:
					message = map[string]any{"data:": []any{nil, true, "event: x\n\n"}}
				case 2:
					message = strings.Repeat("long", r.IntN(30_000))
				}
				batch = append(batch, message)
			}
			body, _ := json.Marshal(batch)
			bodies = append(bodies, string(body))
			messages = append(messages, batch...)
		}
		want, _ = json.Marshal(messages)
	case text:
		alphabet := []rune("ab \t\n:é€😀\u0000\ufeffdata: x")
		for range 20_000 + r.IntN(200_000) {
			want = append(want, string(alphabet[r.IntN(len(alphabet))])...)
		}
	default:
		want = make([]byte, 1+r.IntN(300_000))
		for i := range want {
			want[i] = byte(r.Uint32())
		}
	}
	if contentType != jsonType {
		for rest := want; len(rest) > 0; { // cut anywhere, within characters too
			n := min(1+r.IntN(1+r.IntN(100_000)), len(rest))
			bodies = append(bodies, string(rest[:n]))
			rest = rest[n:]
		}
	}
	return bodies, want
}

// TestSSE_decodesToTheStream appends random data, some of it while readers
// follow, and decodes what they get.
func TestSSE_decodesToTheStream(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, contentType := range []string{text, jsonType, octets} {
		for range 15 {
			bodies, want := randomAppends(r, contentType)
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, server.Config{})
				w.must(t, "PUT", "a", "", "Content-Type", contentType)
				before := r.IntN(len(bodies) + 1)
				for _, body := range bodies[:before] {
					w.must(t, "POST", "a", body, "Content-Type", contentType)
				}
				results := make(chan []byte)
				for range 2 {
					c := w.follow(t, "a?offset=-1")
					go func() { results <- decodeAll(t, c.eventReader, contentType) }()
				}
				for _, body := range bodies[before:] {
					w.must(t, "POST", "a", body, "Content-Type", contentType)
				}
				w.must(t, "POST", "a", "", "Stream-Closed", "true")
				for range 2 {
					if got := <-results; !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes decoded, want %d others", contentType, len(got), len(want))
					}
				}
			})
		}
	}
}

// decodeAll reads events until the stream's end and puts their data together.
func decodeAll(t *testing.T, events *eventReader, contentType string) []byte {
	var all []byte
	messages := []json.RawMessage{}
	for {
		event, err := events.next()
		if err != nil {
			t.Error(err)
			return nil
		}
		if event.kind == "control" {
			end, err := event.control()
			if err != nil {
				t.Error(err)
			}
			if end.StreamClosed {
				break
			}
			continue
		}
		switch contentType {
		case octets:
			data, err := base64.StdEncoding.DecodeString(event.data)
			if err != nil {
				t.Error(err)
			}
			all = append(all, data...)
		case jsonType:
			var batch []json.RawMessage
			if err := json.Unmarshal([]byte(event.data), &batch); err != nil {
				t.Error(err)
			}
			messages = append(messages, batch...)
		default:
			all = append(all, event.data...)
		}
	}
	if contentType == jsonType {
		all, _ = json.Marshal(messages)
	}
	return all
}

// BenchmarkSSEFanOut measures what one change costs per reader of a stream, from
// the wake-up to the write, which goes nowhere.
func BenchmarkSSEFanOut(b *testing.B) {
	for _, readers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("readers=%d/size=256", readers), func(b *testing.B) {
			w := newWorld(b, server.Config{SSEReconnectInterval: time.Hour})
			w.must(b, "PUT", "a", "", "Content-Type", text)
			delivered := make(chan struct{}, readers)
			for range readers {
				go w.http.ServeHTTP(&notifyingWriter{discardWriter{header: http.Header{}}, delivered}, newRequest("GET", "a?offset=now&live=sse", ""))
			}
			for range readers {
				<-delivered
			}
			body := strings.Repeat("x", 256)
			b.ReportAllocs()
			for b.Loop() {
				w.must(b, "POST", "a", body, "Content-Type", text)
				for range readers {
					<-delivered
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(readers), "ns/event")
			b.StopTimer()
			w.handler.EndReaders()
			for range readers {
				<-delivered
			}
		})
	}
}

// notifyingWriter tells of every flush.
type notifyingWriter struct {
	discardWriter
	flushed chan<- struct{}
}

func (w *notifyingWriter) Flush() { w.flushed <- struct{}{} }
