package server_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
)

// discardWriter is a response that goes nowhere.
type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *discardWriter) WriteHeader(status int)      { w.status = status }
func (w *discardWriter) Flush()                      {}

func (w *discardWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *discardWriter) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkPost measures what the handler adds to a POST: the request is made
// already and the response is dropped.
func BenchmarkPost(b *testing.B) {
	for _, kind := range []string{"application/octet-stream", "application/json"} {
		b.Run("type="+strings.TrimPrefix(kind, "application/")+"/size=256", func(b *testing.B) {
			st := memory.New(memory.Options{})
			defer st.Close()
			h := server.New(st, server.Config{})
			h.HTTPHandler().ServeHTTP(httptest.NewRecorder(), newRequest(http.MethodPut, "/v1/stream/s", "", "Content-Type", kind))
			body := []byte(`{"k":"` + strings.Repeat("x", 248) + `"}`)
			reader := bytes.NewReader(body)
			r := newRequest(http.MethodPost, "/v1/stream/s", "", "Content-Type", kind)
			r.ContentLength, r.Body = int64(len(body)), io.NopCloser(reader)
			w := &discardWriter{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				reader.Reset(body)
				if err := h.ServeHTTP(w, r); err != nil || w.status != http.StatusNoContent {
					b.Fatal(w.status, err)
				}
			}
		})
	}
}

// BenchmarkPostConn measures a POST over one TCP connection, deadlines included,
// beside a handler that does nothing but read the body.
func BenchmarkPostConn(b *testing.B) {
	st := memory.New(memory.Options{})
	defer st.Close()
	h := server.New(st, server.Config{}).HTTPHandler()
	h.ServeHTTP(httptest.NewRecorder(), newRequest(http.MethodPut, "/v1/stream/s", ""))
	idle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	for name, handler := range map[string]http.Handler{"server": h, "nothing": idle} {
		b.Run("handler="+name+"/size=256", func(b *testing.B) {
			srv := httptest.NewServer(handler)
			defer srv.Close()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			request := []byte("POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 256\r\n\r\n" + strings.Repeat("x", 256))
			answer := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				for n := 0; ; {
					k, err := conn.Read(answer[n:])
					if err != nil {
						b.Fatal(err)
					}
					if n += k; bytes.HasSuffix(answer[:n], []byte("\r\n\r\n")) {
						break
					}
				}
			}
		})
	}
}
