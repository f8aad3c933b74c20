package storetest

import (
	"sync/atomic"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var closureTests = []test{
	{"withoutBody", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		if res := f.accepted("s", closing()); res.Tail != 3 || !res.Closed {
			f.Errorf("Append returned %+v", res)
		}
		if info := f.head("s"); !info.Closed || info.Tail != 3 {
			f.Errorf("Head returned %+v", info)
		}
	}},
	{"withLastBody", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		r := appendOf(text, "def")
		r.Close = true
		if res := f.accepted("s", r); res.Tail != 6 || !res.Closed {
			f.Errorf("Append returned %+v", res)
		}
		if p := f.read("s", 3, plenty); string(p.data) != "def" || !p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
		// It is not idempotent without a producer (§5.2).
		f.refusedAppend("s", r, protocol.StreamClosed)
	}},
	{"closeOnlyIsIdempotent", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		f.accepted("s", closing())
		for range 2 {
			res, err := f.post("s", closing())
			if err != nil || res.Outcome != protocol.AlreadyClosed || res.Tail != 3 || !res.Closed {
				f.Errorf("Append returned %+v, %v", res, err)
			}
		}
	}},
	{"emptyStream", func(f *fixture) {
		f.create("s", streamOf(json, ""))
		f.accepted("s", closing())
		if p := f.read("s", 0, plenty); len(p.data) != 0 || !p.atEnd {
			f.Errorf("Read returned %+v", p)
		}
	}},
	{"closingRequestIsDeduplicated", func(f *fixture) {
		for _, c := range []struct {
			name string
			last protocol.AppendRequest
			want string
		}{
			{"with-body", appendOf(text, "z"), "az"},
			{"without-body", closing(), "a"},
		} {
			f.create(c.name, streamOf(text, ""))
			f.accepted(c.name, by("p", 2, 0, appendOf(text, "a")))
			last := by("p", 2, 1, c.last)
			last.Close = true
			if res := f.accepted(c.name, last); !res.Closed {
				f.Errorf("Append returned %+v", res)
			}
			f.duplicate(c.name, last, 2, 1)
			for _, r := range []protocol.AppendRequest{
				by("p", 2, 0, appendOf(text, "a")), // an earlier request of the closer
				by("p", 2, 2, appendOf(text, "b")),
				by("p", 3, 0, closing()),
				by("q", 2, 1, closing()),
				appendOf(text, "b"),
			} {
				refusal := f.refusedAppend(c.name, r, protocol.StreamClosed)
				if !refusal.Closed || refusal.Tail != protocol.Offset(len(c.want)) {
					f.Errorf("the refusal says tail %d, closed %v", refusal.Tail, refusal.Closed)
				}
			}
			f.duplicate(c.name, last, 2, 1)
			f.holds(c.name, c.want)
		}
	}},
	{"closedByAnotherIsNoDuplicate", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		f.accepted("s", by("p", 0, 0, appendOf(text, "a")))
		f.accepted("s", closing())
		f.refusedAppend("s", by("p", 0, 0, appendOf(text, "a")), protocol.StreamClosed)
	}},
	{"concurrentClosersAndWriters", func(f *fixture) {
		for range 30 {
			f.create("s", streamOf(text, ""))
			var appended, closed atomic.Int64
			f.parallel(6, func(i int) error {
				r := appendOf(text, "x")
				if i%3 == 0 {
					r = closing()
				}
				res, err := f.post("s", r)
				switch {
				case hasCode(err, protocol.StreamClosed):
					return nil
				case err == nil && r.Close && res.Outcome == protocol.Appended:
					closed.Add(1)
				case err == nil && !r.Close:
					appended.Add(1)
				}
				return err
			})
			if n := closed.Load(); n != 1 {
				f.Fatalf("%d requests closed the stream", n)
			}
			if tail := f.head("s").Tail; tail != protocol.Offset(appended.Load()) {
				f.Fatalf("%d bytes were appended, the tail is %d", appended.Load(), tail)
			}
			f.delete("s")
		}
	}},
}
