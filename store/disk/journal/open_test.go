package journal

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

func TestOpen_replaysWhatWasAppended(t *testing.T) {
	for _, tc := range []struct {
		name string
		fs   func(t *testing.T) vfs.FS
	}{
		{"mem", func(t *testing.T) vfs.FS { return newMem(t, vfs.MemOptions{}) }},
		{"os", func(t *testing.T) vfs.FS { t.Chdir(t.TempDir()); return vfs.OS }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := tc.fs(t)
			if err := fs.MkdirAll("data"); err != nil {
				t.Fatal(err)
			}
			var want [][]byte
			for reopened := range 5 {
				j, got := mustOpen(t, fs, testOptions(), 0)
				got.want(t, 0, want)
				for i := range 20 {
					r := content(reopened, uint64(i), 1+i*i*10)
					mustAdd(t, j, r)
					want = append(want, r)
				}
				mustClose(t, j)
				if j.Durable() != uint64(len(want)) {
					t.Errorf("durable is %d, want %d", j.Durable(), len(want))
				}
			}
		})
	}
}

func TestOpen_skipsUpToAfter(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	var want [][]byte
	for i := range 40 { // in several files
		r := content(0, uint64(i), 4000)
		mustAdd(t, j, r)
		want = append(want, r)
	}
	mustClose(t, j)
	for after := range uint64(41) {
		c := m.CrashClone(nil, vfs.CrashOptions{})
		j, got := mustOpen(t, c, testOptions(), after)
		got.want(t, after, want[after:])
		p, o, err := submit(j, []byte("next"))
		if err = errors.Join(err, o.wait()); err != nil || p.LSN() != 41 {
			t.Errorf("after %d the next record is %d: %v", after, p.LSN(), err)
		}
		mustClose(t, j)
	}
}

// In interval mode a power loss can take what a checkpoint has.
func TestOpen_afterTheEndOfTheLog(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	for i := range 10 {
		mustAdd(t, j, content(0, uint64(i+1), 4000))
	}
	mustClose(t, j)
	err := m.Remove(testDir + "/0000000000000001.wal") // a spare, if it was made
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	// The first batch takes the place of others, and a crash may keep it and not
	// the header that it belongs to.
	var crashes []*vfs.Mem
	rng := rand.New(rand.NewPCG(1, 2))
	written := false
	watched := vfs.Inject(m, vfs.Matching(func(op vfs.Op) error {
		if isBatch(op) {
			written = true
		} else if isSync(op) && written {
			for range 50 {
				crashes = append(crashes, m.CrashClone(rng, vfs.CrashOptions{Mode: vfs.CrashRandom}))
			}
			written = false
		}
		return nil
	}, func(op vfs.Op) bool { return op.Path == testDir+"/0000000000000000.wal" }))
	j, got := mustOpen(t, watched, testOptions(), 100)
	got.want(t, 100, nil)
	want := [][]byte{content(1, 101, 20000), content(1, 102, 20000)}
	for i, r := range want {
		p, o, err := submit(j, r)
		if err = errors.Join(err, o.wait()); err != nil || p.LSN() != uint64(101+i) {
			t.Fatalf("record %d is %d: %v", i, p.LSN(), err)
		}
	}
	mustClose(t, j)
	j, got = mustOpen(t, m.CrashClone(nil, vfs.CrashOptions{}), testOptions(), 100)
	got.want(t, 100, want)
	mustClose(t, j)
	j, got = mustOpen(t, m, testOptions(), 101)
	got.want(t, 101, want[1:])
	mustClose(t, j)
	if len(crashes) < 100 {
		t.Errorf("%d crashes", len(crashes))
	}
	for i, c := range crashes {
		var got replayed
		j, err := Open(c, testDir, testOptions(), 100, got.replay)
		if err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		got.want(t, 100, want[:len(got.records)])
		if len(got.records) < i/50 {
			t.Errorf("crash %d: %d records", i, len(got.records))
		}
		mustClose(t, j)
	}
}

func TestOpen_afterIsBeforeTheLog(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 10)
	mustAdd(t, j, []byte("eleven"))
	mustClose(t, j)
	names, err := m.List(testDir)
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	_, err = Open(m, testDir, testOptions(), 9, new(replayed).replay)
	wantDamage(t, err, testDir+"/"+names[0], 0, 0)
}

// A failed replay leaves everything as it was.
func TestOpen_replayFails(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	for i := range 60 {
		mustAdd(t, j, content(0, uint64(i), 4000))
	}
	mustClose(t, j)

	stop := errors.New("stop")
	writes := 0
	fs := vfs.Inject(m, func(op vfs.Op) error {
		if op.Kind.Writes() && op.Kind != vfs.OpMkdirAll && op.Kind != vfs.OpSyncDir {
			t.Errorf("%v", op)
		}
		return nil
	})
	// Most files are obsolete, and the last record of all is the one that fails.
	_, err := Open(fs, testDir, testOptions(), 50, func(lsn uint64, _ []byte) error {
		writes++
		if lsn == 60 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || writes != 10 {
		t.Errorf("replayed %d: %v", writes, err)
	}
	j, got := mustOpen(t, m, testOptions(), 0)
	if len(got.records) != 60 {
		t.Errorf("replayed %d records afterwards", len(got.records))
	}
	mustClose(t, j)
}

func TestOpen_otherFileSize(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	var want [][]byte
	for i, size := range []int64{2*testSize + 3, testSize, testSize / 2, 16 << 10, testSize} {
		j, got := mustOpen(t, m, Options{FileSize: size}, 0)
		got.want(t, 0, want)
		for n := range 30 {
			r := content(i, uint64(n), int(MaxRecord(size))*n/40+1)
			mustAdd(t, j, r)
			want = append(want, r)
		}
		mustClose(t, j)
	}
	j, got := mustOpen(t, m, testOptions(), 0)
	got.want(t, 0, want)
	// Files of another size do not become spares.
	j.Release(j.Durable())
	mustAdd(t, j, []byte("x"))
	mustClose(t, j)
	names, err := m.List(testDir)
	if err != nil || len(names) > 1+keptSpares {
		t.Errorf("%d files are left: %v", len(names), err)
	}
	for _, n := range names {
		if info, err := m.Stat(testDir + "/" + n); err != nil || info.Size != testSize {
			t.Errorf("%s has %d bytes: %v", n, info.Size, err)
		}
	}
}

func TestOpen_filesAreTooSmall(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	for _, size := range []int64{-1, 0, minFileSize - 1} {
		if j, err := Open(m, testDir, Options{FileSize: size}, 0, nil); err == nil {
			t.Errorf("opened with files of %d bytes", size)
			mustClose(t, j)
		}
	}
}

// Files that are not the journal's are left alone.
func TestOpen_foreignFiles(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	j, _ := mustOpen(t, m, testOptions(), 0)
	mustAdd(t, j, []byte("one"))
	mustClose(t, j)
	foreign := []string{"notes.txt", "LOCK", "xyz.wal", "00.wal.bak"}
	for _, name := range foreign {
		f, err := m.Create(testDir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("foreign"), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j, got := mustOpen(t, m, testOptions(), 0)
	got.want(t, 0, [][]byte{[]byte("one")})
	mustClose(t, j)
	names, err := m.List(testDir)
	for _, name := range foreign {
		if !slices.Contains(names, name) {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}
