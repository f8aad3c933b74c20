package storetest

import (
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// lasting returns a text stream with an expiry.
func lasting(e protocol.Expiry, body string) protocol.CreateRequest {
	r := streamOf(text, body)
	r.Expiry = e
	return r
}

const second = time.Second

var expiryTests = []test{
	{"ttlEndsStreamExactly", func(f *fixture) {
		f.create("s", lasting(ttl(10), "abc"))
		f.clock.advance(10*second - 1)
		f.head("s")
		f.clock.advance(1)
		f.gone("s", protocol.NotFound)
	}},
	{"ttlSlides", expirySlides},
	{"ttlOfZeroEndsAtOnce", func(f *fixture) {
		f.create("s", lasting(ttl(0), "abc"))
		f.gone("s", protocol.NotFound)
		f.create("s", lasting(ttl(0), "abc"))
		f.create("s", streamOf(text, "new"))
		f.holds("s", "new")
	}},
	{"expiresAtDoesNotSlide", func(f *fixture) {
		end := f.clock.Now().Add(10 * second)
		f.create("s", lasting(protocol.Expiry{At: end}, "abc"))
		for range 9 {
			f.clock.advance(second)
			f.append("s", text, "x")
			f.all("s")
			if got := f.head("s").ExpiresAt; !got.Equal(end) {
				f.Fatalf("the stream ends at %v, want %v", got, end)
			}
		}
		f.clock.advance(second - 1)
		f.head("s")
		f.clock.advance(1)
		f.gone("s", protocol.NotFound)
	}},
	{"expiresAtInThePast", func(f *fixture) {
		f.create("s", lasting(protocol.Expiry{At: f.clock.Now().Add(-time.Hour)}, "abc"))
		f.gone("s", protocol.NotFound)
	}},
	{"lateRequestShortensNothing", func(f *fixture) {
		// A request whose body took long carries the time at which it arrived.
		f.create("s", lasting(ttl(10), ""))
		late := appendOf(text, "late")
		late.Now = f.clock.Now()
		f.clock.advance(8 * second)
		f.append("s", text, "early ")
		if _, err := f.store.Append(f.Context(), "s", late); err != nil {
			f.Fatal(err)
		}
		f.clock.advance(8 * second)
		f.holds("s", "early late")
	}},
	{"recreatedOverExpired", func(f *fixture) {
		before := f.create("s", lasting(ttl(10), "old"))
		f.accepted("s", withSeq("m", by("p", 3, 0, appendOf(text, "er"))))
		f.clock.advance(10 * second)
		after := f.create("s", lasting(ttl(10), ""))
		if after.ID == before.ID || after.Tail != 0 {
			f.Errorf("the new stream is %+v, the old one was %+v", after, before)
		}
		f.accepted("s", withSeq("a", by("p", 0, 0, appendOf(text, "new"))))
		f.holds("s", "new")
		f.clock.advance(10*second - 1)
		f.holds("s", "new")
	}},
	{"expiredSourceServesForks", func(f *fixture) {
		f.create("s", lasting(ttl(10), "abc"))
		f.forkWith("f", atTail("s"), protocol.CreateRequest{Expiry: ttl(1000)}, "+own")
		f.clock.advance(10 * second)
		f.holds("f", "abc+own")
		_, _, err := f.put("s", streamOf(text, "new"))
		f.refused(err, protocol.NameBlocked)
		f.gone("s", protocol.Gone, protocol.NotFound)
		_, _, err = f.putFork("g", atTail("s"), protocol.CreateRequest{}, "")
		f.refused(err, protocol.SourceGone, protocol.SourceNotFound)
		f.holds("f", "abc+own")
		f.delete("f")
		f.free("s")
	}},
	{"expiredForkReleasesSource", func(f *fixture) {
		f.create("a", streamOf(text, "a"))
		f.fork("b", atTail("a"))
		f.forkWith("c", atTail("b"), protocol.CreateRequest{Expiry: ttl(10)}, "")
		f.delete("a")
		f.delete("b")
		f.blocked("a")
		f.clock.advance(10 * second)
		f.gone("c", protocol.NotFound)
		f.free("a")
		f.free("b")
	}},
	{"inheritedTTLRunsByItself", func(f *fixture) {
		f.create("s", lasting(ttl(10), "abc"))
		f.clock.advance(5 * second)
		f.fork("f", atTail("s"))
		f.clock.advance(4 * second)
		f.all("s") // reading the source does not renew the fork
		f.clock.advance(6 * second)
		f.gone("f", protocol.NotFound)
		f.clock.advance(4*second - 1)
		f.holds("s", "abc")
	}},
	{"readingForkDoesNotRenewSource", func(f *fixture) {
		f.create("s", lasting(ttl(10), "abc"))
		f.forkWith("f", atTail("s"), protocol.CreateRequest{Expiry: ttl(100)}, "")
		for range 4 {
			f.clock.advance(5 * second)
			f.holds("f", "abc")
		}
		f.gone("s", protocol.Gone, protocol.NotFound)
	}},
	{"listLeavesOutExpired", func(f *fixture) {
		f.create("s", lasting(ttl(10), ""))
		f.create("t", lasting(ttl(20), ""))
		f.clock.advance(10 * second)
		infos, err := f.store.List(f.Context(), "", "", 10)
		if err != nil || len(infos) != 1 || infos[0].Name != "t" {
			f.Errorf("List returned %+v, %v", infos, err)
		}
	}},
	{"watchedStreamDoesNotExpire", expiryWatched},
	{"watchedStreamEndsAtExpiresAt", func(f *fixture) {
		f.create("s", lasting(protocol.Expiry{At: f.clock.Now().Add(10 * second)}, ""))
		changed, stop := f.store.Watch("s")
		defer stop()
		f.clock.advance(10 * second)
		f.woken(changed) // though nobody asks for the stream
		f.gone("s", protocol.NotFound)
	}},
	{"allWatchersLearnOfExpiry", func(f *fixture) {
		const n = 40
		var watched []<-chan struct{}
		for i := range n {
			name := time.Duration(i).String()
			end := f.clock.Now().Add(time.Duration(1+i*7%5) * second)
			f.create(name, lasting(protocol.Expiry{At: end}, ""))
			changed, stop := f.store.Watch(name)
			defer stop()
			watched = append(watched, changed)
		}
		f.clock.advance(3 * second)
		for i, changed := range watched {
			if i*7%5 < 3 {
				f.woken(changed)
			} else if isClosed(changed) {
				f.Errorf("watcher %d was woken too early", i)
			}
		}
		f.clock.advance(2 * second)
		for _, changed := range watched {
			f.woken(changed)
		}
	}},
	{"watchFindsNoExpiredStream", func(f *fixture) {
		f.create("s", lasting(ttl(10), ""))
		f.clock.advance(10 * second)
		_, stop := f.store.Watch("s")
		f.gone("s", protocol.NotFound)
		stop()
		f.gone("s", protocol.NotFound)
	}},
	{"manyStreamsExpireTogether", func(f *fixture) {
		const n = 500
		name := func(i int) string { return string(rune('a'+i%26)) + "/" + time.Duration(i).String() }
		for i := range n {
			f.create(name(i), lasting(ttl(10+i%3), ""))
		}
		for left := 3; left >= 0; left-- {
			infos, err := f.store.List(f.Context(), "", "", 2*n)
			want := 0
			for i := range n {
				if i%3 >= 3-left {
					want++
				}
			}
			if err != nil || len(infos) != want {
				f.Fatalf("%d streams are left, want %d: %v", len(infos), want, err)
			}
			f.clock.advance(map[int]time.Duration{3: 10, 2: 1, 1: 1, 0: 0}[left] * second)
		}
		for i := range n {
			f.create(name(i), lasting(ttl(10), ""))
		}
	}},
}

// producerAppend is new once.
var producerAppend = protocol.AppendRequest{
	ContentType: text, Body: []byte("x"), Producer: &protocol.Producer{ID: "p"},
}

// expirySlides tells what is a read or write of a stream (§5.1, §5.5).
func expirySlides(f *fixture) {
	r := lasting(ttl(10), "abc")
	for _, c := range []struct {
		clause string
		uses   int // how often it can be done
		renews bool
		use    func(f *fixture)
	}{
		{"append", 3, true, func(f *fixture) { f.append("s", text, "x") }},
		{"close", 1, true, func(f *fixture) { f.accepted("s", closing()) }},
		{"close again", 3, true, func(f *fixture) {
			for range 2 { // the first may be new, the second is not
				if _, err := f.post("s", closing()); err != nil {
					f.Fatal(err)
				}
			}
		}},
		{"append of a producer again", 3, true, func(f *fixture) {
			for range 2 {
				if _, err := f.post("s", producerAppend); err != nil {
					f.Fatal(err)
				}
			}
		}},
		{"read", 3, true, func(f *fixture) { f.read("s", 0, plenty) }},
		{"read at the tail", 3, true, func(f *fixture) { f.read("s", 3, plenty) }},
		{"read from now", 3, true, func(f *fixture) { f.read("s", protocol.Now, plenty) }},
		{"create again", 3, true, func(f *fixture) {
			if _, created, err := f.put("s", r); created || err != nil {
				f.Fatalf("Create: %v, %v", created, err)
			}
		}},
		{"watch", 3, true, func(f *fixture) {
			_, stop := f.store.Watch("s")
			stop()
		}},
		{"head", 1, false, func(f *fixture) { f.head("s") }},
		{"list", 1, false, func(f *fixture) {
			if _, err := f.store.List(f.Context(), "", "", 10); err != nil {
				f.Fatal(err)
			}
		}},
	} {
		f.sub(c.clause, func(f *fixture) {
			f.create("s", r)
			end := f.clock.Now().Add(10 * second)
			for range c.uses {
				f.clock.advance(7 * second)
				c.use(f)
				if c.renews {
					end = f.clock.Now().Add(10 * second)
				}
				if got := f.head("s").ExpiresAt; !got.Equal(end) {
					f.Fatalf("the stream ends at %v, want %v", got, end)
				}
			}
			f.clock.advance(end.Sub(f.clock.Now()) - 1)
			f.head("s")
			f.clock.advance(1)
			f.gone("s", protocol.NotFound)
		})
	}
}

func expiryWatched(f *fixture) {
	f.create("s", lasting(ttl(10), ""))
	_, stop1 := f.store.Watch("s")
	changed, stop2 := f.store.Watch("s")
	f.clock.advance(time.Hour)
	f.head("s")
	f.append("s", text, "x")
	f.woken(changed) // which does not end the watch: stop does
	f.clock.advance(time.Hour)
	if names := f.listAll("", 10); len(names) != 1 {
		f.Fatalf("List returned %q", names)
	}
	f.head("s")
	stop1()
	f.clock.advance(time.Hour)
	f.head("s")
	stop2()
	f.clock.advance(10*second - 1)
	f.head("s")
	f.clock.advance(1)
	f.gone("s", protocol.NotFound)
}
