package storetest

import (
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// durableTTL restarts in the middle of a TTL: the stream lives at least as long
// as without a restart, and at most the renewal slack longer.
func durableTTL(f *durableFixture) {
	e := ttl(1000)
	f.create("read", lasting(e, "abc"))
	f.create("written", lasting(e, "abc"))
	f.create("unused", lasting(e, "abc"))
	f.clock.advance(900 * second)
	f.holds("read", "abc")
	f.append("written", text, "def")
	f.restart()
	f.clock.advance(100*second - 1)
	f.head("unused")
	f.clock.advance(e.RenewalSlack() + 1)
	f.gone("unused", protocol.NotFound)
	f.clock.advance(900*second - e.RenewalSlack() - 1)
	f.head("read")
	f.head("written")
	f.restart()
	f.head("read")
	f.head("written")
	f.clock.advance(e.RenewalSlack() + 1)
	f.gone("read", protocol.NotFound)
	f.gone("written", protocol.NotFound)
	// After a restart a TTL still slides.
	f.create("s", lasting(e, "abc"))
	f.restart()
	for range 5 {
		f.clock.advance(900 * second)
		f.holds("s", "abc")
	}
}

// durableRenewal keeps a stream alive by nothing but reads.
func durableRenewal(f *durableFixture) {
	e := ttl(1000)
	f.create("s", lasting(e, "abc"))
	for i := range 12 {
		for range 3 {
			f.clock.advance(300 * second)
			f.holds("s", "abc")
		}
		if i%2 == 0 {
			f.restart()
		}
		f.clock.advance(999 * second)
		f.holds("s", "abc")
	}
	_, stop := f.store.Watch("s")
	f.clock.advance(5000 * second)
	stop()
	f.restart()
	f.clock.advance(999 * second)
	f.holds("s", "abc")
}

func durableExpiresAt(f *durableFixture) {
	end := f.clock.Now().Add(100 * second)
	f.create("s", lasting(protocol.Expiry{At: end}, "abc"))
	for range 3 {
		f.clock.advance(25 * second)
		f.append("s", text, "x")
		f.restart()
		if got := f.head("s").ExpiresAt; !got.Equal(end) {
			f.Fatalf("the stream ends at %v, want %v", got, end)
		}
	}
	f.clock.advance(25*second - 1)
	f.holds("s", "abcxxx")
	f.clock.advance(1)
	f.gone("s", protocol.NotFound)
	f.restart()
	f.gone("s", protocol.NotFound)
}

// durableExpiredMeanwhile lets streams expire while no store is open.
func durableExpiredMeanwhile(f *durableFixture) {
	f.create("s", lasting(ttl(10), "old"))
	old := f.create("again", lasting(ttl(10), "old"))
	f.create("source", lasting(ttl(10), "abc"))
	f.forkWith("fork", atTail("source"), protocol.CreateRequest{Expiry: ttl(100_000)}, "+own")
	f.create("held", streamOf(text, "held"))
	f.forkWith("brief", atTail("held"), protocol.CreateRequest{Expiry: ttl(10)}, "")
	f.delete("held")
	f.create("stays", streamOf(text, "abc"))
	f.end()
	f.clock.advance(time.Hour)
	f.open()
	f.gone("s", protocol.NotFound)
	if info := f.create("again", streamOf(text, "new")); info.ID == old.ID {
		f.Errorf("the ID %d was used again", info.ID)
	}
	f.holds("again", "new")
	f.holds("fork", "abc+own")
	_, _, err := f.put("source", streamOf(text, ""))
	f.refused(err, protocol.NameBlocked)
	f.gone("brief", protocol.NotFound)
	f.free("held")
	f.holds("stays", "abc")
	f.restart()
	f.gone("s", protocol.NotFound)
	f.holds("again", "new")
	f.holds("fork", "abc+own")
	f.holds("held", "new")
	f.delete("fork")
	f.free("source")
}
