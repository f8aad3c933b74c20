package crash

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// ending is how a round ends the server.
type ending string

const (
	underLoad     ending = "killed under load"
	starting      ending = "killed while it starts"
	stopping      ending = "killed while it stops"
	inGoodOrder   ending = "stopped"
	endingsInTurn        = 8
)

var endings = [endingsInTurn]ending{underLoad, starting, underLoad, stopping, starting, inGoodOrder, underLoad, stopping}

// load is a world's clients.
type load struct {
	*world
	writers   []writer
	series    []*series
	producers []*producer
	families  *families
	creator   *creator
	readers   []*reader
	stop      chan struct{}
	running   sync.WaitGroup
}

func newLoad(w *world, rng *rand.Rand) *load {
	l := &load{world: w}
	source := func() *rand.Rand { return rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())) }
	add := func(wr writer, s *series, limit int) {
		s.limit = limit
		s.create(w)
		l.writers = append(l.writers, wr)
		l.series = append(l.series, s)
		for _, sse := range []bool{true, false} {
			l.readers = append(l.readers, &reader{of: wr.(watched), contentType: s.contentType, sse: sse, name: s.name(), target: -1})
		}
	}
	for _, kind := range []struct {
		name, contentType string
		compare           bool
	}{{"crowd", typeText, false}, {"batches", typeJSON, false}, {"compare", typeBinary, true}} {
		c := &crowd{
			series: series{kind: kind.name, contentType: kind.contentType}, compare: kind.compare,
			writers: 3, rng: source(), records: make(map[string]record),
		}
		add(c, &c.series, 1<<20)
	}
	for _, s := range []*soloist{
		{series: series{kind: "seq", contentType: typeText}, seq: true, min: 1, max: 3000},
		{series: series{kind: "bulk", contentType: typeBinary}, min: 64 << 10, max: 512 << 10},
		{series: series{kind: "plain", contentType: typeText}, min: 1, max: 5000},
	} {
		s.rng = source()
		limit := 1 << 20
		if s.kind == "bulk" {
			limit = 8 << 20
		}
		add(s, &s.series, limit)
	}
	for i, contentType := range []string{typeText, typeBinary} {
		p := &producer{series: series{kind: fmt.Sprintf("producer%d", i), contentType: contentType}, rng: source()}
		add(p, &p.series, 512<<10)
		l.producers = append(l.producers, p)
	}
	l.families = &families{rng: source()}
	l.creator = &creator{rng: source()}
	l.writers = append(l.writers, l.families, l.creator)
	return l
}

// run lets all clients loose.
func (l *load) run() {
	l.stop = make(chan struct{})
	for _, wr := range l.writers {
		l.running.Go(func() { wr.write(l.world, l.stop) })
	}
	for _, r := range l.readers {
		l.running.Go(func() { r.read(l.world, l.stop) })
	}
}

// halt ends the clients. The server has ended, so nothing keeps them waiting.
func (l *load) halt() {
	l.t.Helper()
	close(l.stop)
	l.running.Wait()
	if l.t.Failed() {
		l.t.FailNow()
	}
}

func (l *load) check() {
	l.t.Helper()
	for _, wr := range l.writers {
		wr.check(l.world)
	}
	for _, r := range l.readers {
		r.check(l.world)
	}
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// TestKill ends the server in the middle of everything, again and again on one
// data folder, and compares what is there with what was acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := orDefault(*roundsFlag, 16, 6)
	rng := newRand("kill")
	srv := newServer(t)
	sizes := []string{"1MiB", "1MiB", "1MiB", "4MiB"} // also of checkpoints
	srv.options = "segment_size 1MiB"
	srv.start()
	l := newLoad(&world{t: t, srv: srv, counts: make(map[string]int)}, rng)
	span := func(longest time.Duration) { time.Sleep(time.Duration(rng.Int64N(int64(longest)))) }
	for round := range rounds {
		end := endings[round%len(endings)]
		if round > 0 {
			srv.options = "segment_size " + sizes[rng.IntN(len(sizes))]
			if rng.IntN(8) == 0 {
				if err := os.RemoveAll(filepath.Join(srv.dir, "index")); err != nil {
					t.Fatal(err)
				}
				l.count("starts without an index", 1)
			}
			if end == starting {
				srv.launch()
			} else {
				srv.start()
				l.check()
			}
		}
		l.run()
		switch end {
		case underLoad:
			span(600 * time.Millisecond)
			srv.kill()
		case starting:
			span(srv.starts[0] * 2)
			srv.kill()
		case stopping:
			span(400 * time.Millisecond)
			srv.terminate()
			span(60 * time.Millisecond)
			srv.kill()
		case inGoodOrder:
			span(400 * time.Millisecond)
			srv.stop()
		}
		l.halt()
		l.look(end)
	}

	// Whoever has something left to say says it; then all is there, for good.
	srv.start()
	l.check()
	for _, p := range l.producers {
		p.finish = true
		p.write(l.world, nil)
	}
	for range 2 {
		for _, p := range l.producers {
			l.expect(p.name(), content{http.StatusOK, false, string(p.sent())})
		}
		for _, r := range l.readers {
			all := srv.read(t, r.name)
			r.finish(l.world, int64(len(all.bytes)))
			if string(r.seen) != all.bytes {
				t.Errorf("reader of %s in the end: %s", r.name, difference(r.seen, []byte(all.bytes)))
			}
			l.count("bytes shown to live readers", len(r.seen))
		}
		for _, s := range l.series {
			s.checkOld(l.world, rng, true)
		}
		l.families.checkAll(l.world)
		for _, a := range l.creator.made {
			l.expect(a.name, a.content)
		}
		srv.stop()
		l.look(inGoodOrder)
		srv.start()
	}
	l.report(rounds)
}

// look counts what the process that has just ended did. No repair is an error.
func (l *load) look(end ending) {
	l.t.Helper()
	l.count("processes "+string(end), 1)
	log := l.srv.log()
	for _, msg := range []string{"checkpoint written", "segments merged", "journal replayed", "segments that the index does not know are applied to it", "unfinished segment removed"} {
		l.count("logged: "+msg, len(lines(log, says(msg))))
	}
	bad := lines(log, func(line *logLine) bool { return line.Level != "debug" && line.Level != "info" && line.Level != "warn" })
	for _, line := range bad {
		l.t.Errorf("the server has logged: %s", line.text)
	}
	if i := slices.IndexFunc(lines(log, says("journal replayed")), func(line logLine) bool { return line.Records == 0 }); i >= 0 {
		l.t.Error("a replay of nothing")
	}
}

// journals returns how many files the journal has begun, by the sequence in the
// newest one's header.
func (s *server) journals() (n uint64) {
	s.t.Helper()
	for _, file := range s.files("journal", "*.wal") {
		f, err := os.Open(file)
		if err != nil {
			s.t.Fatal(err)
		}
		var header [16]byte
		_, err = f.ReadAt(header[:], 0)
		if err := f.Close(); err != nil {
			s.t.Error(err)
		}
		if err == nil {
			n = max(n, binary.LittleEndian.Uint64(header[8:]))
		}
	}
	return n
}

// report says what has happened, and fails the test if that was not enough to
// prove anything.
func (l *load) report(rounds int) {
	l.t.Helper()
	l.count("families of forks", len(l.families.all))
	l.count("streams created at once", len(l.creator.made))
	for _, s := range l.series {
		l.count("streams closed when long", len(s.old)+len(s.gone))
	}
	l.count("journal files begun", int(l.srv.journals()))
	for _, what := range slices.Sorted(maps.Keys(l.counts)) {
		l.t.Logf("%9d %s", l.counts[what], what)
	}
	starts := slices.Sorted(slices.Values(l.srv.starts))
	l.t.Logf("%d starts took %v to %v, the median is %v", len(starts), starts[0], starts[len(starts)-1], starts[len(starts)/2])
	if rounds < endingsInTurn {
		return
	}
	must := []string{
		"changes acknowledged", "changes with an unknown outcome", "producer's retries that were duplicates", "producer's epochs",
		"logged: checkpoint written", "logged: journal replayed", "bytes shown to live readers",
	}
	if rounds >= 100 { // in few rounds they are a matter of luck
		must = append(must, "changes without an answer that happened", "repeated Stream-Seq refused", "logged: segments merged",
			"logged: segments that the index does not know are applied to it", "logged: unfinished segment removed")
	}
	for _, what := range must {
		if l.counts[what] == 0 {
			l.t.Errorf("no %s in %d rounds: the test has proved nothing about that", what, rounds)
		}
	}
}
