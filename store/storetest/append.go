package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

var appendTests = []test{
	{"addsBytesAtTail", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		want := ""
		for _, body := range []string{"a", "bc", "\x00\r\n\xff", "def"} {
			want += body
			res := f.append("s", text, body)
			if res.Tail != protocol.Offset(len(want)) || res.Closed || res.Producer != nil {
				f.Fatalf("Append returned %+v, want the tail %d", res, len(want))
			}
		}
		f.holds("s", want)
	}},
	{"separatesJSONMessages", func(f *fixture) {
		f.create("s", streamOf(json, ""))
		f.append("s", json, `{"n": 1.00}`)
		f.append("s", json, `["x", [ ], null]`)
		f.holds("s", "{\"n\":1.00},\n\"x\",\n[],\nnull,\n")
	}},
	{"keepsLargeBodies", func(f *fixture) {
		f.create("s", streamOf(binary, ""))
		var want strings.Builder
		for i, size := range []int{1 << 20, 1, 100_000, 65_536, 16_384, 3} {
			body := strings.Repeat(string(rune('a'+i)), size)
			want.WriteString(body)
			f.append("s", binary, body)
		}
		f.holds("s", want.String())
	}},
	{"leavesBodyAlone", func(f *fixture) {
		// An engine may keep a body, but others may hold the same bytes.
		for i, size := range []int{10, 1000, 30_000, 300_000} {
			backing := []byte(strings.Repeat("b", size) + strings.Repeat("-", size/9))
			r := protocol.AppendRequest{ContentType: binary, Body: backing[:size]}
			first, second := fmt.Sprintf("first%d", i), fmt.Sprintf("second%d", i)
			for _, name := range []string{first, second} {
				f.create(name, protocol.CreateRequest{ContentType: binary, Body: r.Body})
				f.accepted(name, r)
				f.append(name, binary, name)
			}
			f.holds(first, strings.Repeat("b", 2*size)+first)
			f.holds(second, strings.Repeat("b", 2*size)+second)
			if got := string(backing[size:]); got != strings.Repeat("-", size/9) {
				f.Fatalf("the bytes behind a body of %d became %s", size, clip(got))
			}
		}
	}},
	{"missingStream", func(f *fixture) {
		_, err := f.post("s", appendOf(text, "x"))
		f.refused(err, protocol.NotFound)
		_, err = f.post("s", closing())
		f.refused(err, protocol.NotFound)
	}},
	{"contentType", appendContentType},
	{"precedence", appendPrecedence},
	{"streamSeq", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		want := ""
		for _, c := range []struct {
			clause, seq string
			ok          bool
		}{
			{"first", "b", true},
			{"equal", "b", false},
			{"less", "a", false},
			{"greater", "c", true},
			{"none leaves it", "", true},
			{"still compared with the last", "c", false},
			{"longer is greater", "c0", true},
			{"compared as bytes", "Z", false},
			{"compared as bytes, not numbers", "d9", true},
			{"", "d10", false},
			{"beyond ASCII", "é", true},
		} {
			r := appendOf(text, "x")
			r.Seq = c.seq
			_, err := f.post("s", r)
			if !c.ok {
				f.refused(err, protocol.SeqRegression)
			} else if err != nil {
				f.Fatalf("%s: Stream-Seq %q: %v", c.clause, c.seq, err)
			} else {
				want += "x"
			}
		}
		f.holds("s", want)
	}},
	{"expectedOffset", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		for _, expected := range []protocol.Offset{0, 2, 4} {
			refusal := f.refusedAppend("s", expecting(expected, appendOf(text, "x")), protocol.OffsetMismatch)
			if refusal.Tail != 3 || refusal.Closed {
				f.Errorf("the refusal says tail %d, closed %v", refusal.Tail, refusal.Closed)
			}
		}
		f.accepted("s", expecting(3, appendOf(text, "d")))
		f.refusedAppend("s", expecting(3, appendOf(text, "d")), protocol.OffsetMismatch)
		f.refusedAppend("s", expecting(3, closing()), protocol.OffsetMismatch)
		f.accepted("s", expecting(4, closing()))
		f.holds("s", "abcd")
	}},
	{"expectedOffsetHasOneWinner", appendCompareAndAppend},
	{"cancelledContextIsNoRefusal", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		ctx, cancel := context.WithCancel(f.Context())
		cancel()
		for seq := range int64(20) {
			r := by("p", 0, seq, appendOf(text, "x"))
			r.Now = f.clock.Now()
			if _, err := f.store.Append(ctx, "s", r); err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
				f.Fatalf("Append with a cancelled context: %v", err)
			}
			// The producer finds out by retrying (§5.2.1).
			if _, err := f.post("s", r); err != nil {
				f.Fatalf("the retry: %v", err)
			}
		}
		f.holds("s", strings.Repeat("x", 20))
	}},
}

// refusedAppend sends an append that must be refused and change nothing.
func (f *fixture) refusedAppend(name string, r protocol.AppendRequest, code protocol.Code) *protocol.Refusal {
	f.Helper()
	before := f.head(name)
	_, err := f.post(name, r)
	refusal := f.refused(err, code)
	if after := f.head(name); after.Tail != before.Tail || after.Closed != before.Closed {
		f.Fatalf("a refused append changed the stream from %+v to %+v", before, after)
	}
	return refusal
}

func expecting(tail protocol.Offset, r protocol.AppendRequest) protocol.AppendRequest {
	r.Expected, r.HasExpected = tail, true
	return r
}

func appendContentType(f *fixture) {
	f.create("s", streamOf("text/plain; charset=utf-8", ""))
	for _, contentType := range []string{"text/plain", "TEXT/PLAIN", "text/plain;charset=latin1"} {
		f.append("s", contentType, "x")
	}
	for _, contentType := range []string{"text/html", "text/plainer", json, binary} {
		r := appendOf(contentType, "1")
		f.refusedAppend("s", r, protocol.ContentTypeMismatch)
		r.Close = true
		f.refusedAppend("s", r, protocol.ContentTypeMismatch)
	}
	// A close-only request is not refused for its type (§5.2).
	f.accepted("s", protocol.AppendRequest{ContentType: json, Close: true})
	f.holds("s", "xxx")
}

// appendPrecedence is the list of §5.2, "Error Precedence": closed, then content
// type, then sequence regression.
func appendPrecedence(f *fixture) {
	seq := func(s string, r protocol.AppendRequest) protocol.AppendRequest {
		r.Seq = s
		return r
	}
	f.create("open", streamOf(text, ""))
	f.accepted("open", seq("m", appendOf(text, "x")))
	f.create("closed", streamOf(text, ""))
	f.accepted("closed", by("p", 1, 0, seq("m", appendOf(text, "x"))))
	f.accepted("closed", closing())
	for _, c := range []struct {
		clause, name string
		r            protocol.AppendRequest
		want         protocol.Code
	}{
		{"closed", "closed", appendOf(text, "x"), protocol.StreamClosed},
		{"closed beats content type", "closed", appendOf(json, "1"), protocol.StreamClosed},
		{"closed beats invalid JSON", "closed", appendOf(json, "{"), protocol.StreamClosed},
		{"closed beats sequence regression", "closed", seq("a", appendOf(text, "x")), protocol.StreamClosed},
		{"closed beats expected offset", "closed", expecting(7, appendOf(text, "x")), protocol.StreamClosed},
		{"closed beats stale epoch", "closed", by("p", 0, 0, appendOf(text, "x")), protocol.StreamClosed},
		{"closed beats duplicate", "closed", by("p", 1, 0, appendOf(text, "x")), protocol.StreamClosed},
		{"closed beats all", "closed", by("p", 0, 9, seq("a", appendOf(json, "{"))), protocol.StreamClosed},
		{"content type beats sequence regression", "open", seq("a", appendOf(json, "1")), protocol.ContentTypeMismatch},
		{"content type beats invalid JSON", "open", appendOf(json, "{"), protocol.ContentTypeMismatch},
		{"content type beats sequence gap", "open", by("p", 0, 5, appendOf(json, "1")), protocol.ContentTypeMismatch},
		{"sequence regression", "open", seq("a", appendOf(text, "x")), protocol.SeqRegression},
	} {
		f.sub(c.clause, func(f *fixture) {
			refusal := f.refusedAppend(c.name, c.r, c.want)
			if c.want == protocol.StreamClosed && (refusal.Tail != 1 || !refusal.Closed) {
				f.Errorf("the refusal says tail %d, closed %v", refusal.Tail, refusal.Closed)
			}
		})
	}
}

// appendCompareAndAppend lets writers race for every tail.
func appendCompareAndAppend(f *fixture) {
	const workers, wins = 6, 60
	f.create("s", streamOf(text, ""))
	var mu sync.Mutex
	winners := make(map[protocol.Offset]string)
	f.parallel(workers, func(i int) error {
		for n := 0; ; n++ {
			info, err := f.store.Head(f.Context(), "s")
			if err != nil {
				return err
			}
			body := fmt.Sprintf("%d.%d;", i, n)
			res, err := f.post("s", expecting(info.Tail, appendOf(text, body)))
			if hasCode(err, protocol.OffsetMismatch) {
				continue
			}
			if err != nil {
				return err
			}
			if res.Tail != info.Tail+protocol.Offset(len(body)) {
				return fmt.Errorf("expected %d, appended %d bytes, tail %d", info.Tail, len(body), res.Tail)
			}
			mu.Lock()
			other, taken := winners[info.Tail]
			winners[info.Tail] = body
			count := len(winners)
			mu.Unlock()
			if taken {
				return fmt.Errorf("%q and %q both won at %d", other, body, info.Tail)
			}
			if count >= wins {
				return nil
			}
		}
	})
	want := ""
	for range winners {
		want += winners[protocol.Offset(len(want))]
	}
	f.holds("s", want)
}
