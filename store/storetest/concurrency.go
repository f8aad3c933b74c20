package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

var concurrencyTests = []test{
	{"acknowledgedOrderIsByteOrder", concurrentOrder},
	{"readersSeeNoTornData", concurrentReaders},
	{"jsonReadersSeeWholeMessages", concurrentJSONReaders},
	{"manyStreams", manyStreams},
	{"forksAndDeletionsStorm", forkStorm},
	{"expiryAmongUse", expiryStorm},
}

// ack is an acknowledged append.
type ack struct {
	end  protocol.Offset
	body string
}

// concurrentOrder lets writers append to a few streams and then puts every
// stream together from what they were told.
func concurrentOrder(f *fixture) {
	const workers, appends, streams = 8, 150, 3
	for s := range streams {
		f.create(fmt.Sprint(s), streamOf(text, ""))
	}
	var mu sync.Mutex
	acks := make(map[string][]ack)
	seed := f.random().Uint64()
	f.parallel(workers, func(i int) error {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		for n := range appends {
			name := fmt.Sprint(rng.IntN(streams))
			body := fmt.Sprintf("<%d.%d%s>", i, n, strings.Repeat(".", rng.IntN(300)))
			res, err := f.post(name, appendOf(text, body))
			if err != nil {
				return err
			}
			mu.Lock()
			acks[name] = append(acks[name], ack{end: res.Tail, body: body})
			mu.Unlock()
		}
		return nil
	})
	for name, acks := range acks {
		f.holds(name, joined(f, acks))
	}
}

// joined returns the content of a stream to which exactly these appends were made.
func joined(f *fixture, acks []ack) string {
	f.Helper()
	slices.SortFunc(acks, func(a, b ack) int { return int(a.end - b.end) })
	var b strings.Builder
	for _, a := range acks {
		b.WriteString(a.body)
		if int(a.end) != b.Len() {
			f.Fatalf("%s was acknowledged with the tail %d, but ends at %d", clip(a.body), a.end, b.Len())
		}
	}
	return b.String()
}

// concurrentReaders lets readers follow a stream that several writers fill with
// records of one size. All readers must have received what the stream holds at
// the end, and no tail may lie inside a record.
func concurrentReaders(f *fixture) {
	const writers, appends, readers, size = 3, 200, 3, 61
	f.create("s", streamOf(binary, ""))
	var left atomic.Int64
	left.Store(writers)
	received := make([]bytes.Buffer, readers)
	f.parallel(writers+readers, func(i int) error {
		if i < writers {
			for n := range appends {
				body := fmt.Sprintf("%*d", size, i*appends+n)
				if _, err := f.post("s", appendOf(binary, body)); err != nil {
					return err
				}
			}
			if left.Add(-1) == 0 {
				_, err := f.post("s", closing())
				return err
			}
			return nil
		}
		into := &received[i-writers]
		if i%2 == 0 {
			return follow(f, "s", func(p []byte) { into.Write(p) })
		}
		for { // never waits, and takes small pieces
			p, err := readFragment(f.Context(), f.store, "s", protocol.Offset(into.Len()), 100)
			if err != nil {
				return err
			}
			if p.info.Tail%size != 0 {
				return fmt.Errorf("the tail %d is inside a record", p.info.Tail)
			}
			into.Write(p.data)
			if p.atEnd {
				return nil
			}
			if p.atTail {
				runtime.Gosched()
			}
		}
	})
	content := f.all("s")
	for i := range received {
		if received[i].String() != content {
			f.Errorf("reader %d received something else than the stream holds", i)
		}
	}
	seen := make(map[string]bool)
	for record := range slices.Chunk([]byte(content), size) {
		if seen[string(record)] {
			f.Fatalf("the record %q is there twice", record)
		}
		seen[string(record)] = true
	}
	if len(seen) != writers*appends {
		f.Errorf("%d records are there, want %d", len(seen), writers*appends)
	}
}

// concurrentJSONReaders reads with limits that fall inside messages.
func concurrentJSONReaders(f *fixture) {
	const appends = 200
	f.create("s", streamOf(json, ""))
	f.parallel(3, func(i int) error {
		if i == 0 {
			for n := range appends {
				r := appendOf(json, fmt.Sprintf(`[{"n":%d},{"pad":%q}]`, n, strings.Repeat("-", n%70)))
				r.Close = n == appends-1
				if _, err := f.post("s", r); err != nil {
					return err
				}
			}
			return nil
		}
		messages := 0
		for pos := protocol.Start; ; {
			p, err := readFragment(f.Context(), f.store, "s", pos, 40*i)
			if err != nil {
				return err
			}
			if len(p.data) > 0 && (p.data[0] != '{' || !bytes.HasSuffix(p.data, []byte("},\n"))) {
				return fmt.Errorf("the read at %d returned %q", pos, clip(string(p.data)))
			}
			messages += bytes.Count(p.data, []byte{'\n'})
			pos = p.next
			if p.atEnd {
				if messages != 2*appends {
					return fmt.Errorf("%d messages were read, want %d", messages, 2*appends)
				}
				return nil
			}
			if p.atTail {
				runtime.Gosched()
			}
		}
	})
}

// manyStreams creates ten thousand streams and finds them all again.
func manyStreams(f *fixture) {
	const streams, workers = 10_000, 32
	name := func(i int) string { return fmt.Sprintf("many/%05d", i) }
	f.parallel(workers, func(w int) error {
		for i := w; i < streams; i += workers {
			if _, _, err := f.put(name(i), streamOf(text, name(i))); err != nil {
				return err
			}
			if i%10 == 0 {
				if _, err := f.post(name(i), appendOf(text, "!")); err != nil {
					return err
				}
			}
		}
		return nil
	})
	f.parallel(workers, func(w int) error {
		for i := w; i < streams; i += workers {
			want := name(i)
			if i%10 == 0 {
				want += "!"
			}
			p, err := readFragment(f.Context(), f.store, name(i), 0, plenty)
			if err != nil || string(p.data) != want || !p.atTail {
				return fmt.Errorf("%s holds %q, error %v", name(i), p.data, err)
			}
		}
		return nil
	})
	names := f.listAll("many/", 999)
	if len(names) != streams || names[0] != name(0) || names[streams-1] != name(streams-1) || !slices.IsSorted(names) {
		f.Errorf("List returned %d streams", len(names))
	}
}

// forkStorm forks and deletes a few names at random and all at once. Afterwards,
// with every stream deleted, every name must become free: no reference was lost
// or counted twice, and nobody waits for anybody else.
func forkStorm(f *fixture) {
	const workers, operations, names = 6, 150, 5
	seed := f.random().Uint64()
	f.parallel(workers, func(i int) error {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		pick := func() string { return fmt.Sprint(rng.IntN(names)) }
		for range operations {
			var err error
			switch rng.IntN(6) {
			case 0:
				_, _, err = f.put(pick(), streamOf(text, "plain"))
			case 1, 2:
				_, _, err = f.putFork(pick(), atTail(pick()), protocol.CreateRequest{}, "")
			case 3:
				err = f.store.Delete(f.Context(), pick())
			case 4:
				_, err = f.post(pick(), appendOf(text, "x"))
			case 5:
				_, err = readAll(f.Context(), f.store, pick())
			}
			if err != nil && refusalOf(err) == nil {
				return err
			}
		}
		return nil
	})
	for i := range names {
		if err := f.store.Delete(f.Context(), fmt.Sprint(i)); err != nil {
			f.refused(err, protocol.NotFound, protocol.Gone)
		}
	}
	for i := range names {
		f.free(fmt.Sprint(i))
		f.holds(fmt.Sprint(i), "new")
	}
}

// expiryStorm moves the clock while streams with short lives are used. What was
// acknowledged for a stream's ID must be in the stream as long as that ID lives.
func expiryStorm(f *fixture) {
	const workers, operations, names = 4, 200, 3
	seed := f.random().Uint64()
	f.parallel(workers, func(i int) error {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		for n := range operations {
			name := fmt.Sprint(rng.IntN(names))
			info, _, err := f.put(name, lasting(ttl(5), ""))
			if err != nil {
				return err
			}
			body := fmt.Sprintf("<%d.%d>", i, n)
			if _, err := f.post(name, appendOf(text, body)); err != nil && !hasCode(err, protocol.NotFound) {
				return err
			} else if err == nil {
				p, err := readFragment(f.Context(), f.store, name, 0, plenty)
				if err == nil && p.info.ID == info.ID && !bytes.Contains(p.data, []byte(body)) {
					return fmt.Errorf("stream %d lost %s: it holds %q", info.ID, body, clip(string(p.data)))
				}
				if err != nil && !hasCode(err, protocol.NotFound) {
					return err
				}
			}
			if rng.IntN(4) == 0 {
				f.clock.advance(2 * second)
			}
		}
		return nil
	})
	f.clock.advance(5 * second)
	for i := range names {
		f.gone(fmt.Sprint(i), protocol.NotFound)
	}
}
