package journal

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

func TestRelease_filesAreUsedAgain(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	var released uint64
	for i := range uint64(400) {
		mustAdd(t, j, content(0, i+1, 4000))
		if i%10 == 9 {
			released = i - 2
			j.Release(released)
		}
		if n := j.Stats().Files; n > 6 {
			t.Fatalf("%d files after record %d", n, i+1)
		}
	}
	mustClose(t, j)
	if used := m.Used(); used > 6*testSize {
		t.Errorf("%d bytes in use", used)
	}
	j, got := mustOpen(t, m, testOptions(), released)
	var want [][]byte
	for lsn := released + 1; lsn <= 400; lsn++ {
		want = append(want, content(0, lsn, 4000))
	}
	got.want(t, released, want)
	mustClose(t, j)
}

// A file is needed until its last record is not.
func TestRelease_withinAFile(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	var want [][]byte
	var lasts []uint64 // of files
	for i := range uint64(60) {
		r := content(0, i+1, 4000)
		before := j.files.current
		mustAdd(t, j, r)
		if j.files.current != before {
			lasts = append(lasts, i)
		}
		want = append(want, r)
	}
	if len(lasts) < 3 {
		t.Fatalf("only %d rotations", len(lasts))
	}
	for _, last := range lasts {
		before := len(j.files.sealed)
		j.Release(last - 1)
		if n := len(j.files.sealed); n != before {
			t.Errorf("release of all but one record freed %d files", before-n)
		}
		c, got := mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), testOptions(), last-1)
		got.want(t, last-1, want[last-1:])
		mustClose(t, c)
		j.Release(last)
		if n := len(j.files.sealed); n != before-1 {
			t.Errorf("release of all records freed %d files", before-n)
		}
	}
	mustClose(t, j)
}

func TestOpen_obsoleteFilesBecomeSpares(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	for i := range uint64(100) {
		mustAdd(t, j, content(0, i+1, 4000))
	}
	mustClose(t, j)
	before, err := m.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []uint64{100, 150} {
		m := m.CrashClone(nil, vfs.CrashOptions{})
		created := 0
		fs := vfs.Inject(m, vfs.OnKinds(func(op vfs.Op) error { created++; return nil }, vfs.OpCreate))
		j, _ := mustOpen(t, fs, testOptions(), after)
		if n := j.Stats().Files; n > 1+keptSpares {
			t.Errorf("%d files are kept", n)
		}
		for i := range uint64(20) {
			mustAdd(t, j, content(1, i, 4000))
		}
		mustClose(t, j)
		names, err := m.List(testDir)
		if err != nil || created > 1 {
			t.Errorf("created %d files: %v", created, err)
		}
		if kept := slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(before, n) }); len(kept) < 2 {
			t.Errorf("no file of %v was used again", before)
		}
	}
}

// A server that is killed again and again must not fill the disk.
func TestOpen_restartsAddNoFiles(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	var want [][]byte
	for i := range 40 {
		j, got := mustOpen(t, m, testOptions(), 0)
		got.want(t, 0, want)
		if i%2 == 0 {
			want = append(want, []byte{byte(i)})
			mustAdd(t, j, want[len(want)-1])
		}
		names, err := m.List(testDir)
		if err != nil || len(names) > 2 {
			t.Fatalf("after %d restarts: %v %v", i, names, err)
		}
		m = m.CrashClone(nil, vfs.CrashOptions{Mode: vfs.CrashKeepAll})
		mustClose(t, j)
	}
}

// The name of a file that another process was making when it was killed is not
// durable, and must be before the file is used.
func TestOpen_spareOfAKilledProcess(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	spare := testDir + "/0000000000000001.wal"
	named := newGate(func(op vfs.Op) bool {
		if op.Kind != vfs.OpSyncDir || op.Path != testDir {
			return false
		}
		_, err := m.Stat(spare)
		return err == nil
	})
	named.close()
	j, _ := mustOpen(t, vfs.Inject(m, named.hook), testOptions(), 0)
	<-named.arrived
	killed := m.CrashClone(nil, vfs.CrashOptions{Mode: vfs.CrashKeepAll})
	named.release()
	mustClose(t, j)

	made := newGate(func(op vfs.Op) bool { return op.Kind == vfs.OpCreate })
	made.close() // nobody else syncs the folder
	j, _ = mustOpen(t, vfs.Inject(killed, made.hook), testOptions(), 0)
	var want [][]byte
	for i := range 20 {
		want = append(want, content(0, uint64(i), 4000))
		mustAdd(t, j, want[i])
	}
	if name := j.files.current.file.Name(); name != spare {
		t.Fatalf("goes on in %s", name)
	}
	lost := killed.CrashClone(nil, vfs.CrashOptions{Mode: vfs.CrashLoseAll})
	made.release()
	mustClose(t, j)
	j, got := mustOpen(t, lost, testOptions(), 0)
	got.want(t, 0, want)
	mustClose(t, j)
}

// Nor is its size, which the header of a file in use vouches for.
func TestOpen_spareOfUnknownSize(t *testing.T) {
	spare := testDir + "/0000000000000001.wal"
	onSpare := func(op vfs.Op) bool { return isSync(op) && op.Path == spare }
	m := newMem(t, vfs.MemOptions{})
	filled := newGate(onSpare)
	filled.close()
	j, _ := mustOpen(t, vfs.Inject(m, filled.hook), testOptions(), 0)
	<-filled.arrived
	killed := m.CrashClone(nil, vfs.CrashOptions{Mode: vfs.CrashKeepAll})
	filled.release()
	mustClose(t, j)

	var crashes []*vfs.Mem
	rng := rand.New(rand.NewPCG(1, 2))
	syncs := 0
	fs := vfs.Inject(killed, vfs.Matching(func(vfs.Op) error {
		if syncs++; syncs == 2 { // of its first batch
			for range 100 {
				crashes = append(crashes, killed.CrashClone(rng, vfs.CrashOptions{Mode: vfs.CrashRandom}))
			}
		}
		return nil
	}, onSpare))
	j, _ = mustOpen(t, fs, testOptions(), 0)
	n := 0
	for ; j.files.current.file.Name() != spare; n++ {
		mustAdd(t, j, content(0, uint64(n), 4000))
	}
	mustClose(t, j)
	if len(crashes) == 0 {
		t.Fatal("no crash")
	}
	for i, c := range crashes {
		var got replayed
		j, err := Open(c, testDir, testOptions(), 0, got.replay)
		if err != nil || len(got.records) < n-1 {
			t.Fatalf("crash %d: %d records of %d: %v", i, len(got.records), n, err)
		}
		mustClose(t, j)
	}
}
