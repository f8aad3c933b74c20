package journal

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

func TestCommit_recordsQueuedDuringASyncShareTheNext(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	g := newGate(func(op vfs.Op) bool { return isSync(op) })
	var batches []vfs.Op
	fs := vfs.Inject(m, vfs.All(g.hook, func(op vfs.Op) error {
		if isBatch(op) {
			batches = append(batches, op) // by the committer alone
		}
		return nil
	}))
	j, _ := mustOpen(t, fs, testOptions(), 0)
	mustAdd(t, j, []byte("first"))
	before := j.Stats()
	batches = nil
	g.close()
	var waiting []*outcome
	_, o, err := submit(j, []byte("blocked"))
	if err != nil {
		t.Fatal(err)
	}
	waiting = append(waiting, o)
	for op := <-g.arrived; op.Path != j.files.current.file.Name(); op = <-g.arrived {
	} // not the sync of a spare
	for range 50 {
		_, o, err := submit(j, []byte("queued"))
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, o)
	}
	for _, o := range waiting {
		if len(o.ch) > 0 {
			t.Error("acknowledged before the sync")
		}
	}
	g.release()
	for _, o := range waiting {
		if err := o.wait(); err != nil {
			t.Error(err)
		}
	}
	after := j.Stats()
	if n := after.Batches - before.Batches; n != 2 || len(batches) != 2 {
		t.Errorf("%d batches, %d writes, want 2", n, len(batches))
	}
	if n := after.Syncs - before.Syncs; n != 2 {
		t.Errorf("%d syncs, want 2", n)
	}
	if n := after.Records - before.Records; n != 51 {
		t.Errorf("%d records, want 51", n)
	}
	var bytes uint64
	for _, b := range batches {
		bytes += uint64(align(int64(b.Len)))
	}
	if n := after.Bytes - before.Bytes; n != bytes {
		t.Errorf("%d bytes, want %d", n, bytes)
	}
	mustClose(t, j)
}

// tally notes the LSNs that it is told of. Committed is never called twice at a
// time, so that it needs no lock; the race detector would notice.
type tally struct {
	lsns []uint64
	errs []error
	wg   sync.WaitGroup
}

func (c *tally) Committed(p *Pending, err error) {
	c.lsns = append(c.lsns, p.LSN())
	c.errs = append(c.errs, err)
	c.wg.Done()
}

func TestCommit_tellsEachOnceAndInOrder(t *testing.T) {
	const writers, each = 16, 60
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	c := &tally{}
	c.wg.Add(writers * each)
	var (
		order   sync.Mutex // as the engine's, it fixes who comes first
		want    [][]byte
		writing sync.WaitGroup
	)
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				record := content(w, uint64(i), 1+(w*each+i)%3000)
				r, err := j.Reserve(context.Background(), len(record), false)
				if err != nil {
					t.Error(err)
					return
				}
				order.Lock()
				p := &Pending{Body: record, Target: c}
				if err := j.Submit(p, r); err != nil {
					t.Error(err)
				}
				want = append(want, record)
				if p.LSN() != uint64(len(want)) {
					t.Errorf("record %d is %d", len(want), p.LSN())
				}
				order.Unlock()
				if i%20 == 0 {
					j.Release(j.Durable() / 2)
				}
			}
		})
	}
	writing.Wait()
	c.wg.Wait()
	released := j.Durable() / 2
	mustClose(t, j)
	if err := errors.Join(c.errs...); err != nil {
		t.Error(err)
	}
	if len(c.lsns) != writers*each || !slices.IsSorted(c.lsns) || len(slices.Compact(c.lsns)) != writers*each {
		t.Errorf("told of %d records, sorted: %t", len(c.lsns), slices.IsSorted(c.lsns))
	}
	j, got := mustOpen(t, m, testOptions(), released)
	got.want(t, released, want[released:])
	mustClose(t, j)
}

// A checkpoint of all that is durable must find it with its targets.
func TestCommit_durableOnceTheTargetKnows(t *testing.T) {
	j, _ := mustOpen(t, newMem(t, vfs.MemOptions{}), testOptions(), 0)
	for range uint64(5) {
		var during uint64
		o := newOutcome()
		r, err := j.Reserve(t.Context(), 1, false)
		if err != nil {
			t.Fatal(err)
		}
		p := &Pending{Body: []byte("x")}
		p.Target = committed(func(err error) {
			during = j.Durable()
			o.Committed(p, err)
		})
		if err := j.Submit(p, r); err != nil {
			t.Fatal(err)
		}
		lsn := p.LSN()
		if err := o.wait(); err != nil || during != lsn-1 {
			t.Errorf("record %d is told of when %d is durable: %v", lsn, during, err)
		}
	}
	mustClose(t, j)
	if j.Durable() != 5 {
		t.Errorf("durable is %d", j.Durable())
	}
}

func TestCommit_barrier(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	g := newGate(isBatch)
	j, _ := mustOpen(t, vfs.Inject(m, g.hook), testOptions(), 0)
	barrier := func() (*Pending, *outcome) {
		o := newOutcome()
		p := &Pending{Target: o}
		if err := j.Submit(p, Reservation{}); err != nil {
			t.Fatal(err)
		}
		return p, o
	}

	// With nothing before it.
	p, o := barrier()
	if err := o.wait(); err != nil || p.LSN() != 0 {
		t.Errorf("barrier at %d: %v", p.LSN(), err)
	}
	// Behind records, and before others.
	g.close()
	_, one, err := submit(j, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	<-g.arrived
	_, two, err := submit(j, []byte("two"))
	if err != nil {
		t.Fatal(err)
	}
	p, o = barrier()
	third, three, err := submit(j, []byte("three"))
	if err != nil {
		t.Fatal(err)
	}
	if p.LSN() != 2 || third.LSN() != 3 {
		t.Errorf("barrier is %d, the record after it %d", p.LSN(), third.LSN())
	}
	if len(o.ch) != 0 {
		t.Error("the barrier was passed")
	}
	g.release()
	if err := errors.Join(one.wait(), two.wait(), o.wait(), three.wait()); err != nil {
		t.Error(err)
	}
	// Barriers alone write nothing.
	before := j.Stats()
	_, o = barrier()
	if err := o.wait(); err != nil {
		t.Error(err)
	}
	if after := j.Stats(); after.Batches != before.Batches || after.Syncs != before.Syncs {
		t.Errorf("a barrier made %d batches", after.Batches-before.Batches)
	}
	mustClose(t, j)
	j, got := mustOpen(t, m, testOptions(), 0)
	got.want(t, 0, [][]byte{[]byte("one"), []byte("two"), []byte("three")})
	mustClose(t, j)
}

// A batch is never larger than a file.
func TestCommit_manyLargeRecordsAtOnce(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	largest := 0
	fs := vfs.Inject(m, func(op vfs.Op) error {
		if isBatch(op) {
			largest = max(largest, int(op.Offset)+op.Len) // by the committer alone
		}
		return nil
	})
	j, _ := mustOpen(t, fs, testOptions(), 0)
	var writing sync.WaitGroup
	for w := range 32 {
		writing.Go(func() {
			for i := range 6 {
				size := int(MaxRecord(testSize))
				if w%2 == 0 {
					size = size/(i+2) + w
				}
				if err := add(j, content(w, uint64(i), size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	mustClose(t, j)
	if largest > testSize || largest < testSize/2 {
		t.Errorf("batches reach to byte %d of files of %d", largest, testSize)
	}
	j, got := mustOpen(t, m, testOptions(), 0)
	if len(got.records) != 32*6 {
		t.Errorf("%d records", len(got.records))
	}
	mustClose(t, j)
}

// With two spares, more may wait than fits a file.
func TestCommit_moreThanAFile(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	g := newGate(isBatch)
	j, _ := mustOpen(t, vfs.Inject(m, g.hook), testOptions(), 0)
	n := 0
	for ; j.Stats().Files < 5 || j.files.current.end > 10000; n++ {
		mustAdd(t, j, content(0, uint64(n), 4000))
	}
	j.Release(uint64(n)) // more sealed files than are kept
	g.close()
	var waiting []*outcome
	for queued := 0; queued < testSize; queued += 4000 {
		_, o, err := submit(j, content(0, uint64(n), 4000))
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, o)
		if queued == 0 {
			<-g.arrived // the rest gathers behind it
		}
		n++
	}
	g.release()
	for _, o := range waiting {
		if err := o.wait(); err != nil {
			t.Error(err)
		}
	}
	mustClose(t, j)
	names, err := m.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := m.Stat(testDir + "/" + name); err != nil || info.Size != testSize {
			t.Errorf("%s has %d bytes: %v", name, info.Size, err)
		}
	}
}

func TestClose_commitsWhatWaits(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	g := newGate(isBatch)
	j, _ := mustOpen(t, vfs.Inject(m, g.hook), testOptions(), 0)
	g.close()
	var (
		want    [][]byte
		waiting []*outcome
	)
	for i := range 20 {
		r := content(0, uint64(i), 100)
		_, o, err := submit(j, r)
		if err != nil {
			t.Fatal(err)
		}
		want, waiting = append(want, r), append(waiting, o)
	}
	<-g.arrived
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	g.release()
	for _, o := range waiting {
		if err := o.wait(); err != nil {
			t.Error(err)
		}
	}
	closing.Wait()
	j, got := mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), testOptions(), 0)
	got.want(t, 0, want)
	mustClose(t, j)
}

func TestClose_refusesAfterwards(t *testing.T) {
	j, _ := mustOpen(t, newMem(t, vfs.MemOptions{}), testOptions(), 0)
	r, err := j.Reserve(t.Context(), 100, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Submit(&Pending{Body: make([]byte, 100)}, r); !errors.Is(err, store.ErrClosed) {
		t.Errorf("submit: %v", err)
	}
	if _, err := j.Reserve(t.Context(), 100, false); !errors.Is(err, store.ErrClosed) {
		t.Errorf("reserve: %v", err)
	}
	if err := j.Err(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("err: %v", err)
	}
	j.Release(1)
	mustClose(t, j) // and the refused record's room is back
}

// Without the check, a record would take room that others have reserved.
func TestSubmit_moreThanReserved(t *testing.T) {
	j, _ := mustOpen(t, newMem(t, vfs.MemOptions{}), testOptions(), 0)
	r, err := j.Reserve(t.Context(), 100, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Submit(&Pending{Body: make([]byte, 200)}, r); err == nil {
		t.Error("taken")
	}
	if err := j.Submit(&Pending{Body: []byte("x")}, Reservation{}); err == nil {
		t.Error("taken without a reservation")
	}
	p, o, err := submit(j, []byte("x"))
	if err = errors.Join(err, o.wait()); err != nil || p.LSN() != 1 {
		t.Errorf("record %d: %v", p.LSN(), err)
	}
	mustClose(t, j)
}
