package storetest

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

const (
	loadWorkers = 6
	loadStreams = 3
)

// loadWorker is an idempotent producer that writes numbered records, and creates
// and deletes streams of its own.
type loadWorker struct {
	id        int
	acked     int64 // the last acknowledged request, -1 for none
	created   int   // streams "w<id>/0"… that were acknowledged
	deleted   int   // of those, how many deletions from the first on
	undecided bool  // the next deletion was sent and not answered
}

func (w *loadWorker) stream() string        { return fmt.Sprint(w.id % loadStreams) }
func (w *loadWorker) own(n int) string      { return fmt.Sprintf("w%d/%d", w.id, n) }
func (w *loadWorker) record(n int64) string { return fmt.Sprintf("%d:%d;", w.id, n) }

func (w *loadWorker) send(f *fixture, n int64) error {
	_, err := f.post(w.stream(), by(fmt.Sprint(w.id), 0, n, appendOf(text, w.record(n))))
	return err
}

// durableLoad ends the store while producers write, several times. What was
// acknowledged before must be there, what was not may be; and a producer that
// sends its last request again goes on without a gap or a repetition (§5.2.1).
func durableLoad(f *durableFixture) {
	for i := range loadStreams {
		f.create(fmt.Sprint(i), streamOf(text, ""))
	}
	workers := make([]*loadWorker, loadWorkers)
	for i := range workers {
		workers[i] = &loadWorker{id: i, acked: -1}
	}
	for round := range 4 {
		f.load(workers, int64(10+25*round))
		f.open()
		f.checkLoad(workers)
		for _, w := range workers {
			again := max(w.acked, 0)
			for n := again; n <= again+2; n++ {
				if err := w.send(f.fixture, n); err != nil {
					f.Fatalf("the retry of request %d: %v", n, err)
				}
			}
			w.acked = again + 2
		}
		f.checkLoad(workers)
	}
}

// load lets the workers run, and ends the store when they have sent about so
// many requests each.
func (f *durableFixture) load(workers []*loadWorker, requests int64) {
	f.Helper()
	var ending atomic.Bool
	var sent atomic.Int64
	enough := make(chan struct{})
	f.parallel(len(workers)+1, func(i int) error {
		if i == len(workers) {
			<-enough
			ending.Store(true)
			if f.crash {
				return f.place.Crash()
			}
			return f.store.Close()
		}
		w := workers[i]
		err := w.run(f.fixture, &ending, func() {
			if sent.Add(1) == requests*int64(len(workers)) {
				close(enough)
			}
		})
		if err != nil {
			ending.Store(true)
		}
		return err
	})
}

// run writes until the store ends. An answer counts only if it came before.
func (w *loadWorker) run(f *fixture, ending *atomic.Bool, progress func()) error {
	for {
		err := w.send(f, w.acked+1)
		if ending.Load() {
			return nil
		}
		if err != nil {
			return err
		}
		w.acked++
		progress()
		if w.acked%5 == 0 {
			_, _, err := f.put(w.own(w.created), streamOf(text, "own"))
			if ending.Load() {
				return nil
			}
			if err != nil {
				return err
			}
			w.created++
		}
		if w.acked%10 == 0 {
			w.undecided = true
			err := f.store.Delete(f.Context(), w.own(w.deleted))
			if ending.Load() {
				return nil
			}
			if err != nil {
				return err
			}
			w.undecided = false
			w.deleted++
		}
	}
}

// checkLoad demands that what was acknowledged is there, and of the rest at most
// what was under way.
func (f *durableFixture) checkLoad(workers []*loadWorker) {
	f.Helper()
	next := make([]int64, loadWorkers)
	for i := range loadStreams {
		for record := range strings.SplitAfterSeq(f.all(fmt.Sprint(i)), ";") {
			if record == "" {
				continue
			}
			var id int
			var n int64
			if _, err := fmt.Sscanf(record, "%d:%d;", &id, &n); err != nil || id%loadStreams != i {
				f.Fatalf("stream %d holds %q: %v", i, record, err)
			}
			if n != next[id] {
				f.Fatalf("producer %d: record %d follows %d", id, n, next[id]-1)
			}
			next[id]++
		}
	}
	for _, w := range workers {
		if there := next[w.id] - 1; there != w.acked && there != w.acked+1 {
			f.Fatalf("producer %d: the last record is %d, acknowledged was %d", w.id, there, w.acked)
		}
		if w.undecided { // find out
			err := f.store.Delete(f.Context(), w.own(w.deleted))
			if err != nil {
				f.refused(err, protocol.NotFound)
			}
			w.undecided = false
			w.deleted++
		}
		for n := range w.created {
			if n < w.deleted {
				f.gone(w.own(n), protocol.NotFound)
			} else {
				f.holds(w.own(n), "own")
			}
		}
		// One more may have been under way; the next creation finds it.
		f.gone(w.own(w.created+1), protocol.NotFound)
	}
}
