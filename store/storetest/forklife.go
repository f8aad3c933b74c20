package storetest

import (
	"fmt"
	"slices"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var forkLifeTests = []test{
	{"deletedSourceIsGone", func(f *fixture) {
		f.create("a", streamOf(text, "abc"))
		f.fork("b", atTail("a"))
		f.delete("a")
		f.gone("a", protocol.Gone)
		_, err := f.post("a", closing())
		f.refused(err, protocol.Gone)
		f.holds("b", "abc")
	}},
	{"blocksNameUntilLastForkGoes", func(f *fixture) {
		f.create("a", streamOf(text, "abc"))
		f.fork("b", atTail("a"))
		f.fork("c", atTail("a"))
		f.delete("a")
		f.blocked("a")
		f.delete("b")
		f.blocked("a")
		f.holds("c", "abc")
		f.delete("c")
		f.free("a")
		f.holds("a", "new")
	}},
	{"lastForkFirst", func(f *fixture) {
		f.create("a", streamOf(text, "abc"))
		f.fork("b", atTail("a"))
		f.delete("b")
		f.holds("a", "abc") // a live source stays
		f.delete("a")
		f.gone("a", protocol.NotFound) // at once, since nothing holds it
		f.create("a", streamOf(text, ""))
	}},
	{"cascades", func(f *fixture) {
		names := []string{"a", "b", "c", "d", "e"}
		f.create("a", streamOf(text, "a"))
		for i, name := range names[1:] {
			f.fork(name, atTail(names[i]))
			f.append(name, text, name)
		}
		for _, name := range names[:4] {
			f.delete(name)
			f.blocked(name)
		}
		f.holds("e", "abcde")
		f.delete("e")
		for _, name := range names {
			f.free(name)
		}
	}},
	{"cascadeStopsAtLiveStream", func(f *fixture) {
		f.create("a", streamOf(text, "a"))
		f.fork("b", atTail("a"))
		f.fork("c", atTail("b"))
		f.fork("d", atTail("c"))
		f.delete("a")
		f.delete("c")
		f.delete("d")
		f.free("c")
		f.holds("b", "a")
		f.blocked("a")
		f.delete("b")
		f.free("b")
		f.free("a")
	}},
	{"cascadeStopsAtOtherFork", func(f *fixture) {
		f.create("a", streamOf(text, "a"))
		f.fork("b", atTail("a"))
		f.fork("c", atTail("b"))
		f.fork("other", atTail("b"))
		f.delete("a")
		f.delete("b")
		f.delete("c")
		f.blocked("a")
		f.blocked("b")
		f.holds("other", "a")
		f.delete("other")
		f.free("a")
		f.free("b")
	}},
	{"forkPointCountsNotBytes", func(f *fixture) {
		// A fork that inherits nothing is a fork all the same.
		f.create("a", streamOf(text, "abc"))
		f.fork("b", atOffset("a", 0))
		f.delete("a")
		f.blocked("a")
		f.delete("b")
		f.free("a")
	}},
	{"namesTakeTurns", func(f *fixture) {
		// Each name becomes a fork of what the other one was before.
		f.create("a", streamOf(text, "1"))
		f.fork("b", atTail("a"))
		for i := range 6 {
			from, to := "b", "a"
			if i%2 == 1 {
				from, to = to, from
			}
			f.delete(to)
			f.blocked(to)
			f.append(from, text, fmt.Sprint(i))
			content := f.all(from)
			f.fork("spare", atTail(from))
			f.delete(from)
			f.holds("spare", content)
			f.delete("spare")
			f.free(to)
			f.free(from)
			f.delete(to)
			f.delete(from)
			f.create(from, streamOf(text, content))
			f.fork(to, atTail(from))
		}
	}},
	{"softDeletedStreamIsNotListed", func(f *fixture) {
		f.create("a", streamOf(text, "abc"))
		f.fork("b", atTail("a"))
		f.delete("a")
		infos, err := f.store.List(f.Context(), "", "", 10)
		if err != nil || !slices.Equal(namesOf(infos), []string{"b"}) {
			f.Errorf("List returned %v, %v", infos, err)
		}
	}},
}

// blocked demands that a name belongs to a soft-deleted stream.
func (f *fixture) blocked(name string) {
	f.Helper()
	_, _, err := f.put(name, streamOf(text, "new"))
	f.refused(err, protocol.NameBlocked)
	f.gone(name, protocol.Gone)
}

// free demands that a name becomes free, which may happen late (§4.2), and
// creates a stream "new" there.
func (f *fixture) free(name string) {
	f.Helper()
	f.eventually("the name "+name+" is free", func() bool {
		_, created, err := f.put(name, streamOf(text, "new"))
		if !created {
			f.refused(err, protocol.NameBlocked)
		}
		return created
	})
}
