package storetest

import (
	"fmt"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Durable is a place where one store after another keeps its data, as the
// processes of one server do.
type Durable interface {
	// Open opens the store that is there, at first an empty one. The suite
	// closes it, or calls Crash, before it opens the next.
	Open(opts Options) (store.Store, error)

	// Crash ends the open store without closing it: what it has not made durable
	// at that instant is lost. It is also called while operations run. Those end,
	// in whatever way; what they answer after Crash was called does not count.
	Crash() error
}

// RunDurable tests what an engine keeps when its process ends: everything that
// was acknowledged. place returns an empty place. Every test runs twice, with
// clean ends and with crashes.
func RunDurable(t *testing.T, place func(t *testing.T) Durable) {
	for _, crash := range []bool{false, true} {
		t.Run(map[bool]string{false: "Reopen", true: "Crash"}[crash], func(t *testing.T) {
			for _, test := range durableTests {
				t.Run(test.name, func(t *testing.T) {
					f := &durableFixture{
						fixture: &fixture{T: t, clock: newClock()},
						place:   place(t),
						crash:   crash,
					}
					f.open()
					t.Cleanup(f.closeStore)
					test.run(f)
				})
			}
		})
	}
}

type durableTest struct {
	name string
	run  func(f *durableFixture)
}

// durableFixture is a test whose store can end and begin again.
type durableFixture struct {
	*fixture
	place Durable
	crash bool
}

func (f *durableFixture) open() {
	f.Helper()
	s, err := f.place.Open(Options{Now: f.clock.Now})
	if err != nil {
		f.Fatalf("Open: %v", err)
	}
	f.store = s
}

// end ends the store as this test does.
func (f *durableFixture) end() {
	f.Helper()
	if f.crash {
		if err := f.place.Crash(); err != nil {
			f.Fatalf("Crash: %v", err)
		}
		return
	}
	if err := f.store.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
}

// restart ends the store and opens it again.
func (f *durableFixture) restart() {
	f.Helper()
	f.end()
	f.open()
}

// same demands that Head describes a stream as before.
func (f *durableFixture) same(want store.Info) {
	f.Helper()
	if got := f.head(want.Name); !sameInfo(got, want) {
		f.Fatalf("the stream was %+v, is %+v", want, got)
	}
}

var durableTests = []durableTest{
	{"emptyStore", func(f *durableFixture) {
		for range 3 {
			f.restart()
			if names := f.listAll("", 10); len(names) != 0 {
				f.Fatalf("List returned %q", names)
			}
		}
		f.create("s", streamOf(text, "abc"))
		f.restart()
		f.holds("s", "abc")
	}},
	{"bytes", durableBytes},
	{"descriptions", durableDescriptions},
	{"manyRestarts", func(f *durableFixture) {
		want := ""
		f.create("s", streamOf(text, ""))
		for i := range 8 {
			body := fmt.Sprintf("%d;", i)
			f.append("s", text, body)
			want += body
			f.restart()
			f.holds("s", want)
			if i%3 == 0 {
				f.restart() // with nothing written in between
				f.holds("s", want)
			}
		}
	}},
	{"manyStreams", func(f *durableFixture) {
		const streams, workers = 2000, 16
		name := func(i int) string { return fmt.Sprintf("n/%04d", i) }
		f.parallel(workers, func(w int) error {
			for i := w; i < streams; i += workers {
				if _, _, err := f.put(name(i), streamOf(text, name(i))); err != nil {
					return err
				}
			}
			return nil
		})
		f.restart()
		if names := f.listAll("", 300); len(names) != streams {
			f.Fatalf("%d streams are left of %d", len(names), streams)
		}
		for i := range streams {
			f.holds(name(i), name(i))
		}
	}},
	{"producers", durableProducers},
	{"streamSeq", func(f *durableFixture) {
		f.create("s", streamOf(text, ""))
		f.accepted("s", withSeq("m", appendOf(text, "a")))
		f.append("s", text, "b")
		f.restart()
		f.refusedAppend("s", withSeq("m", appendOf(text, "x")), codeSeqRegression)
		f.refusedAppend("s", withSeq("a", appendOf(text, "x")), codeSeqRegression)
		f.accepted("s", withSeq("n", appendOf(text, "c")))
		f.restart()
		f.refusedAppend("s", withSeq("n", appendOf(text, "x")), codeSeqRegression)
		f.holds("s", "abc")
	}},
	{"closure", durableClosure},
	{"deletion", durableDeletion},
	{"forks", durableForks},
	{"forkReferences", durableReferences},
	{"ttl", durableTTL},
	{"ttlRenewedByReading", durableRenewal},
	{"expiresAt", durableExpiresAt},
	{"expiredMeanwhile", durableExpiredMeanwhile},
	{"endUnderLoad", durableLoad},
	{"agreesWithModel", func(f *durableFixture) {
		run := newRandomRun(f.fixture)
		for range 25 {
			run.steps(run.rng.IntN(60))
			// What nobody was told to be gone may come back a little younger.
			run.verify()
			run.note("restart")
			f.restart()
			run.model.restarted()
			run.verify()
		}
	}},
}
