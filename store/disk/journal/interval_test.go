package journal

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// currentSync matches syncs of the file that the journal is in.
func currentSync(op vfs.Op) bool { return firstFile(vfs.OpSync)(op) }

func TestInterval_acknowledgesFirstAndSyncsWhenIdle(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	g := newGate(currentSync)
	opts := testOptions()
	opts.SyncInterval = time.Hour
	j, _ := mustOpen(t, vfs.Inject(m, g.hook), opts, 0)
	g.close()
	record := []byte("one")
	mustAdd(t, j, record) // although no sync can pass
	lost, got := mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), opts, 0)
	got.want(t, 0, nil)
	mustClose(t, lost)

	j.SetSyncInterval(time.Millisecond)
	<-g.arrived // nothing else wakes the committer
	g.release()
	mustAdd(t, j, []byte("two")) // behind that sync
	kept, got := mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), opts, 0)
	if len(got.records) == 0 {
		t.Error("nothing was synced")
	}
	mustClose(t, kept)
	mustClose(t, j)
}

func TestSetSyncInterval_toNone(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	opts := testOptions()
	opts.SyncInterval = time.Hour
	j, _ := mustOpen(t, m, opts, 0)
	want := [][]byte{[]byte("one"), []byte("two"), []byte("three")}
	mustAdd(t, j, want[0])
	j.SetSyncInterval(0)
	mustAdd(t, j, want[1])
	c, got := mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), opts, 0)
	got.want(t, 0, want[:2])
	mustClose(t, c)

	j.SetSyncInterval(time.Hour)
	syncs := j.Stats().Syncs
	mustAdd(t, j, want[2])
	if n := j.Stats().Syncs; n != syncs {
		t.Errorf("%d syncs", n-syncs)
	}
	mustClose(t, j)
	c, got = mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), opts, 0)
	got.want(t, 0, want)
	mustClose(t, c)
}

// A sync that fails while nobody waits is known to all who come later.
func TestInterval_syncFailsWhenIdle(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	opts := testOptions()
	opts.SyncInterval = time.Hour
	j, _ := mustOpen(t, vfs.Inject(m, vfs.Matching(vfs.FailFrom(1, &vfs.FailedSync{}), currentSync)), opts, 0)
	mustAdd(t, j, []byte("one"))
	j.SetSyncInterval(time.Nanosecond)
	<-j.done
	if err := j.Err(); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("err: %v", err)
	}
	if err := add(j, []byte("two")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("add: %v", err)
	}
	if err := j.Close(); !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("close: %v", err)
	}
}

func TestInterval_lastSyncFails(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	opts := testOptions()
	opts.SyncInterval = time.Hour
	j, _ := mustOpen(t, vfs.Inject(m, vfs.Matching(vfs.FailFrom(1, &vfs.FailedSync{}), currentSync)), opts, 0)
	mustAdd(t, j, []byte("one"))
	if err := j.Close(); !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("close: %v", err)
	}
}

// intervalLog writes three batches, syncs them, and writes two more, which say that
// the first three were synced, but prove nothing for each other.
func intervalLog(t *testing.T, m *vfs.Mem) (starts []int64, records [][]byte) {
	t.Helper()
	opts := testOptions()
	opts.SyncInterval = time.Hour
	j, _ := mustOpen(t, m, opts, 0)
	for i := range 5 {
		if i == 2 {
			j.SetSyncInterval(0)
		}
		records = append(records, content(0, uint64(i), 1000+i))
		starts = append(starts, j.files.current.end)
		mustAdd(t, j, records[i])
		if i == 2 {
			j.SetSyncInterval(time.Hour)
		}
	}
	mustClose(t, j)
	return starts, records
}

func TestInterval_damageBeforeASync(t *testing.T) {
	for i := range 5 {
		m := newMem(t, vfs.MemOptions{})
		starts, records := intervalLog(t, m)
		name := testDir + "/0000000000000000.wal"
		flip(t, m, name, starts[i]+100)
		var got replayed
		j, err := Open(m, testDir, testOptions(), 0, got.replay)
		if i < 3 {
			wantDamage(t, err, name, starts[i], starts[i])
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		// The batches were not proven to be synced: as after a crash. The next
		// record takes the place of the first, and must not be followed by the last.
		got.want(t, 0, records[:i])
		other := content(1, uint64(i), 1000+i)
		mustAdd(t, j, other)
		mustClose(t, j)
		j, again := mustOpen(t, m, testOptions(), 0)
		again.want(t, 0, append(records[:i:i], other))
		mustClose(t, j)
	}
}
