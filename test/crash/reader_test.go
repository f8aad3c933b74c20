package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// watched is a writer whose stream readers follow.
type watched interface {
	name() string
	// known is the stream as of the last check.
	known() []byte
}

// reader follows a stream live, and goes on where it was when its connection
// breaks. It keeps everything that it was ever shown.
type reader struct {
	of          watched
	contentType string
	sse         bool

	name   string
	from   int64  // where to go on
	seen   []byte // may be ahead of from, by an answer that broke off
	closed bool
	// target ends the reading, if it is not negative.
	target int64
}

// show notes bytes that the server has shown.
func (r *reader) show(w *world, at int64, b []byte) {
	n := min(int64(len(r.seen)), at+int64(len(b))) - at
	if at > int64(len(r.seen)) {
		w.t.Errorf("reader of %s: shown byte %d after byte %d", r.name, at, len(r.seen))
		return
	}
	if !bytes.Equal(r.seen[at:at+n], b[:n]) {
		w.t.Errorf("reader of %s: byte %d on is not what it was: %s", r.name, at, difference(b[:n], r.seen[at:at+n]))
	}
	r.seen = append(r.seen, b[n:]...)
}

// read reads until stop is closed and the connection ends, or the target is
// reached, or the stream's end.
func (r *reader) read(w *world, stop <-chan struct{}) {
	for !stopped(stop) && !r.closed && !r.there() && !w.t.Failed() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		live := "long-poll"
		if r.sse {
			live = "sse"
		}
		res, err := w.srv.open(ctx, "GET", fmt.Sprintf("%s?live=%s&offset=%s", r.name, live, offset(r.from)), nil, nil)
		if err == nil {
			w.count("live requests", 1)
			switch {
			case res.StatusCode == http.StatusServiceUnavailable:
				rest()
			case res.StatusCode/100 != 2:
				w.t.Errorf("reader of %s at %d: status %d", r.name, r.from, res.StatusCode)
			case r.sse:
				r.events(w, res)
			default:
				r.poll(w, res)
			}
			err = res.Body.Close()
		}
		if err != nil {
			rest()
		}
		cancel()
	}
}

func (r *reader) there() bool { return r.target >= 0 && r.from >= r.target }

// poll takes a long-poll's answer, also one that breaks off.
func (r *reader) poll(w *world, res *http.Response) {
	var body bytes.Buffer
	_, err := body.ReadFrom(res.Body)
	answer := reply{header: res.Header}
	switch {
	case r.contentType == typeJSON && err != nil:
		return
	case body.Len() > 0:
		b, ok := wire(r.contentType, body.Bytes())
		if !ok {
			w.t.Errorf("reader of %s at %d: not an array: %s", r.name, r.from, short(body.Bytes()))
		}
		r.show(w, r.from, b)
		if err != nil {
			return
		}
		if answer.next() != r.from+int64(len(b)) {
			w.t.Errorf("reader of %s at %d: %d bytes up to %d", r.name, r.from, len(b), answer.next())
		}
	case err != nil:
		return
	}
	r.from, r.closed = answer.next(), answer.closed()
}

// events takes server-sent events.
func (r *reader) events(w *world, res *http.Response) {
	at := r.from
	var event string
	var data []byte
	for lines := bufio.NewReader(res.Body); !r.there() && !r.closed; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "event":
			event = value
		case field == "data":
			data = append(append(data, value...), '\n')
		case line == "\n" && event == "data":
			b, ok := r.decode(data[:len(data)-1])
			if !ok {
				w.t.Errorf("reader of %s at %d: event %s", r.name, at, short(data))
				return
			}
			r.show(w, at, b)
			at += int64(len(b))
		case line == "\n" && event == "control":
			var control struct {
				StreamNextOffset string `json:"streamNextOffset"`
				StreamClosed     bool   `json:"streamClosed"`
			}
			err := json.Unmarshal(data, &control)
			next, ok := parseOffset(control.StreamNextOffset)
			if err != nil || !ok || next != at {
				w.t.Errorf("reader of %s: control event at %d: %s", r.name, at, data)
				return
			}
			r.from, r.closed = next, control.StreamClosed
		}
		if line == "\n" {
			event, data = "", nil
		}
	}
}

// decode returns the stream's bytes that a data event carries.
func (r *reader) decode(data []byte) ([]byte, bool) {
	switch r.contentType {
	case typeText:
		return data, true
	case typeJSON:
		return wire(typeJSON, data)
	}
	b, err := base64.StdEncoding.AppendDecode(nil, data)
	return b, err == nil
}

// check compares all that the reader was shown with what is there now. If the
// writer has another stream by now, the reader reads this one to its end and
// follows.
func (r *reader) check(w *world) {
	if r.name == r.of.name() { // whose check has just read it
		if now := r.of.known(); !bytes.HasPrefix(now, r.seen) {
			w.t.Fatalf("reader of %s was shown what is not there: %s", r.name, difference(now, r.seen))
		}
		return
	}
	now := w.srv.read(w.t, r.name)
	if now.status != http.StatusOK || !strings.HasPrefix(now.bytes, string(r.seen)) {
		w.t.Fatalf("reader of %s was shown what is not there: %s", r.name, difference([]byte(now.bytes), r.seen))
	}
	w.count("bytes shown to live readers", len(r.seen))
	r.finish(w, int64(len(now.bytes)))
	if !now.closed || string(r.seen) != now.bytes {
		w.t.Fatalf("reader of %s, which has ended, closed %t: %s", r.name, now.closed, difference(r.seen, []byte(now.bytes)))
	}
	*r = reader{of: r.of, contentType: r.contentType, sse: r.sse, target: -1, name: r.of.name()}
}

// finish reads up to the target.
func (r *reader) finish(w *world, target int64) {
	r.target = target
	r.read(w, nil)
	r.target = -1
	if r.from != target {
		w.t.Fatalf("reader of %s ended at %d, want %d", r.name, r.from, target)
	}
}
