package storetest

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var readTests = []test{
	{"everyOffset", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		content := ""
		for i := range 20 {
			body := strings.Repeat(string(rune('a'+i)), 1+i*7%13)
			f.append("s", text, body)
			content += body
		}
		for from := range len(content) + 1 {
			for _, maxBytes := range []int{1, 2, 7, 64, len(content), plenty} {
				f.checkFragment("s", content, from, maxBytes)
			}
		}
	}},
	{"wholeMessages", func(f *fixture) {
		f.create("s", streamOf(json, ""))
		content := ""
		for i := range 12 {
			message := `"` + strings.Repeat("m", i*5%17) + `"`
			f.append("s", json, message)
			content += message + ",\n"
		}
		for from := range len(content) + 1 {
			for _, maxBytes := range []int{1, 4, 5, 6, 20, 21, 22, 64, len(content) - 1, len(content), plenty} {
				f.checkMessages("s", content, from, maxBytes)
			}
		}
	}},
	{"messageLargerThanMaxBytes", func(f *fixture) {
		small, big := `"small"`, `"`+strings.Repeat("b", 300_000)+`"`
		f.create("s", streamOf(json, "["+strings.Join([]string{small, big, small, big, big}, ",")+"]"))
		from := protocol.Offset(0)
		for i, message := range []string{small, big, small, big, big} {
			p := f.read("s", from, 1000)
			if got := string(p.data); got != message+",\n" {
				f.Fatalf("message %d was read as %s", i, clip(got))
			}
			from = p.next
		}
		if tail := f.head("s").Tail; from != tail {
			f.Errorf("the messages end at %d, the tail is %d", from, tail)
		}
	}},
	{"insideMessage", func(f *fixture) {
		f.create("s", streamOf(json, `[10, {"a":"b"}]`))
		for _, from := range []protocol.Offset{1, 2, 3, 5, 13} {
			_, err := f.store.Read(f.Context(), "s", from, plenty)
			f.refused(err, protocol.InvalidOffset)
		}
	}},
	{"pastTail", func(f *fixture) {
		for i, contentType := range []string{text, json} {
			name := fmt.Sprintf("s%d", i)
			f.create(name, streamOf(contentType, "123"))
			tail := f.head(name).Tail
			for _, from := range []protocol.Offset{tail + 1, tail + 1000, protocol.MaxOffset} {
				_, err := f.store.Read(f.Context(), name, from, plenty)
				f.refused(err, protocol.InvalidOffset)
			}
			f.read(name, tail, plenty)
		}
	}},
	{"now", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		if p := f.read("s", protocol.Now, plenty); p.from != 3 || len(p.data) != 0 || !p.atTail || p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
		f.accepted("s", closing())
		if p := f.read("s", protocol.Now, plenty); p.from != 3 || len(p.data) != 0 || !p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
	}},
	{"closedOnlyAtEnd", func(f *fixture) {
		f.create("s", streamOf(text, "abcdef"))
		if p := f.read("s", 0, plenty); p.info.Closed || p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
		f.accepted("s", closing())
		if p := f.read("s", 0, 3); !p.info.Closed || p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
		if p := f.read("s", 3, 3); !p.info.Closed || !p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
	}},
	{"missingStream", func(f *fixture) {
		f.gone("s", protocol.NotFound)
		_, err := f.store.Read(f.Context(), "s", protocol.Now, plenty)
		f.refused(err, protocol.NotFound)
	}},
	{"largeStreamByPieces", func(f *fixture) {
		f.create("s", streamOf(binary, ""))
		var b strings.Builder
		for i := range 400 {
			body := strings.Repeat(string(rune(' '+i%90)), 1+i*37%2500)
			f.append("s", binary, body)
			b.WriteString(body)
		}
		content := b.String()
		f.holds("s", content)
		for from := 0; from < len(content); from += 7919 {
			f.checkFragment("s", content, from, 50_000)
		}
	}},
	{"rangesOfChunk", func(f *fixture) {
		content := strings.Repeat("0123456789abcdef", 20_000)
		f.create("s", streamOf(binary, content))
		chunk, err := f.store.Read(f.Context(), "s", 5, 200_000)
		if err != nil {
			f.Fatal(err)
		}
		defer chunk.Close()
		n := chunk.Len()
		for _, r := range [][2]int64{{0, n}, {0, 1}, {n - 1, n}, {7, 7}, {0, 0}, {n, n}, {1000, 150_000}, {n / 2, n}} {
			var b bytes.Buffer
			if err := chunk.WriteRange(&b, r[0], r[1]); err != nil {
				f.Fatal(err)
			}
			if b.String() != content[5+r[0]:5+r[1]] {
				f.Errorf("the range %v holds %s", r, clip(b.String()))
			}
		}
		if err := chunk.WriteRange(failingWriter{}, 0, n); err != io.ErrClosedPipe { //nolint:errorlint // the writer's own
			f.Errorf("a failed write was reported as %v", err)
		}
	}},
	{"chunkIsSnapshot", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		chunk, err := f.store.Read(f.Context(), "s", 0, plenty)
		if err != nil {
			f.Fatal(err)
		}
		f.append("s", text, "def")
		f.accepted("s", closing())
		var b strings.Builder
		if err := chunk.WriteRange(&b, 0, chunk.Len()); err != nil {
			f.Fatal(err)
		}
		if b.String() != "abc" || chunk.Next != 3 || chunk.Info.Tail != 3 || chunk.Info.Closed || !chunk.AtTail() || chunk.AtEnd() {
			f.Errorf("the chunk became %+v %q", chunk, b.String())
		}
		for range 2 {
			if err := chunk.Close(); err != nil {
				f.Error(err)
			}
		}
	}},
}

// failingWriter takes nothing.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// checkFragment reads a byte stream from a position and compares the chunk with
// the stream's whole content.
func (f *fixture) checkFragment(name, content string, from, maxBytes int) {
	f.Helper()
	p := f.read(name, protocol.Offset(from), maxBytes)
	switch {
	case int(p.info.Tail) != len(content):
		f.Fatalf("the tail is %d, want %d", p.info.Tail, len(content))
	case len(p.data) > maxBytes:
		f.Fatalf("a read of %d bytes returned %d", maxBytes, len(p.data))
	case string(p.data) != content[from:p.next]:
		f.Fatalf("%d..%d was read as %q, want %q", from, p.next, clip(string(p.data)), clip(content[from:p.next]))
	}
}

// checkMessages is checkFragment for a JSON stream.
func (f *fixture) checkMessages(name, content string, from, maxBytes int) {
	f.Helper()
	if from > 0 && content[from-1] != '\n' {
		_, err := f.store.Read(f.Context(), name, protocol.Offset(from), maxBytes)
		f.refused(err, protocol.InvalidOffset)
		return
	}
	p := f.read(name, protocol.Offset(from), maxBytes)
	got := string(p.data)
	switch {
	case int(p.info.Tail) != len(content):
		f.Fatalf("the tail is %d, want %d", p.info.Tail, len(content))
	case got != content[from:p.next]:
		f.Fatalf("%d..%d was read as %q, want %q", from, p.next, clip(got), clip(content[from:p.next]))
	case got != "" && !strings.HasSuffix(got, ",\n"):
		f.Fatalf("a read of %d bytes at %d ends inside a message: %q", maxBytes, from, clip(got))
	case len(got) > maxBytes && strings.Count(got, "\n") != 1:
		f.Fatalf("a read of %d bytes returned %d", maxBytes, len(got))
	}
}
