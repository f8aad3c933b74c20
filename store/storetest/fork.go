package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// forkOf is a fork's divergence point: at the source's tail if none is set.
type forkOf struct {
	source string
	offset protocol.Offset
	sub    int64
	tail   bool
}

func atTail(source string) forkOf { return forkOf{source: source, tail: true} }

func atOffset(source string, offset protocol.Offset) forkOf {
	return forkOf{source: source, offset: offset}
}

func atSub(source string, offset protocol.Offset, sub int64) forkOf {
	return forkOf{source: source, offset: offset, sub: sub}
}

// putFork sends a fork's creation as the server does: what only the source
// knows is looked up first.
func (f *fixture) putFork(name string, from forkOf, r protocol.CreateRequest, body string) (store.Info, bool, error) {
	r, err := f.resolved(from, r, body)
	if err != nil {
		return store.Info{}, false, err
	}
	return f.put(name, r)
}

// resolved completes a fork's creation.
func (f *fixture) resolved(from forkOf, r protocol.CreateRequest, body string) (protocol.CreateRequest, error) {
	r.Fork = &protocol.ForkRequest{Source: from.source, Offset: from.offset, SubOffset: from.sub, HasOffset: !from.tail}
	contentType, err := store.ResolveFork(f.Context(), f.store, &r)
	if err == nil {
		r.SetBody([]byte(body), contentType)
	}
	return r, err
}

// fork creates a fork that does not exist yet.
func (f *fixture) fork(name string, from forkOf) store.Info {
	f.Helper()
	return f.forkWith(name, from, protocol.CreateRequest{}, "")
}

func (f *fixture) forkWith(name string, from forkOf, r protocol.CreateRequest, body string) store.Info {
	f.Helper()
	info, created, err := f.putFork(name, from, r, body)
	if err != nil || !created {
		f.Fatalf("forking %q from %+v: created %v, error %v; want a new stream", name, from, created, err)
	}
	return info
}

var forkTests = []test{
	{"atEveryOffset", func(f *fixture) {
		content := ""
		f.create("s", streamOf(text, ""))
		for i := range 12 {
			body := strings.Repeat(string(rune('a'+i)), 1+i%4)
			f.append("s", text, body)
			content += body
		}
		for at := range len(content) + 1 {
			name := fmt.Sprintf("f%d", at)
			info := f.fork(name, atOffset("s", protocol.Offset(at)))
			if info.Tail != protocol.Offset(at) || info.ContentType != text {
				f.Fatalf("the fork at %d is %+v", at, info)
			}
			f.append(name, text, "+own")
			f.holds(name, content[:at]+"+own")
		}
		f.holds("s", content)
	}},
	{"atTailByDefault", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		f.fork("f", atTail("s"))
		f.append("s", text, "def")
		f.holds("f", "abc")
		f.create("empty", streamOf(text, ""))
		f.fork("g", atTail("empty"))
		f.holds("g", "")
	}},
	{"withBody", func(f *fixture) {
		f.create("s", streamOf(json, "[1,2]"))
		info := f.forkWith("f", atOffset("s", 3), protocol.CreateRequest{}, `[{"own": 1}, 4]`)
		if info.Tail != 3+11+3 {
			f.Errorf("the fork is %+v", info)
		}
		f.holds("f", "1,\n{\"own\":1},\n4,\n")
		_, _, err := f.putFork("g", atTail("s"), protocol.CreateRequest{}, `{`)
		f.refused(err, protocol.InvalidJSON)
		f.gone("g", protocol.NotFound)
	}},
	{"subOffsetCountsBytes", func(f *fixture) {
		f.create("s", streamOf(binary, "abcdef"))
		for sub := range int64(5) {
			name := fmt.Sprintf("f%d", sub)
			f.fork(name, atSub("s", 2, sub))
			f.holds(name, "abcdef"[:2+sub])
		}
		_, _, err := f.putFork("g", atSub("s", 2, 5), protocol.CreateRequest{}, "")
		f.refused(err, protocol.InvalidForkPoint)
		_, _, err = f.putFork("g", atSub("s", 2, 1<<62), protocol.CreateRequest{}, "")
		f.refused(err, protocol.InvalidForkPoint)
	}},
	{"subOffsetCountsMessages", forkJSONSubOffsets},
	{"errors", forkErrors},
	{"refusedForkHoldsNoReference", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		f.create("taken", streamOf(text, ""))
		for _, try := range []struct {
			name string
			from forkOf
			r    protocol.CreateRequest
		}{
			{"f", atOffset("s", 4), protocol.CreateRequest{}},
			{"f", atOffset("s", 1), protocol.CreateRequest{ContentType: json}},
			{"f", atOffset("s", 1), protocol.CreateRequest{BodyRefusal: &protocol.Refusal{Code: protocol.InvalidJSON}}},
			{"taken", atOffset("s", 1), protocol.CreateRequest{}},
		} {
			_, _, err := f.putFork(try.name, try.from, try.r, "")
			f.refused(err, protocol.InvalidForkPoint, protocol.ContentTypeMismatch, protocol.InvalidJSON, protocol.ConfigMismatch)
		}
		f.delete("s")
		f.create("s", streamOf(text, "free")) // a reference would block the name
	}},
	{"idempotent", forkIdempotent},
	{"closedSourceForksOpen", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		f.accepted("s", by("p", 0, 0, closing()))
		if info := f.fork("f", atOffset("s", 2)); info.Closed {
			f.Errorf("the fork is %+v", info)
		}
		f.append("f", text, "!")
		f.holds("f", "ab!")
		closed := protocol.CreateRequest{Closed: true}
		if info := f.forkWith("g", atTail("s"), closed, "?"); !info.Closed {
			f.Errorf("the fork is %+v", info)
		}
		f.holds("g", "abc?")
	}},
	{"inheritsNoWriterState", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		f.accepted("s", withSeq("m", by("p", 5, 0, appendOf(text, "a"))))
		f.accepted("s", withSeq("n", by("p", 5, 1, appendOf(text, "b"))))
		f.fork("f", atTail("s"))
		f.refusedAppend("f", by("p", 5, 2, appendOf(text, "x")), protocol.SequenceGap)
		f.accepted("f", withSeq("a", by("p", 0, 0, appendOf(text, "c"))))
		f.duplicate("s", by("p", 5, 1, appendOf(text, "b")), 5, 1)
		f.accepted("s", withSeq("o", by("p", 5, 2, appendOf(text, "d"))))
		f.holds("f", "abc")
		f.holds("s", "abd")
	}},
	{"expiry", forkExpiry},
}

func forkJSONSubOffsets(f *fixture) {
	messages := []string{`1`, `{"a":[1,2]}`, `"xyz"`, `[]`, `null`}
	f.create("s", streamOf(json, ""))
	content := ""
	ends := []protocol.Offset{0}
	for _, m := range messages {
		f.append("s", json, "["+m+"]")
		content += m + ",\n"
		ends = append(ends, protocol.Offset(len(content)))
	}
	for from := range ends {
		for sub := range len(ends) - from {
			name := fmt.Sprintf("f%d.%d", from, sub)
			f.fork(name, atSub("s", ends[from], int64(sub)))
			f.append(name, json, `"own"`)
			f.holds(name, content[:ends[from+sub]]+"\"own\",\n")
		}
		_, _, err := f.putFork("g", atSub("s", ends[from], int64(len(ends)-from)), protocol.CreateRequest{}, "")
		f.refused(err, protocol.InvalidForkPoint)
	}
	// Inside a message there is nothing to fork.
	_, _, err := f.putFork("g", atOffset("s", 1), protocol.CreateRequest{}, "")
	f.refused(err, protocol.InvalidOffset, protocol.InvalidForkPoint)
	_, _, err = f.putFork("g", atSub("s", 5, 1), protocol.CreateRequest{}, "")
	f.refused(err, protocol.InvalidOffset, protocol.InvalidForkPoint)
	// Many messages, counted across several reads of the source.
	const many = 50_000
	f.create("long", streamOf(json, "["+strings.Repeat("12345678,", many-1)+"12345678]"))
	f.fork("far", atSub("long", 10, many-2))
	if tail := f.head("far").Tail; tail != 10*(many-1) {
		f.Errorf("the fork's tail is %d, want %d", tail, 10*(many-1))
	}
}

// forkErrors is the table "Fork creation errors" of §4.2.
func forkErrors(f *fixture) {
	f.create("s", streamOf(text, "abc"))
	f.create("gone", streamOf(text, "abc"))
	f.fork("heir", atTail("gone"))
	f.delete("gone")
	f.create("taken", streamOf(text, "abc"))
	for _, c := range []struct {
		clause, name string
		from         forkOf
		contentType  string
		want         protocol.Code
	}{
		{"source not found", "f", atTail("none"), "", protocol.SourceNotFound},
		{"source is itself", "f", atTail("f"), "", protocol.SourceNotFound},
		{"source soft-deleted", "f", atTail("gone"), "", protocol.SourceGone},
		{"offset beyond the tail", "f", atOffset("s", 4), "", protocol.InvalidForkPoint},
		{"sub-offset beyond the tail", "f", atSub("s", 3, 1), "", protocol.InvalidForkPoint},
		{"content type differs", "f", atTail("s"), json, protocol.ContentTypeMismatch},
		{"target in use", "taken", atTail("s"), "", protocol.ConfigMismatch},
		{"target is the source", "s", atTail("s"), "", protocol.ConfigMismatch},
		{"target soft-deleted", "gone", atTail("s"), "", protocol.NameBlocked},
	} {
		f.sub(c.clause, func(f *fixture) {
			_, _, err := f.putFork(c.name, c.from, protocol.CreateRequest{ContentType: c.contentType}, "")
			f.refused(err, c.want)
		})
	}
	f.gone("f", protocol.NotFound)
	f.forkWith("same-type", atTail("s"), protocol.CreateRequest{ContentType: "TEXT/plain; charset=utf-8"}, "")
}

func forkIdempotent(f *fixture) {
	f.create("s", streamOf(text, "abc"))
	f.create("other", streamOf(text, "abc"))
	id := f.fork("f", atOffset("s", 1)).ID
	f.append("s", text, "def")
	f.append("f", text, "own")
	f.fork("tail", atTail("s"))
	f.append("s", text, "ghi")
	for _, c := range []struct {
		clause, name string
		from         forkOf
		r            protocol.CreateRequest
		matches      bool
	}{
		{"same", "f", atOffset("s", 1), protocol.CreateRequest{}, true},
		{"type given", "f", atOffset("s", 1), protocol.CreateRequest{ContentType: text}, true},
		{"offset omitted both times", "tail", atTail("s"), protocol.CreateRequest{}, true},
		{"other offset", "f", atOffset("s", 2), protocol.CreateRequest{}, false},
		{"other sub-offset", "f", atSub("s", 1, 1), protocol.CreateRequest{}, false},
		{"other source", "f", atOffset("other", 1), protocol.CreateRequest{}, false},
		{"other type", "f", atOffset("s", 1), protocol.CreateRequest{ContentType: json}, false},
		{"TTL added", "f", atOffset("s", 1), protocol.CreateRequest{Expiry: ttl(5)}, false},
		{"closed", "f", atOffset("s", 1), protocol.CreateRequest{Closed: true}, false},
	} {
		f.sub(c.clause, func(f *fixture) {
			_, created, err := f.putFork(c.name, c.from, c.r, "")
			if !c.matches {
				f.refused(err, protocol.ConfigMismatch)
			} else if err != nil || created {
				f.Fatalf("the repeated fork: created %v, error %v", created, err)
			}
		})
	}
	f.sub("not a fork", func(f *fixture) {
		_, _, err := f.put("f", streamOf(text, ""))
		f.refused(err, protocol.ConfigMismatch)
	})
	f.sub("source deleted since", func(f *fixture) {
		f.delete("s")
		info, created, err := f.putFork("f", atOffset("s", 1), protocol.CreateRequest{}, "")
		if err != nil || created || info.ID != id {
			f.Fatalf("the repeated fork: %+v, %v, %v", info, created, err)
		}
	})
	f.holds("f", "aown")
	// Repetitions hold no further references.
	f.delete("f")
	f.delete("tail")
	f.eventually("the source's name is free", func() bool {
		_, created, _ := f.put("s", streamOf(text, ""))
		return created
	})
}

// forkExpiry is the expiry table of §4.2, all nine rows.
func forkExpiry(f *fixture) {
	at := func(hours int) protocol.Expiry {
		return protocol.Expiry{At: f.clock.Now().Add(time.Duration(hours) * time.Hour)}
	}
	none := protocol.Expiry{}
	for i, c := range []struct {
		clause             string
		source, fork, want protocol.Expiry
	}{
		{"none, none", none, none, none},
		{"none, TTL", none, ttl(60), ttl(60)},
		{"none, Expires-At", none, at(1), at(1)},
		{"TTL, none", ttl(60), none, ttl(60)},
		{"TTL, TTL", ttl(60), ttl(90), ttl(90)},
		{"TTL, Expires-At", ttl(60), at(1), at(1)},
		{"Expires-At, none", at(1), none, at(1)},
		{"Expires-At, TTL", at(1), ttl(60), ttl(60)},
		{"Expires-At, Expires-At", at(1), at(2), at(2)},
	} {
		f.sub(c.clause, func(f *fixture) {
			source, fork := fmt.Sprintf("s%d", i), fmt.Sprintf("f%d", i)
			f.create(source, protocol.CreateRequest{ContentType: text, Expiry: c.source})
			r := protocol.CreateRequest{Expiry: c.fork}
			f.forkWith(fork, atTail(source), r, "")
			info := f.head(fork)
			if !info.Expiry.Equal(c.want) {
				f.Fatalf("the fork's expiry is %+v, want %+v", info.Expiry, c.want)
			}
			if want, ok := c.want.Deadline(f.clock.Now()); ok != !info.ExpiresAt.IsZero() || !info.ExpiresAt.Equal(want) {
				f.Fatalf("the fork ends at %v, want %v", info.ExpiresAt, want)
			}
			if _, created, err := f.putFork(fork, atTail(source), r, ""); created || err != nil {
				f.Fatalf("the repeated fork: %v, %v", created, err)
			}
		})
	}
}
