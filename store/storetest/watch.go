package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var watchTests = []test{
	{"wakesOnChange", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		for _, c := range []struct {
			clause string
			change func(f *fixture)
		}{
			{"append", func(f *fixture) { f.append("s", text, "x") }},
			{"close", func(f *fixture) { f.accepted("s", closing()) }},
			{"soft deletion", func(f *fixture) { f.delete("s") }},
		} {
			f.sub(c.clause, func(f *fixture) {
				if c.clause == "soft deletion" {
					f.fork("f", atTail("s"))
				}
				first, stop1 := f.store.Watch("s")
				second, stop2 := f.store.Watch("s")
				c.change(f)
				f.woken(first)
				f.woken(second)
				stop1()
				stop2()
			})
		}
	}},
	{"wakesOnDeletion", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		changed, stop := f.store.Watch("s")
		f.delete("s")
		f.woken(changed)
		stop()
	}},
	{"wakesOnExpiry", func(f *fixture) {
		f.create("s", lasting(protocol.Expiry{At: f.clock.Now().Add(second)}, ""))
		f.forkWith("f", atTail("s"), protocol.CreateRequest{Expiry: ttl(100)}, "")
		changed, stop := f.store.Watch("s")
		defer stop()
		f.clock.advance(second)
		f.woken(changed)
	}},
	{"sleepsOtherwise", func(f *fixture) {
		f.create("s", streamOf(text, "abc"))
		f.create("t", streamOf(text, ""))
		f.fork("f", atTail("s"))
		f.accepted("s", by("p", 0, 0, appendOf(text, "x")))
		changed, stop := f.store.Watch("s")
		defer stop()
		inherited, stopInherited := f.store.Watch("f")
		defer stopInherited()
		f.head("s")
		f.all("s")
		f.duplicate("s", by("p", 0, 0, appendOf(text, "x")), 0, 0)
		f.refusedAppend("s", by("p", 0, 2, appendOf(text, "x")), protocol.SequenceGap)
		f.append("t", text, "x")
		f.fork("g", atTail("s"))
		f.delete("t")
		if isClosed(changed) {
			f.Error("the watcher was woken although the stream did not change")
		}
		// Appends to the source do not wake the fork (§5.7).
		f.append("s", text, "y")
		f.woken(changed)
		if isClosed(inherited) {
			f.Error("the fork's watcher was woken by a change of the source")
		}
	}},
	{"stopLeavesOtherWatchers", func(f *fixture) {
		f.create("s", streamOf(text, ""))
		_, stop1 := f.store.Watch("s")
		changed, stop2 := f.store.Watch("s")
		stop1()
		f.append("s", text, "x")
		f.woken(changed)
		_, stop3 := f.store.Watch("s")
		stop2()
		stop3()
		changed, stop4 := f.store.Watch("s")
		f.append("s", text, "x")
		f.woken(changed)
		stop4()
	}},
	{"missingStream", func(f *fixture) {
		_, stop := f.store.Watch("s")
		f.create("s", streamOf(text, ""))
		changed, stop2 := f.store.Watch("s")
		stop()
		f.append("s", text, "x")
		f.woken(changed)
		stop2()
		// A watch of the missing one keeps no TTL from running.
		_, stop3 := f.store.Watch("t")
		f.create("t", lasting(ttl(10), ""))
		f.clock.advance(10 * second)
		f.gone("t", protocol.NotFound)
		stop3()
	}},
	{"stopAfterStreamWasReplaced", func(f *fixture) {
		f.create("s", lasting(ttl(10), ""))
		_, stop := f.store.Watch("s")
		f.delete("s")
		f.create("s", lasting(ttl(10), ""))
		_, stopNew := f.store.Watch("s")
		stop() // the old one's: the new one is still watched
		f.clock.advance(100 * second)
		f.head("s")
		stopNew()
		f.clock.advance(10 * second)
		f.gone("s", protocol.NotFound)
	}},
	{"losesNoWakeUp", watchLosesNoWakeUp},
}

// woken demands that a channel gets closed.
func (f *fixture) woken(changed <-chan struct{}) {
	f.Helper()
	if err := await(changed); err != nil {
		f.Fatal(err)
	}
}

func await(changed <-chan struct{}) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-changed:
		return nil
	case <-timeout.C:
		return errors.New("a watcher was not woken")
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// watchLosesNoWakeUp runs readers as the server does: watch, read, wait. The
// writer appends as soon as all of them have the last bytes, which is while they
// are on their way to the next wait.
func watchLosesNoWakeUp(f *fixture) {
	const readers, appends = 4, 1500
	f.create("s", streamOf(text, ""))
	got := make(chan struct{}, readers)
	f.parallel(readers+1, func(i int) error {
		if i == readers {
			for n := range appends {
				r := appendOf(text, "x")
				r.Close = n == appends-1
				if _, err := f.post("s", r); err != nil {
					return err
				}
				for range readers {
					if err := await(got); err != nil {
						return fmt.Errorf("after append %d: %w", n, err)
					}
				}
			}
			return nil
		}
		return follow(f, "s", func([]byte) { got <- struct{}{} })
	})
}

// follow reads a stream from its start to its end, as a live reader does.
func follow(f *fixture, name string, receive func([]byte)) error {
	for pos := protocol.Start; ; {
		changed, stop := f.store.Watch(name)
		p, err := readFragment(f.Context(), f.store, name, pos, plenty)
		if err == nil && len(p.data) == 0 && !p.atEnd {
			err = await(changed)
		}
		stop()
		if err != nil {
			return err
		}
		if len(p.data) > 0 {
			receive(p.data)
		}
		if p.atEnd {
			return nil
		}
		pos = p.next
	}
}
