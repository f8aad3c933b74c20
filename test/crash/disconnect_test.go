package crash

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDisconnect_inABody has clients that go away before their request is whole.
func TestDisconnect_inABody(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	srv.start()
	want := "before"
	srv.must(t, http.StatusCreated, "PUT", "a", []byte(want))
	long := strings.Repeat("partial ", 40<<10)
	const chunked = "Transfer-Encoding: chunked\r\n\r\n"
	for _, body := range []struct{ name, text string }{
		{"chunked, before the first chunk", chunked},
		{"chunked, in a chunk's size", chunked + "5"},
		{"chunked, in a chunk", chunked + "ffff\r\npartial"},
		{"chunked, after a chunk", chunked + "7\r\npartial\r\n"},
		{"chunked, after a long chunk", chunked + fmt.Sprintf("%x\r\n%s\r\n", len(long), long)},
		{"chunked, in the last chunk", chunked + "7\r\npartial\r\n0\r\n"},
		{"length, without a byte", "Content-Length: 100\r\n\r\n"},
		{"length, in the body", "Content-Length: 100\r\n\r\npartial"},
		{"length, before the last byte", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(long)+1, long)},
		{"in the headers", "Content-Length: 7\r\n"},
	} {
		for _, request := range []string{
			"POST /v1/stream/a", "PUT /v1/stream/b", "PUT /v1/stream/c HTTP/1.1\r\nStream-Forked-From: /v1/stream/a",
			"POST /v1/stream/a HTTP/1.1\r\nProducer-Id: p\r\nProducer-Epoch: 0\r\nProducer-Seq: 0",
		} {
			line, headers, _ := strings.Cut(request, " HTTP/1.1\r\n")
			for _, reset := range []bool{false, true} {
				conn := srv.dial(t)
				if conn == nil {
					return
				}
				_, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\n%s%s", line, srv.address(), headed(headers), body.text)
				if err != nil {
					t.Fatal(err)
				}
				if reset {
					err = conn.SetLinger(0)
				} else {
					err = hangUp(conn)
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", line, body.name, err)
				}
				if err := conn.Close(); err != nil {
					t.Fatal(err)
				}
			}
			srv.expect(t, "a", want)
			srv.must(t, http.StatusNotFound, "GET", "b", nil)
			srv.must(t, http.StatusNotFound, "GET", "c", nil)
		}
		srv.must(t, http.StatusNoContent, "POST", "a", []byte(", between"))
		want += ", between"
	}
	// Nor has one of them been stored later.
	srv.kill()
	srv.start()
	srv.expect(t, "a", want)
	srv.must(t, http.StatusNotFound, "GET", "b", nil)
	srv.must(t, http.StatusNotFound, "GET", "c", nil)
	srv.must(t, http.StatusOK, "POST", "a", []byte(", whole"), "Producer-Id: p", "Producer-Epoch: 0", "Producer-Seq: 0")
	srv.expect(t, "a", want+", whole")
}

func headed(lines string) string {
	if lines == "" {
		return ""
	}
	return lines + "\r\n"
}

// hangUp ends the client's side of a connection, and waits until the server has
// ended its own: it is done with the request then.
func hangUp(conn *net.TCPConn) error {
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(answer), "HTTP/1.1 2") {
		return fmt.Errorf("half a request was answered with %q", answer)
	}
	return nil
}

// TestDisconnect_inAResponse has clients that go away while they are answered.
func TestDisconnect_inAResponse(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "max_file_handles 2")
	srv.start()
	all := payload(typeBinary, "long", 8<<20)
	srv.must(t, http.StatusCreated, "PUT", "long", all, "Content-Type: "+typeBinary)
	srv.stop() // so that it comes from a segment
	srv.start()
	for i := range 60 {
		conn := srv.dial(t)
		if conn == nil {
			return
		}
		query := []string{"", "?live=sse&offset=-1", "?live=long-poll&offset=-1"}[i%3]
		if _, err := fmt.Fprintf(conn, "GET /v1/stream/long%s HTTP/1.1\r\nHost: %s\r\n\r\n", query, srv.address()); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 1+i*2000)
		if n, err := io.ReadFull(conn, answer); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 OK\r\n")[:min(n, 17)]) {
			t.Fatalf("%s: %v after %s", query, err, short(answer[:n]))
		}
		if i%2 == 0 {
			if err := conn.SetLinger(0); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(srv.mustRead(t, "long")); got != string(all) {
		t.Fatalf("afterwards: %s", difference([]byte(got), all))
	}
	srv.must(t, http.StatusNoContent, "POST", "long", []byte("more"), "Content-Type: "+typeBinary)
	srv.stop()
	for _, line := range lines(srv.log(), func(l *logLine) bool { return l.Level == "error" }) {
		t.Errorf("the server has logged: %s", line.text)
	}
}
