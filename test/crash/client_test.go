package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// reply is a response.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// next returns the offset at which the reply says to go on, -1 if it does not.
func (r *reply) next() int64 {
	n, ok := parseOffset(r.header.Get("Stream-Next-Offset"))
	if !ok {
		return -1
	}
	return n
}

func (r *reply) closed() bool   { return r.header.Get("Stream-Closed") == "true" }
func (r *reply) upToDate() bool { return r.header.Get("Stream-Up-To-Date") == "true" }

// parseOffset returns the position that an offset names.
func parseOffset(s string) (int64, bool) {
	position, zero, ok := strings.Cut(s, "_")
	if !ok || len(position) != 16 || zero != "0000000000000000" {
		return 0, false
	}
	n, err := strconv.ParseInt(position, 10, 64)
	return n, err == nil
}

func offset(n int64) string { return fmt.Sprintf("%016d_%016d", n, 0) }

// open sends a request and leaves the response's body to the caller. Headers are
// "Name: value" lines.
func (s *server) open(ctx context.Context, method, name string, body []byte, headers []string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url(name), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == "PUT" || method == "POST" {
		req.Header.Set("Content-Type", typeText)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	return s.client.Do(req)
}

// do sends a request and reads the response. With an error, the reply has what
// came before it.
func (s *server) do(method, name string, body []byte, headers ...string) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := s.open(ctx, method, name, body, headers)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	r := reply{status: res.StatusCode, header: res.Header}
	r.body, err = io.ReadAll(res.Body)
	return r, err
}

// must sends a request that must have one answer.
func (s *server) must(t *testing.T, status int, method, name string, body []byte, headers ...string) reply {
	t.Helper()
	r, err := s.do(method, name, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, name, err)
	}
	if r.status != status {
		t.Fatalf("%s %s: status %d, want %d; body: %s", method, name, r.status, status, short(r.body))
	}
	return r
}

// Content types of streams.
const (
	typeText   = "text/plain"
	typeBinary = "application/octet-stream"
	typeJSON   = "application/json"
)

// content is what a stream holds as clients see it. JSON messages each end with
// ",\n", as offsets count them.
type content struct {
	status int // 200, 404 or 410
	closed bool
	bytes  string
}

func (c content) String() string {
	return fmt.Sprintf("status %d, closed %t, %d bytes %s", c.status, c.closed, len(c.bytes), short([]byte(c.bytes)))
}

// read reads a whole stream.
func (s *server) read(t *testing.T, name string) content {
	t.Helper()
	var all []byte
	for {
		r, err := s.do("GET", name+"?offset="+offset(int64(len(all))), nil)
		if err != nil {
			t.Fatalf("read %s: %v", name, err)
		}
		if r.status == http.StatusNotFound || r.status == http.StatusGone {
			return content{status: r.status}
		}
		if r.status != http.StatusOK {
			t.Fatalf("read %s at %d: status %d: %s", name, len(all), r.status, short(r.body))
		}
		piece, ok := wire(r.header.Get("Content-Type"), r.body)
		if !ok {
			t.Fatalf("read %s at %d: not an array: %s", name, len(all), short(r.body))
		}
		all = append(all, piece...)
		if r.next() != int64(len(all)) {
			t.Fatalf("read %s: %d bytes up to offset %q, want %s", name, len(piece), r.header.Get("Stream-Next-Offset"), offset(int64(len(all))))
		}
		if r.upToDate() {
			return content{http.StatusOK, r.closed(), string(all)}
		}
	}
}

// mustRead returns all bytes of a stream that is there.
func (s *server) mustRead(t *testing.T, name string) []byte {
	t.Helper()
	c := s.read(t, name)
	if c.status != http.StatusOK {
		t.Fatalf("read %s: status %d", name, c.status)
	}
	return []byte(c.bytes)
}

// wire returns the bytes that offsets count. ok is false if body is no JSON array
// and should be.
func wire(contentType string, body []byte) (b []byte, ok bool) {
	if contentType != typeJSON {
		return body, true
	}
	inner, ok := bytes.CutPrefix(body, []byte("["))
	if ok {
		inner, ok = bytes.CutSuffix(inner, []byte("]"))
	}
	inner = bytes.Trim(inner, "\n")
	if !ok || len(inner) == 0 {
		return nil, ok
	}
	return append(bytes.Clone(inner), ",\n"...), true
}

// outcome is what a client knows about a change that it asked for.
type outcome uint8

const (
	// unsent: the server has not heard of it.
	unsent outcome = iota
	// unknown: it may or may not have happened.
	unknown
	acknowledged
	refused
)

// change asks for a change.
func (s *server) change(method, name string, body []byte, headers ...string) (reply, outcome) {
	r, err := s.do(method, name, body, headers...)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return r, unsent
	case err != nil && r.status == 0, r.status == http.StatusServiceUnavailable:
		return r, unknown
	case r.status/100 == 2:
		return r, acknowledged // even if the connection broke after the header
	case r.status/100 == 4:
		return r, refused
	}
	s.t.Errorf("%s %s: status %d: %s", method, name, r.status, short(r.body))
	return r, unknown
}

// headerLine returns the header that a "Name: value" line names, as such a line.
func headerLine(h http.Header, line string) string {
	name, _, _ := strings.Cut(line, ": ")
	return name + ": " + h.Get(name)
}

// short returns the beginning and end of what may be long.
func short(b []byte) string {
	if len(b) <= 160 {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%q … %q", b[:80], b[len(b)-80:])
}

// difference tells where two byte slices begin to differ.
func difference(got, want []byte) string {
	n := min(len(got), len(want))
	at := 0
	for at < n && got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("%d bytes, want %d; from byte %d on %s, want %s", len(got), len(want), at, short(got[at:]), short(want[at:]))
}
