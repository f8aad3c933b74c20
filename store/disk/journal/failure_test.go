package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// failing opens a journal over m on which the n-th write of a batch, counted from
// 0, fails with err.
func failing(t *testing.T, m *vfs.Mem, n int64, err error) *Journal {
	t.Helper()
	j, _ := mustOpen(t, vfs.Inject(m, vfs.Matching(vfs.FailNth(n, err), isBatch)), testOptions(), 0)
	return j
}

// firstFile matches operations of this kind on the file that a new journal
// begins with.
func firstFile(kind vfs.OpKind) func(vfs.Op) bool {
	return func(op vfs.Op) bool { return op.Kind == kind && op.Path == testDir+"/0000000000000000.wal" }
}

// A sync that failed proves nothing, nor does a later one that succeeds.
func TestSync_failureIsFinal(t *testing.T) {
	for n := range 4 { // the sync of the n-th batch; with 0 the header's too
		t.Run(fmt.Sprintf("batch=%d", n), func(t *testing.T) {
			m := newMem(t, vfs.MemOptions{})
			g := newGate(firstFile(vfs.OpSync))
			syncs := 0
			fs := vfs.Inject(m, vfs.OnKinds(vfs.All(g.hook, func(op vfs.Op) error {
				if !firstFile(vfs.OpSync)(op) {
					return nil
				}
				if syncs++; syncs == 2+n { // the first was of the empty file
					return &vfs.FailedSync{}
				}
				return nil
			}), vfs.OpSync))
			j, _ := mustOpen(t, fs, testOptions(), 0)
			var want [][]byte
			for i := range n {
				want = append(want, content(0, uint64(i), 5000))
				mustAdd(t, j, want[i])
			}
			reserved, err := j.Reserve(t.Context(), 1, false)
			if err != nil {
				t.Fatal(err)
			}
			g.close()
			var waiting []*outcome
			for i := range 3 { // one in the batch, two behind it
				r := content(0, uint64(n+i), 5000)
				_, o, err := submit(j, r)
				if err != nil {
					t.Fatal(err)
				}
				waiting = append(waiting, o)
				want = append(want, r)
				if i == 0 {
					<-g.arrived
				}
			}
			g.release()
			for i, o := range waiting {
				if err := o.wait(); !errors.Is(err, store.ErrUnknownOutcome) || !errors.Is(err, vfs.ErrInjected) {
					t.Errorf("record %d: %v", i, err)
				}
			}
			if err := j.Err(); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, vfs.ErrInjected) {
				t.Errorf("err: %v", err)
			}
			if err := j.Submit(&Pending{Body: []byte("x"), Target: newOutcome()}, reserved); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("submit: %v", err)
			}
			if j.Durable() != uint64(n) {
				t.Errorf("durable is %d, want %d", j.Durable(), n)
			}
			if err := j.Close(); !errors.Is(err, vfs.ErrInjected) {
				t.Errorf("close: %v", err)
			}
			if _, err := j.Reserve(t.Context(), 1, false); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("reserve: %v", err)
			}
			if syncs != 2+n {
				t.Errorf("%d syncs, want %d: none after the one that failed", syncs, 2+n)
			}
			for _, o := range waiting {
				if len(o.ch) > 0 {
					t.Error("told twice")
				}
			}

			// The system still shows the batch. Who opens the journal may believe it
			// only after it was written again.
			j, got := mustOpen(t, m, testOptions(), 0)
			got.want(t, 0, want[:n+1])
			c, got := mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), testOptions(), 0)
			got.want(t, 0, want[:n+1])
			mustClose(t, c)
			mustAdd(t, j, want[n+1])
			mustClose(t, j)
			c, got = mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), testOptions(), 0)
			got.want(t, 0, want[:n+2])
			mustClose(t, c)
		})
	}
}

func TestWrite_failureIsFinal(t *testing.T) {
	for _, short := range []int{0, 1, 40, 4096, 5000} {
		m := newMem(t, vfs.MemOptions{})
		j := failing(t, m, 1, &vfs.ShortWrite{N: short})
		one, two := content(0, 1, 5000), content(0, 2, 5000)
		mustAdd(t, j, one)
		if err := add(j, two); !errors.Is(err, store.ErrUnknownOutcome) || !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("add: %v", err)
		}
		if err := add(j, two); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("add after it: %v", err)
		}
		if err := j.Close(); !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("close: %v", err)
		}
		j, got := mustOpen(t, m, testOptions(), 0)
		got.want(t, 0, [][]byte{one})
		three := content(0, 3, 4000)
		mustAdd(t, j, three)
		mustClose(t, j)
		j, got = mustOpen(t, m, testOptions(), 0)
		got.want(t, 0, [][]byte{one, three})
		mustClose(t, j)
	}
}

// An error may also come from a write that has reached the disk.
func TestWrite_fullThenFails(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j := failing(t, m, 0, &vfs.ShortWrite{N: 1 << 20})
	if err := add(j, []byte("one")); !errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("add: %v", err)
	}
	if err := j.Close(); err == nil {
		t.Error("closed without an error")
	}
	j, got := mustOpen(t, m, testOptions(), 0)
	got.want(t, 0, [][]byte{[]byte("one")})
	mustClose(t, j)
}

// Whatever fails, at once or for good: what was acknowledged is there, and what
// is there was submitted.
func TestErrors_everyOperation(t *testing.T) {
	for _, opts := range []Options{testOptions(), {FileSize: testSize, SyncInterval: time.Hour}} {
		for _, tc := range []struct {
			name string
			hook func(n int64) vfs.Hook
		}{
			{"once", func(n int64) vfs.Hook { return vfs.FailNth(n, vfs.ErrInjected) }},
			{"from", func(n int64) vfs.Hook { return vfs.FailFrom(n, vfs.ErrInjected) }},
			{"short", func(n int64) vfs.Hook { return vfs.FailNth(n, &vfs.ShortWrite{N: 777}) }},
			{"sync", func(n int64) vfs.Hook { return vfs.FailNth(n, &vfs.FailedSync{}) }},
			{"space", func(n int64) vfs.Hook { return vfs.FailNth(n, &vfs.ShortWrite{N: 777, Err: syscall.ENOSPC}) }},
		} {
			t.Run(fmt.Sprintf("%s/interval=%v", tc.name, opts.SyncInterval), func(t *testing.T) {
				t.Parallel()
				n := int64(0)
				for ; ; n++ {
					var ops, handles atomic.Int64
					m := newMem(t, vfs.MemOptions{})
					fail := tc.hook(n)
					fs := vfs.Inject(m, func(op vfs.Op) error {
						ops.Add(1)
						err := fail(op)
						switch {
						case op.Kind == vfs.OpClose:
							handles.Add(-1) // also if it fails
						case err == nil && (op.Kind == vfs.OpCreate || op.Kind == vfs.OpOpenReadWrite):
							handles.Add(1)
						}
						return err
					})
					failedRun(t, m, fs, opts, fmt.Sprintf("operation %d", n))
					if h := handles.Load(); h != 0 {
						t.Errorf("operation %d: %d files are left open", n, h)
					}
					if ops.Load() <= n {
						break
					}
				}
				if n < 50 {
					t.Errorf("only %d operations", n)
				}
			})
		}
	}
}

// failedRun works on fs until something fails, and then checks what m, which is
// below it, holds.
func failedRun(t *testing.T, m *vfs.Mem, fs vfs.FS, opts Options, name string) {
	t.Helper()
	l := &timeline{interval: opts.SyncInterval > 0}
	tryWork(t, fs, opts, l)
	// A failure in the middle does not let the process forget what it wrote.
	l.survives(l.acked)
	power := m.CrashClone(rand.New(rand.NewPCG(1, 2)), vfs.CrashOptions{Mode: vfs.CrashRandom})
	c := crash{disk: m, name: name, durable: l.durable, after: l.after, records: l.records}
	if !l.interval {
		lost := c
		lost.disk, lost.name = power, name+", then power loss"
		lost.survive(t, 2, opts, &observer{})
	}
	c.survive(t, 1, opts, &observer{})
}

// tryWork adds records, releases and reopens until something fails.
func tryWork(t *testing.T, fs vfs.FS, opts Options, l *timeline) {
	t.Helper()
	for range 3 {
		j, err := Open(fs, testDir, opts, l.after, new(replayed).replay)
		if err != nil {
			return
		}
		for range 10 {
			lsn := uint64(len(l.records) + 1)
			r, err := j.Reserve(t.Context(), len(record(0, lsn)), false)
			if err != nil {
				break
			}
			l.submit(record(0, lsn))
			o := newOutcome()
			if err := j.Submit(&Pending{Body: record(0, lsn), Target: o}, r); err != nil {
				break
			}
			if err := o.wait(); err != nil {
				if !errors.Is(err, store.ErrUnknownOutcome) {
					t.Errorf("outcome is %v", err)
				}
				break
			}
			l.acked = lsn
			if lsn%8 == 0 {
				j.Release(l.checkpoint(5))
			}
		}
		failed := j.Err()
		if err := j.Close(); err != nil || failed != nil {
			return
		}
	}
}
