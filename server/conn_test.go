package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/server"
)

// pipeListener accepts connections in memory, so that a server and its clients
// can share the clock of a synctest bubble. Its connections buffer nothing: a
// client that does not read stalls the server at once.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	client, srv := net.Pipe()
	l.conns <- srv
	return client
}

// serveConns serves handler on connections in memory for the rest of the bubble.
func serveConns(t *testing.T, handler http.Handler) *pipeListener {
	t.Helper()
	l := newPipeListener()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: handler, Protocols: protocols}
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		time.Sleep(time.Second) // net/http lingers on connections it gives up
	})
	return l
}

// readResponse reads one whole response from a connection.
func readResponse(t *testing.T, r *bufio.Reader, method string) response {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return checkResponse(t, method, resp)
}

func send(t *testing.T, conn net.Conn, request string) {
	t.Helper()
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		t.Error(err)
	}
}

func TestConn_bodyStalls(t *testing.T) {
	for _, c := range []struct{ name, request, code string }{
		{"known length", "POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 10\n\nabc", "body_timeout"},
		{"known length, nothing", "PUT /v1/stream/new HTTP/1.1\nHost: x\nContent-Length: 10\n\n", "body_timeout"},
		{"great length", "POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 1000000\n\nabc", "body_timeout"},
		{"chunked", "POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n3\nabc\n", "body_timeout"},
		{"body of a GET", "GET /v1/stream/a HTTP/1.1\nHost: x\nContent-Length: 10\n\nabc", "body_timeout"},
		// Refused before the body is read: net/http waits for it all the same.
		{"bad name", "POST /v1/stream/ HTTP/1.1\nHost: x\nContent-Length: 10\n\nabc", "invalid_name"},
		{"bad header", "PUT /v1/stream/b HTTP/1.1\nHost: x\nStream-TTL: -1\nContent-Length: 10\n\nabc", "malformed"},
		{"too large", "POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 16777217\n\nabc", "too_large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, server.Config{ReadTimeout: 10 * time.Second})
				w.must(t, "PUT", "a", "", "Content-Type", text)
				conn := serveConns(t, w.http).dial()
				defer conn.Close()
				start := time.Now()
				send(t, conn, c.request)
				got := readResponse(t, bufio.NewReader(conn), "POST")
				if !strings.HasPrefix(got.body, c.code+": ") {
					t.Errorf("body %q", got.body)
				}
				if c.code == "body_timeout" && (got.StatusCode != 408 || !got.Close) {
					t.Errorf("status %d, close %v", got.StatusCode, got.Close)
				}
				if waited := time.Since(start); waited > 10*time.Second {
					t.Errorf("answered after %s", waited)
				}
				if got := w.call(t, "GET", "a", ""); got.body != "" {
					t.Errorf("stored %q", got.body)
				}
				if got := w.call(t, "HEAD", "new", ""); got.StatusCode != 404 {
					t.Error("a stream was created")
				}
			})
		})
	}
}

// TestConn_slowBody: what counts is progress, not the whole time. Afterwards the
// connection is as good as new.
func TestConn_slowBody(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, server.Config{ReadTimeout: 10 * time.Second})
			w.must(t, "PUT", "a", "", "Content-Type", text)
			conn := serveConns(t, w.http).dial()
			defer conn.Close()
			r := bufio.NewReader(conn)
			for range 2 {
				if chunked {
					send(t, conn, "POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n")
				} else {
					send(t, conn, "POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 5\n\n")
				}
				for _, piece := range []string{"a", "b", "c", "d", "e"} {
					time.Sleep(9 * time.Second)
					if chunked {
						piece = "1\n" + piece + "\n"
					}
					send(t, conn, piece)
				}
				if chunked {
					send(t, conn, "0\n\n")
				}
				if got := readResponse(t, r, "POST"); got.StatusCode != 204 {
					t.Fatalf("status %d: %s", got.StatusCode, got.body)
				}
				time.Sleep(time.Minute) // no deadline is left
			}
			if got := w.call(t, "GET", "a", ""); got.body != "abcdeabcde" {
				t.Errorf("stored %q", got.body)
			}
		})
	}
}

// TestConn_clientLeavesMidBody uses real connections, which can be reset too.
func TestConn_clientLeavesMidBody(t *testing.T) {
	for _, request := range []string{
		"POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 10\n\nabc",
		"POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n3\nabc\n",
		"POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n3\nabc\n0\n",
		"POST /v1/stream/a HTTP/1.1\nHost: x\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n3\nabc\nzz\n",
		"PUT /v1/stream/new HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 10\n\nabc",
		"PUT /v1/stream/new HTTP/1.1\nHost: x\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n3\nabc\n",
		"POST /v1/stream/a HTTP/1.1\nHost: x\nStream-Closed: true\nContent-Length: 10\n\n",
	} {
		for _, reset := range []bool{false, true} {
			w := newWorld(t, server.Config{})
			w.must(t, "PUT", "a", "", "Content-Type", text)
			served := make(chan struct{})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				defer close(served)
				w.http.ServeHTTP(rw, r)
			})}
			go func() { _ = srv.Serve(l) }()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			send(t, conn, request)
			if reset {
				_ = conn.(*net.TCPConn).SetLinger(0)
			}
			conn.Close()
			if !reset {
				<-served // a reset may come before the request was read
			}
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if got := w.call(t, "GET", "a", ""); got.body != "" || got.Header.Get("Stream-Closed") != "" {
				t.Errorf("%q left %q behind", request, got.body)
			}
			if got := w.call(t, "HEAD", "new", ""); got.StatusCode != 404 {
				t.Errorf("%q left a stream behind", request)
			}
		}
	}
}

func TestConn_readerStalls(t *testing.T) {
	for _, query := range []string{"", "&live=long-poll", "&live=sse"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, server.Config{WriteTimeout: 10 * time.Second, SSEReconnectInterval: time.Hour})
			w.must(t, "PUT", "a", strings.Repeat("x", 1<<20))
			conn := serveConns(t, w.http).dial()
			defer conn.Close()
			send(t, conn, "GET /v1/stream/a?offset=-1"+query+" HTTP/1.1\nHost: x\n\n")
			if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(11 * time.Second)
			synctest.Wait()
			s := w.handler.Stats()
			if s.ReadersCutOff != 1 || s.SSEReaders != 0 || s.LongPollReaders != 0 {
				t.Errorf("%q: %+v", query, s)
			}
			n, err := io.Copy(io.Discard, conn)
			if err != nil || n > 1<<20 {
				t.Errorf("%q: %d more bytes, %v", query, n, err)
			}
		})
	}
}

// TestConn_slowReader: a client that goes on reading gets everything, however
// long it takes.
func TestConn_slowReader(t *testing.T) {
	for _, contentType := range []string{octets, jsonType} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, server.Config{WriteTimeout: 10 * time.Second})
			body := `"` + strings.Repeat("x", 1<<20) + `"`
			w.must(t, "PUT", "a", body, "Content-Type", contentType)
			conn := serveConns(t, w.http).dial()
			defer conn.Close()
			// net/http may make three writes of one.
			r := bufio.NewReaderSize(readerFunc(func(p []byte) (int, error) {
				time.Sleep(3 * time.Second)
				return conn.Read(p)
			}), 128<<10)
			for range 2 {
				send(t, conn, "GET /v1/stream/a HTTP/1.1\nHost: x\n\n")
				got := readResponse(t, r, "GET")
				if want := body; got.body != want && got.body != "["+want+"]" {
					t.Errorf("%d bytes arrived", len(got.body))
				}
				time.Sleep(time.Minute) // no deadline is left
			}
			if s := w.handler.Stats(); s.ReadersCutOff != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestConn_http2Idle: under HTTP/2 an expired deadline ends a response even
// while nothing is written.
func TestConn_http2Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, server.Config{WriteTimeout: time.Second, ReadTimeout: time.Second, SSEHeartbeat: time.Hour, SSEReconnectInterval: time.Hour})
		w.must(t, "PUT", "a", "old", "Content-Type", text)
		l := serveConns(t, w.http)
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{
			Protocols:   protocols,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return l.dial(), nil },
		}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("http://x/v1/stream/a?offset=-1&live=sse")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Fatalf("HTTP/%d", resp.ProtoMajor)
		}
		events := newEventReader(resp.Body)
		events.expect(t, "data", "old")
		events.control(t)
		time.Sleep(time.Minute)
		w.must(t, "POST", "a", "new", "Content-Type", text)
		events.expect(t, "data", "new")
		if s := w.handler.Stats(); s.ReadersCutOff != 0 || s.SSEReaders != 1 {
			t.Errorf("%+v", s)
		}
	})
}
