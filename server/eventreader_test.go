package server_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// serverEvent is one SSE event as a client sees it.
type serverEvent struct{ kind, data string }

// eventReader reads events as the HTML standard says a client does.
type eventReader struct {
	r        *bufio.Reader
	comments int
}

func newEventReader(r io.Reader) *eventReader { return &eventReader{r: bufio.NewReader(r)} }

// next returns the next event. io.EOF is a clean end: after a whole event.
func (e *eventReader) next() (serverEvent, error) {
	var event serverEvent
	var data []string
	for any := false; ; any = true {
		line, err := e.r.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && (line != "" || any && (event.kind != "" || data != nil)) {
				err = io.ErrUnexpectedEOF
			}
			return event, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			if event.kind != "" || data != nil {
				event.data = strings.Join(data, "\n")
				return event, nil
			}
			continue
		}
		if strings.ContainsRune(line, '\r') {
			return event, errors.New("a bare CR ends a line for a client: " + line)
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			e.comments++
		case "event":
			event.kind = value
		case "data":
			data = append(data, value)
		default:
			return event, errors.New("unknown field: " + line)
		}
	}
}

func (e *eventReader) expect(t testing.TB, kind, data string) {
	t.Helper()
	event, err := e.next()
	if err != nil || event != (serverEvent{kind, data}) {
		t.Fatalf("event %q, %v; want %s %q", event, err, kind, data)
	}
}

// control is the content of a control event (§5.8).
type control struct {
	StreamNextOffset string
	StreamCursor     string
	UpToDate         bool
	StreamClosed     bool
}

func (c serverEvent) control() (control, error) {
	var fields control
	d := json.NewDecoder(strings.NewReader(c.data))
	d.DisallowUnknownFields()
	err := d.Decode(&fields)
	return fields, err
}

// control reads the next event, which must be a control event.
func (e *eventReader) control(t testing.TB) control {
	t.Helper()
	event, err := e.next()
	if err != nil || event.kind != "control" {
		t.Fatalf("event %q, %v; want a control event", event, err)
	}
	c, err := event.control()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// end checks that the response ends after a whole event.
func (e *eventReader) end(t testing.TB) {
	t.Helper()
	if event, err := e.next(); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("event %q, %v; want the end", event, err)
	}
}
