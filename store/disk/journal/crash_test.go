package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// timeline is what was submitted, and what of it must survive a crash.
type timeline struct {
	interval bool // records are acknowledged before they are synced

	mu      sync.Mutex
	records [][]byte // submitted, by LSN from 1 on
	acked   uint64   // LSN of the last one that was acknowledged
	durable uint64   // all up to this LSN must survive
	after   uint64   // all up to this LSN are somewhere else too
}

func (l *timeline) submit(record []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, record)
}

func (l *timeline) survives(lsn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable = max(l.durable, lsn)
}

// add submits a record. wait is called for its acknowledgement.
func (l *timeline) add(t *testing.T, j *Journal, record []byte) (wait func()) {
	t.Helper()
	l.submit(record)
	lsn := uint64(len(l.records))
	r, err := j.Reserve(t.Context(), len(record), false)
	if err != nil {
		t.Fatal(err)
	}
	o := newOutcome()
	p := &Pending{Body: record, Target: committed(func(err error) {
		l.mu.Lock()
		l.acked = lsn
		if !l.interval {
			l.durable = max(l.durable, lsn)
		}
		l.mu.Unlock()
		o.Committed(nil, err)
	})}
	if err := j.Submit(p, r); err != nil || p.LSN() != lsn {
		t.Fatalf("record %d is %d: %v", lsn, p.LSN(), err)
	}
	return func() {
		t.Helper()
		if err := o.wait(); err != nil {
			t.Fatal(err)
		}
	}
}

type committed func(err error)

func (f committed) Committed(_ *Pending, err error) { f(err) }

// checkpoint says that all but the last few are somewhere else too.
func (l *timeline) checkpoint(but uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := uint64(len(l.records)); n > but {
		l.after = max(l.after, n-but)
	}
	return l.after
}

// crash is a disk as a crash has left it.
type crash struct {
	disk *vfs.Mem
	name string
	// At least records up to durable are there, at most all.
	durable, after uint64
	records        [][]byte
}

// observer takes a crash of every mode before each change of the disk.
type observer struct {
	*timeline
	disk  *vfs.Mem
	modes []vfs.CrashMode

	mu      sync.Mutex
	name    string
	rng     *rand.Rand
	ops     int
	crashes []crash
}

func (o *observer) hook(op vfs.Op) error {
	if !op.Kind.Writes() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if op.Kind == vfs.OpWriteAt && op.Offset == 0 && op.Len == dataStart {
		// The committer begins a file: it has synced all before.
		o.timeline.survives(o.acked)
	}
	for _, mode := range o.modes {
		// Between these, others go on. The bounds stay true.
		o.timeline.mu.Lock()
		c := crash{durable: o.durable, name: fmt.Sprintf("%s/%d %v (mode %d)", o.name, o.ops, op, mode)}
		o.timeline.mu.Unlock()
		c.disk = o.disk.CrashClone(o.rng, vfs.CrashOptions{Mode: mode})
		o.timeline.mu.Lock()
		c.after, c.records = o.after, slices.Clip(o.records)
		o.timeline.mu.Unlock()
		o.crashes = append(o.crashes, c)
	}
	o.ops++
	return nil
}

// open opens the journal on the disk and checks what it replays.
func (c crash) open(t *testing.T, fs vfs.FS, opts Options) (j *Journal, last uint64) {
	t.Helper()
	var r replayed
	j, err := Open(fs, testDir, opts, c.after, r.replay)
	if err != nil {
		t.Fatalf("%s: open: %v", c.name, err)
	}
	last = c.after + uint64(len(r.records))
	if last < c.durable || last > uint64(len(c.records)) {
		t.Fatalf("%s: %d records survive, of %d acknowledged and %d submitted", c.name, last, c.durable, len(c.records))
	}
	r.want(t, c.after, c.records[c.after:last])
	return j, last
}

// survive opens the disk, goes on for a while, and returns the crashes that may
// happen meanwhile.
func (c crash) survive(t *testing.T, history int, opts Options, o *observer) []crash {
	t.Helper()
	o.disk, o.name = c.disk, c.name
	o.timeline = &timeline{interval: opts.SyncInterval > 0, records: c.records, durable: c.durable, after: c.after}
	fs := vfs.Inject(c.disk, o.hook)
	j, last := c.open(t, fs, opts)
	o.timeline.mu.Lock()
	o.records = slices.Clip(c.records[:last]) // a crash now ends in this timeline
	o.timeline.mu.Unlock()
	o.survives(last)           // a reader may have seen it
	for i := range uint64(5) { // into the next file
		o.add(t, j, record(history, last+1+i))()
	}
	mustClose(t, j)
	o.survives(last + 5)
	if err := o.hook(vfs.Op{Kind: vfs.OpSync, Path: "at the end"}); err != nil {
		t.Fatal(err)
	}
	// And without a crash.
	r := new(replayed)
	j, err := Open(c.disk, testDir, opts, c.after, r.replay)
	if err != nil {
		t.Fatalf("%s: open again: %v", c.name, err)
	}
	r.want(t, c.after, o.records[c.after:])
	mustClose(t, j)
	return o.crashes
}

// record is content of a size that depends on the LSN alone: after a crash, other
// records take the very places of those that were lost.
func record(history int, lsn uint64) []byte {
	return content(history, lsn, []int{10, 600, 5000, 9000, 20000}[lsn%5])
}

// work is a run with everything that a journal does.
func work(t *testing.T, fs vfs.FS, opts Options, l *timeline) {
	t.Helper()
	j, _ := mustOpen(t, fs, opts, 0)
	for round := range 8 {
		// One alone, then some at once.
		for _, n := range []int{1, 3} {
			wait := func() {}
			for range n {
				if round%2 == 0 {
					wait()
				}
				wait = l.add(t, j, record(0, uint64(len(l.records)+1)))
			}
			wait()
		}
		switch round {
		case 3, 6:
			mustClose(t, j)
			l.survives(uint64(len(l.records)))
			j, _ = mustOpen(t, fs, opts, l.after)
		case 2, 4, 5:
			j.Release(l.checkpoint(5))
		}
	}
	mustClose(t, j)
	l.survives(uint64(len(l.records)))
}

// A crash at any moment, and another one while it is dealt with, and a third.
func TestCrash_atEveryOperation(t *testing.T) {
	t.Parallel()
	testCrashes(t, testOptions())
}

// With an interval, a record is safe once the next file has begun, or the journal
// was closed or opened. Of the others, what is left has no gaps.
func TestCrash_interval(t *testing.T) {
	t.Parallel()
	opts := testOptions()
	opts.SyncInterval = time.Hour
	testCrashes(t, opts)
}

func testCrashes(t *testing.T, opts Options) {
	const random = vfs.CrashRandom
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	m := newMem(t, vfs.MemOptions{})
	first := &observer{
		timeline: &timeline{interval: opts.SyncInterval > 0}, disk: m, rng: rng, name: "run",
		modes: []vfs.CrashMode{vfs.CrashLoseAll, vfs.CrashKeepAll, random, random},
	}
	work(t, vfs.Inject(m, first.hook), opts, first.timeline)
	second := map[string]int{}
	for i, c := range first.crashes {
		o := &observer{rng: rng, modes: []vfs.CrashMode{vfs.CrashMode(i % 3)}}
		for k, c := range c.survive(t, 1, opts, o) {
			if rng.IntN(15) > 0 {
				continue
			}
			second["checked"]++
			o := &observer{rng: rng, modes: []vfs.CrashMode{random}}
			third := c.survive(t, 2, opts, o)
			if k%4 == 0 {
				third[rng.IntN(len(third))].survive(t, 3, opts, &observer{rng: rng})
			}
		}
	}
	t.Logf("%d operations, %d crashes, %d crashes after crashes", first.ops, len(first.crashes), second["checked"])
	if first.ops < 50 || second["checked"] < 100 {
		t.Error("too few")
	}
}
