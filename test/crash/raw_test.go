package crash

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// each sends requests 0 to n-1 on keep-alive connections, at less cost than
// net/http's client. Each must have the status and body that want returns for it.
func (s *server) each(t *testing.T, n int, request func(i int) (method, name, headers, body string), want func(i int) (status int, body string)) {
	t.Helper()
	const conns = 48
	var next atomic.Int64
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			conn := s.dial(t)
			if conn == nil {
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for i := int(next.Add(1) - 1); i < n && !t.Failed(); i = int(next.Add(1) - 1) {
				if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
					t.Error(err)
					return
				}
				method, name, headers, body := request(i)
				_, err := fmt.Fprintf(conn, "%s /v1/stream/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s",
					method, name, s.address(), len(body), headers, body)
				if err != nil {
					t.Errorf("%s %s: %v", method, name, err)
					return
				}
				got, answer, err := readAnswer(in)
				status, text := want(i)
				if err != nil || got != status || status/100 == 2 && string(answer) != text {
					t.Errorf("%s %s: status %d, %s, %v; want %d, %s", method, name, got, short(answer), err, status, short([]byte(text)))
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// readAnswer reads one response that has a Content-Length or no body.
func readAnswer(in *bufio.Reader) (status int, body []byte, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		value, isLength := bytes.CutPrefix(line, []byte("Content-Length: "))
		switch {
		case first:
			if len(line) < len("HTTP/1.1 200") {
				return 0, nil, fmt.Errorf("status line %q", line)
			}
			status, err = strconv.Atoi(string(line[9:12]))
		case isLength:
			length, err = strconv.Atoi(string(value))
		case len(line) == 0:
			body = make([]byte, length)
			_, err = io.ReadFull(in, body)
			return status, body, err
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// dial opens a connection to the server; nil, and the test fails, if it cannot.
func (s *server) dial(t *testing.T) *net.TCPConn {
	conn, err := net.DialTimeout("tcp", s.address(), patience)
	if err != nil {
		t.Error(err)
		return nil
	}
	return conn.(*net.TCPConn)
}

func has(status int, body string) func(int) (int, string) {
	return func(int) (int, string) { return status, body }
}
