package protocol_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// event is what a client gets out of a text/event-stream.
type event struct{ name, data string }

// decodeSSE interprets an event stream as a client does (WHATWG HTML §9.2.6).
func decodeSSE(stream []byte) (events []event) {
	text := strings.ReplaceAll(string(stream), "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	name, data, hasData := "", "", false
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			if hasData {
				events = append(events, event{name, strings.TrimSuffix(data, "\n")})
			}
			name, data, hasData = "", "", false
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data += value + "\n"
			hasData = true
		case "":
		default:
			events = append(events, event{"field " + field, value})
		}
	}
	return events
}

// lineFeeds is the documented loss of text events: every line end becomes LF.
func lineFeeds(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

func TestAppendSSEData_exactBytes(t *testing.T) {
	for _, c := range []struct {
		clause, data string
		enc          protocol.SSEEncoding
		want         string
	}{
		{"text", "abc", protocol.SSEText, "event: data\ndata:abc\n\n"},
		{"lines", "a\nb\r\nc\rd", protocol.SSEText, "event: data\ndata:a\ndata:b\ndata:c\ndata:d\n\n"},
		{"final line end", "a\n", protocol.SSEText, "event: data\ndata:a\ndata:\n\n"},
		{"only line ends", "\n\r\r\n", protocol.SSEText, "event: data\ndata:\ndata:\ndata:\ndata:\n\n"},
		{"leading spaces", "  a\n b", protocol.SSEText, "event: data\ndata:   a\ndata:  b\n\n"},
		{"colons", ":a: b", protocol.SSEText, "event: data\ndata::a: b\n\n"},
		{"injection", "x\n\nevent: control\ndata:{}\n\n", protocol.SSEText, "event: data\ndata:x\ndata:\ndata:event: control\ndata:data:{}\ndata:\ndata:\n\n"},
		{"injection by CR", "x\r\revent: control", protocol.SSEText, "event: data\ndata:x\ndata:\ndata:event: control\n\n"},
		{"JSON, one message", "{\"a\":1},\n", protocol.SSEJSON, "event: data\ndata:[\ndata:{\"a\":1}\ndata:]\n\n"},
		{"JSON, messages", "1,\n\"a\",\n[],\n", protocol.SSEJSON, "event: data\ndata:[\ndata:1,\ndata:\"a\",\ndata:[]\ndata:]\n\n"},
		{"base64", "\x00\xff\n", protocol.SSEBase64, "event: data\ndata:AP8K\n\n"},
		{"base64 with padding", "a", protocol.SSEBase64, "event: data\ndata:YQ==\n\n"},
	} {
		t.Run(c.clause, func(t *testing.T) {
			if got := string(protocol.AppendSSEData([]byte("before"), []byte(c.data), c.enc)); got != "before"+c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestAppendSSEControl_fields is the list of §5.8, "control".
func TestAppendSSEControl_fields(t *testing.T) {
	for _, c := range []struct {
		clause string
		c      protocol.SSEControl
		want   string
	}{
		{"more to come", protocol.SSEControl{Next: 42, Cursor: "7"}, `{"streamNextOffset":"0000000000000042_0000000000000000","streamCursor":"7"}`},
		{"caught up", protocol.SSEControl{Next: 42, Cursor: "7", UpToDate: true}, `{"streamNextOffset":"0000000000000042_0000000000000000","streamCursor":"7","upToDate":true}`},
		{"closed", protocol.SSEControl{Next: 42, Cursor: "7", Closed: true}, `{"streamNextOffset":"0000000000000042_0000000000000000","upToDate":true,"streamClosed":true}`},
	} {
		t.Run(c.clause, func(t *testing.T) {
			got := decodeSSE(protocol.AppendSSEControl(nil, c.c))
			if len(got) != 1 || got[0] != (event{"control", c.want}) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSSEHeartbeat_isNoEvent(t *testing.T) {
	stream := protocol.AppendSSEData([]byte(protocol.SSEHeartbeat), []byte("a"), protocol.SSEText)
	stream = append(stream, protocol.SSEHeartbeat...)
	if got := decodeSSE(stream); len(got) != 1 || got[0] != (event{"data", "a"}) {
		t.Errorf("got %q", got)
	}
}

func TestSSETextCut_positions(t *testing.T) {
	for _, c := range []struct {
		clause, text   string
		atTail, closed bool
		want           int
	}{
		{"empty", "", true, false, 0},
		{"ASCII", "abc", false, false, 3},
		{"whole character", "aé", false, false, 3},
		{"half a character", "a\xc3", false, false, 1},
		{"two thirds of a character", "a\xe6\x97", false, false, 1},
		{"three quarters of a character", "a\xf0\x9f\x98", false, false, 1},
		{"half a character at the tail", "a\xc3", true, false, 1},
		{"half a character at the end", "a\xc3", true, true, 2},
		{"only half a character", "\xc3", true, false, 0},
		{"only half a character at the end", "\xc3", true, true, 1},
		{"closed, but more follows", "a\xc3", false, true, 1},
		{"never a character", "a\xff", false, false, 2},
		{"continuation bytes alone", "a\x80\x80\x80\x80", false, false, 5},
		{"impossible continuation", "a\xe6\x41", false, false, 3},
		{"overlong beginning", "a\xc0", false, false, 2},
		{"CR before the rest", "ab\r", false, false, 2},
		{"CR at the tail", "ab\r", true, false, 3},
		{"CR LF", "ab\r\n", false, false, 4},
		{"CR before half a character", "ab\r\xc3", false, false, 3},
	} {
		t.Run(c.clause, func(t *testing.T) {
			if got := protocol.SSETextCut([]byte(c.text), c.atTail, c.closed); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// sseSeeds are texts that mean something to an event stream or to UTF-8.
var sseSeeds = []string{
	"a", "a\nb", "a\r\nb\r", "\r\n\r\n", " a", "  ", "\n", ": comment", "event: control\ndata:{}", "x\n\nevent: control\ndata:{}\n\n",
	"id: 1\nretry: 0", "\ufeffdata", "日本\r\n語", "\xe6\x97", "a\xff\r", "\x00", "{\"a\":1},\n", "[1, {\"b\": [\"\u2028\"]}]",
	strings.Repeat("é\r\n", 20),
}

func FuzzSSE(f *testing.F) {
	for _, text := range sseSeeds {
		f.Add([]byte(text), uint8(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		if len(data) == 0 {
			return
		}
		control := protocol.AppendSSEControl(nil, protocol.SSEControl{Next: protocol.Offset(len(data)), Cursor: "7"})
		one := func(enc protocol.SSEEncoding, data []byte) string {
			events := decodeSSE(append(protocol.AppendSSEData(nil, data, enc), control...))
			if len(events) != 2 || events[0].name != "data" || events[1].name != "control" || !json.Valid([]byte(events[1].data)) {
				t.Fatalf("%q becomes the events %q", data, events)
			}
			return events[0].data
		}
		if got := one(protocol.SSEText, data); got != lineFeeds(string(data)) {
			t.Fatalf("the text %q is received as %q", data, got)
		}
		if got, err := base64.StdEncoding.DecodeString(one(protocol.SSEBase64, data)); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("the bytes %q are received as %q, %v", data, got, err)
		}
		if wire, messages, refusal := protocol.FlattenJSON(nil, data); refusal == nil && messages > 0 {
			got := one(protocol.SSEJSON, wire)
			again, count, refusal := protocol.FlattenJSON(nil, []byte(got))
			if depth([]byte(got)) <= maxDepth && (refusal != nil || count != messages || !bytes.Equal(again, wire)) {
				t.Fatalf("the messages %q are received as %q", wire, got)
			}
		}
		checkPieces(t, data, 5+int(size))
	})
}

// checkPieces sends a text in events of at most size bytes each, as a server
// does that reads it piece by piece.
func checkPieces(t *testing.T, text []byte, size int) {
	t.Helper()
	valid := utf8.Valid(text)
	var stream []byte
	for pos := 0; pos < len(text); {
		piece := text[pos:min(pos+size, len(text))]
		atTail := pos+len(piece) == len(text)
		n := protocol.SSETextCut(piece, atTail, true)
		switch {
		case n <= 0 || n > len(piece) || n < len(piece)-utf8.UTFMax+1:
			t.Fatalf("%d of the %d bytes %q are sent", n, len(piece), piece)
		case valid && !utf8.Valid(piece[:n]):
			t.Fatalf("%q is sent as %q: a character is cut", piece, piece[:n])
		}
		if open := protocol.SSETextCut(piece, atTail, false); open > n || valid && !utf8.Valid(piece[:open]) {
			t.Fatalf("%d of the bytes %q are sent while the stream is open", open, piece)
		}
		stream = protocol.AppendSSEData(stream, piece[:n], protocol.SSEText)
		pos += n
	}
	var got strings.Builder
	for _, e := range decodeSSE(stream) {
		if e.name != "data" {
			t.Fatalf("the text %q becomes the event %q", text, e)
		}
		got.WriteString(e.data)
	}
	if got.String() != lineFeeds(string(text)) {
		t.Fatalf("in pieces of %d, the text %q is received as %q", size, text, got.String())
	}
}
