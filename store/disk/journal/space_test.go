package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// fillUp adds records of size bytes until the disk is full.
func fillUp(t *testing.T, j *Journal, size int) (records [][]byte) {
	t.Helper()
	for {
		r := content(0, uint64(len(records)), size)
		err := add(j, r)
		if errors.Is(err, store.ErrNoSpace) {
			return records
		}
		if err != nil {
			t.Fatalf("record %d: %v", len(records), err)
		}
		records = append(records, r)
	}
}

// addUrgent writes a record that may use the last room.
func addUrgent(j *Journal, record []byte) error {
	r, err := j.Reserve(context.Background(), len(record), true)
	if err != nil {
		return err
	}
	o := newOutcome()
	if err := j.Submit(&Pending{Body: record, Target: o}, r); err != nil {
		return err
	}
	return o.wait()
}

func TestReserve_fullDisk(t *testing.T) {
	for _, tc := range []struct {
		name string
		hook vfs.Hook // over a disk that cannot say how full it is
	}{
		{"noticed before a file is made", func(vfs.Op) error { return nil }},
		{"noticed while a file is made", vfs.OnKinds(func(vfs.Op) error { return errors.ErrUnsupported }, vfs.OpFreeSpace)},
	} {
		for _, size := range []int{100, 5000, int(MaxRecord(testSize))} {
			t.Run(fmt.Sprintf("%s/size=%d", tc.name, size), func(t *testing.T) {
				t.Parallel()
				m := newMem(t, vfs.MemOptions{Capacity: 5*testSize + testSize/2})
				j, _ := mustOpen(t, vfs.Inject(m, tc.hook), testOptions(), 0)
				want := fillUp(t, j, size)
				if err := j.Err(); err != nil {
					t.Fatalf("the journal has failed: %v", err)
				}
				// What is left is for those who give space back.
				urgent := content(1, 0, 200)
				for range 3 {
					if err := addUrgent(j, urgent); err != nil {
						t.Errorf("urgent: %v", err)
					}
					want = append(want, urgent)
				}
				// All of it is on the disk.
				c, got := mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), testOptions(), 0)
				got.want(t, 0, want)
				// The full disk did not keep it from opening, and urgent ones still pass.
				if err := addUrgent(c, urgent); err != nil {
					t.Errorf("urgent after a restart: %v", err)
				}
				mustClose(t, c)

				m.SetCapacity(0)
				for i := range 40 {
					r := content(2, uint64(i), size)
					mustAdd(t, j, r)
					want = append(want, r)
				}
				mustClose(t, j)
				j, got = mustOpen(t, m, testOptions(), 0)
				got.want(t, 0, want)
				mustClose(t, j)
			})
		}
	}
}

// Released files are room too, on a disk that stays full.
func TestReserve_fullDiskUntilRelease(t *testing.T) {
	m := newMem(t, vfs.MemOptions{Capacity: 4 * testSize})
	j, _ := mustOpen(t, m, testOptions(), 0)
	n := len(fillUp(t, j, 5000))
	for range 10 {
		j.Release(j.Durable())
		mustAdd(t, j, []byte("x"))
		more := len(fillUp(t, j, 5000))
		if more < 10 {
			t.Fatalf("%d records after a release, %d before", more, n)
		}
	}
	mustClose(t, j)
}

func TestReserve_minFree(t *testing.T) {
	const minFree = 3 * testSize
	m := newMem(t, vfs.MemOptions{Capacity: 8 * testSize})
	opts := testOptions()
	opts.MinFree = minFree
	least := uint64(8 * testSize)
	fs := vfs.Inject(m, vfs.OnKinds(func(vfs.Op) error { // while and after files are made
		free, err := m.FreeSpace(testDir)
		least = min(least, free) // journal files are made by one goroutine at a time
		return err
	}, vfs.OpSyncDir))
	j, _ := mustOpen(t, fs, opts, 0)
	fillUp(t, j, 5000)
	mustClose(t, j)
	if least < minFree || least >= minFree+testSize {
		t.Errorf("%d bytes were left free, of at least %d", least, minFree)
	}
}

// A spare that cannot be made is an error for those who need it, and for nobody
// else, and is tried again.
func TestReserve_fileCannotBeMade(t *testing.T) {
	var mu sync.Mutex
	var failure error
	set := func(err error) { mu.Lock(); failure = err; mu.Unlock() }
	m := newMem(t, vfs.MemOptions{})
	fs := vfs.Inject(m, vfs.OnKinds(func(vfs.Op) error { mu.Lock(); defer mu.Unlock(); return failure }, vfs.OpCreate, vfs.OpSyncDir))
	j, _ := mustOpen(t, fs, testOptions(), 0)
	set(syscall.EIO)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = add(j, content(0, uint64(n), 5000))
	}
	if !errors.Is(err, syscall.EIO) || j.Err() != nil || n < 5 {
		t.Errorf("after %d records: %v; %v", n, err, j.Err())
	}
	set(nil)
	for i := range 40 {
		mustAdd(t, j, content(1, uint64(i), 5000))
	}
	mustClose(t, j)
	names, err := m.List(testDir)
	if err != nil || len(names) != j.Stats().Files {
		t.Errorf("%d files, %d are known: %v", len(names), j.Stats().Files, err)
	}
}

func TestReserve_largestRecord(t *testing.T) {
	for _, size := range []int64{minFileSize, testSize, testSize + 3, 4 << 20} {
		m := newMem(t, vfs.MemOptions{})
		most := MaxRecord(size)
		if most < size/3 || most > size/2 {
			t.Errorf("a file of %d bytes takes records of %d", size, most)
		}
		opts := Options{FileSize: size}
		j, _ := mustOpen(t, m, opts, 0)
		var want [][]byte
		for i := range 7 { // the current file is filled to any degree
			for _, n := range []int{int(most), 1 + i*int(size)/20} {
				r := content(i, 0, n)
				mustAdd(t, j, r)
				want = append(want, r)
			}
		}
		if _, err := j.Reserve(t.Context(), int(most)+1, true); err == nil || errors.Is(err, store.ErrNoSpace) {
			t.Errorf("a record of %d bytes: %v", most+1, err)
		}
		mustClose(t, j)
		j, got := mustOpen(t, m, opts, 0)
		got.want(t, 0, want)
		mustClose(t, j)
	}
}

// Those who wait for room do not keep the others busy.
func TestReserve_waitsWithoutSpinning(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	g := newGate(isBatch)
	j, _ := mustOpen(t, vfs.Inject(m, g.hook), testOptions(), 0)
	g.close()
	most := int(MaxRecord(testSize))
	var writing sync.WaitGroup
	for i := range 8 { // more than there is room for
		writing.Go(func() {
			if err := add(j, content(i, 0, most)); err != nil {
				t.Error(err)
			}
		})
	}
	<-g.arrived
	settled := func() bool { // a spare is there, and two records are admitted
		j.space.mu.Lock()
		defer j.space.mu.Unlock()
		return j.files.count() == 2 && j.space.waiting == 6
	}
	for !settled() {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Reserve(ctx, most, false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	j.space.mu.Lock()
	more := j.space.more
	j.space.mu.Unlock()
	for range 100 { // each makes makeFiles look, and find enough
		j.space.wantMore()
		for len(j.space.want) > 0 {
			runtime.Gosched()
		}
	}
	select {
	case <-more:
		t.Error("those who wait were woken for nothing")
	default:
	}
	g.release()
	writing.Wait()
	mustClose(t, j)
}

func TestReserve_endsWithClose(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	g := newGate(func(op vfs.Op) bool {
		return op.Kind == vfs.OpCreate && op.Path != testDir+"/0000000000000000.wal"
	})
	g.close()
	j, _ := mustOpen(t, vfs.Inject(m, g.hook), testOptions(), 0)
	var held []Reservation
	for range 2 {
		r, err := j.Reserve(t.Context(), 10000, false)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, r)
	}
	waiting := make(chan error)
	go func() {
		_, err := j.Reserve(context.Background(), 10000, false)
		waiting <- err
	}()
	<-g.arrived
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	if err := <-waiting; !errors.Is(err, store.ErrClosed) {
		t.Errorf("reserve: %v", err)
	}
	// Close does not leave the maker of files behind, which could remove one that
	// the next Open has found.
	for range 1000 {
		runtime.Gosched()
	}
	select {
	case err := <-closed:
		t.Fatalf("closed while a file is being made: %v", err)
	default:
	}
	g.release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for _, r := range held {
		j.Cancel(r)
	}
	mustClose(t, j)
	// The file that was being made is not left half done.
	if names, err := m.List(testDir); err != nil || len(names) != 1 {
		t.Errorf("%v are left: %v", names, err)
	}
}
