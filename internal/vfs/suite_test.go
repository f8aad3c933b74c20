package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestFS runs on every implementation what the interface promises.
func TestFS(t *testing.T) {
	for _, impl := range []struct {
		name string
		open func(t *testing.T) (FS, string)
	}{
		{"OS", func(t *testing.T) (FS, string) { return OS, t.TempDir() }},
		{"Mem", func(t *testing.T) (FS, string) {
			m := NewMem(MemOptions{})
			must(t, m.MkdirAll("/data"))
			return m, "/data"
		}},
		{"MemRelative", func(*testing.T) (FS, string) { return NewMem(MemOptions{}), "." }},
		{"Inject", func(t *testing.T) (FS, string) {
			return Inject(OS, func(Op) error { return nil }), t.TempDir()
		}},
	} {
		t.Run(impl.name, func(t *testing.T) {
			for _, test := range []struct {
				name string
				run  func(t *testing.T, fsys FS, dir string)
			}{
				{"create", testCreate},
				{"open", testOpen},
				{"read", testRead},
				{"truncate", testTruncate},
				{"closed", testClosed},
				{"remove", testRemove},
				{"rename", testRename},
				{"directories", testDirectories},
				{"lock", testLock},
				{"free space", testFreeSpace},
				{"random writes", testRandomWrites},
				{"concurrent", testConcurrent},
			} {
				t.Run(test.name, func(t *testing.T) {
					fsys, dir := impl.open(t)
					test.run(t, fsys, dir)
				})
			}
		})
	}
}

func testCreate(t *testing.T, fsys FS, dir string) {
	name := filepath.Join(dir, "f")
	f := create(t, fsys, name, "hello")
	if f.Name() != name {
		t.Errorf("Name = %q, want %q", f.Name(), name)
	}
	if size, err := f.Size(); err != nil || size != 5 {
		t.Errorf("Size = %d, %v, want 5", size, err)
	}
	must(t, f.Sync())
	must(t, f.Close())
	must(t, fsys.SyncDir(dir))
	wantErr(t, second(fsys.Create(name)), fs.ErrExist)
	wantErr(t, second(fsys.Create(filepath.Join(dir, "none", "f"))), fs.ErrNotExist)
	wantContent(t, fsys, name, "hello")
}

func testOpen(t *testing.T, fsys FS, dir string) {
	name := filepath.Join(dir, "f")
	wantErr(t, second(fsys.Open(name)), fs.ErrNotExist)
	wantErr(t, second(fsys.OpenReadWrite(name)), fs.ErrNotExist)
	must(t, create(t, fsys, name, "hello").Close())

	for _, open := range []func(string) (File, error){fsys.Open, fsys.OpenReadWrite} {
		if f, err := open(dir); err == nil {
			t.Errorf("opening a directory gives %v, want an error", f.Name())
		}
	}

	r, err := fsys.Open(name)
	must(t, err)
	if n, err := r.WriteAt([]byte("x"), 0); n != 0 || err == nil {
		t.Errorf("WriteAt on a file opened for reading = %d, %v", n, err)
	}
	if err := r.Truncate(0); err == nil {
		t.Error("Truncate on a file opened for reading succeeds")
	}
	must(t, r.Close())

	w, err := fsys.OpenReadWrite(name)
	must(t, err)
	writeAt(t, w, "J", 0)
	writeAt(t, w, "!", 5)
	must(t, w.Close())
	wantContent(t, fsys, name, "Jello!")
}

func testRead(t *testing.T, fsys FS, dir string) {
	f := create(t, fsys, filepath.Join(dir, "f"), "hello")
	defer closeFile(t, f)
	for _, c := range []struct {
		off  int64
		size int
		want string
		err  error
	}{
		{0, 5, "hello", nil},
		{1, 3, "ell", nil},
		{3, 5, "lo", io.EOF},
		{5, 1, "", io.EOF},
		{9999, 1, "", io.EOF},
	} {
		p := make([]byte, c.size)
		n, err := f.ReadAt(p, c.off)
		if string(p[:n]) != c.want || !errors.Is(err, c.err) {
			t.Errorf("ReadAt(%d bytes, %d) = %q, %v, want %q, %v", c.size, c.off, p[:n], err, c.want, c.err)
		}
	}
	if n, err := f.ReadAt(make([]byte, 1), -1); n != 0 || err == nil || err == io.EOF {
		t.Errorf("ReadAt a negative offset = %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("x"), -1); n != 0 || err == nil {
		t.Errorf("WriteAt a negative offset = %d, %v", n, err)
	}

	// A gap reads as zeros.
	writeAt(t, f, "end", 10_000)
	p := bytes.Repeat([]byte{1}, 9995)
	if _, err := f.ReadAt(p, 5); err != nil || !bytes.Equal(p, make([]byte, 9995)) {
		t.Errorf("a gap does not read as zeros (%v)", err)
	}
}

func testTruncate(t *testing.T, fsys FS, dir string) {
	name := filepath.Join(dir, "f")
	f := create(t, fsys, name, string(bytes.Repeat([]byte("x"), 10_000)))
	defer closeFile(t, f)
	must(t, f.Truncate(3))
	wantContent(t, fsys, name, "xxx")
	must(t, f.Truncate(6))
	wantContent(t, fsys, name, "xxx\x00\x00\x00")
	writeAt(t, f, "y", 7)
	wantContent(t, fsys, name, "xxx\x00\x00\x00\x00y")
	must(t, f.Truncate(0))
	wantContent(t, fsys, name, "")
	if err := f.Truncate(-1); err == nil {
		t.Error("Truncate to a negative size succeeds")
	}
}

func testClosed(t *testing.T, fsys FS, dir string) {
	f := create(t, fsys, filepath.Join(dir, "f"), "hello")
	must(t, f.Close())
	wantErr(t, f.Close(), fs.ErrClosed)
	wantErr(t, f.Sync(), fs.ErrClosed)
	wantErr(t, f.Truncate(0), fs.ErrClosed)
	wantErr(t, second(f.Size()), fs.ErrClosed)
	wantErr(t, second(f.ReadAt(make([]byte, 1), 0)), fs.ErrClosed)
	wantErr(t, second(f.WriteAt(make([]byte, 1), 0)), fs.ErrClosed)
}

func testRemove(t *testing.T, fsys FS, dir string) {
	name := filepath.Join(dir, "f")
	wantErr(t, fsys.Remove(name), fs.ErrNotExist)
	f := create(t, fsys, name, "hello")
	must(t, fsys.Remove(name))
	wantErr(t, second(fsys.Stat(name)), fs.ErrNotExist)
	p := make([]byte, 5)
	if _, err := f.ReadAt(p, 0); err != nil || string(p) != "hello" {
		t.Errorf("a removed file reads %q, %v through its handle", p, err)
	}
	closeFile(t, f)

	sub := filepath.Join(dir, "sub")
	must(t, fsys.MkdirAll(sub))
	must(t, create(t, fsys, filepath.Join(sub, "f"), "").Close())
	if err := fsys.Remove(sub); err == nil {
		t.Error("removed a directory that is not empty")
	}
	must(t, fsys.Remove(filepath.Join(sub, "f")))
	must(t, fsys.Remove(sub))
	wantErr(t, second(fsys.List(sub)), fs.ErrNotExist)
}

func testRename(t *testing.T, fsys FS, dir string) {
	a, b, sub := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "sub")
	wantErr(t, fsys.Rename(a, b), fs.ErrNotExist)
	fa := create(t, fsys, a, "a")
	must(t, create(t, fsys, b, "b").Close())
	must(t, fsys.Rename(a, b))
	wantContent(t, fsys, b, "a")
	wantList(t, fsys, dir, "b")
	writeAt(t, fa, "A", 0)
	closeFile(t, fa)
	wantContent(t, fsys, b, "A")
	must(t, fsys.Rename(b, b))
	wantContent(t, fsys, b, "A")

	must(t, fsys.MkdirAll(sub))
	wantErr(t, fsys.Rename(b, sub), fs.ErrExist)
	if err := fsys.Rename(sub, b); err == nil {
		t.Error("renamed a directory onto a file")
	}
	if err := fsys.Rename(sub, filepath.Join(sub, "sub")); err == nil {
		t.Error("renamed a directory into itself")
	}
	must(t, fsys.Rename(b, filepath.Join(sub, "c")))
	must(t, fsys.Rename(sub, filepath.Join(dir, "moved")))
	wantList(t, fsys, dir, "moved")
	wantContent(t, fsys, filepath.Join(dir, "moved", "c"), "A")
}

func testDirectories(t *testing.T, fsys FS, dir string) {
	deep := filepath.Join(dir, "x", "y", "z")
	must(t, fsys.MkdirAll(deep))
	must(t, fsys.MkdirAll(deep))
	must(t, fsys.SyncDir(dir))
	for _, name := range []string{"b", "a", "B", "ab"} {
		must(t, create(t, fsys, filepath.Join(deep, name), "12345").Close())
	}
	wantList(t, fsys, deep, "B", "a", "ab", "b")
	if info, err := fsys.Stat(deep); err != nil || !info.IsDir {
		t.Errorf("Stat of a directory = %+v, %v", info, err)
	}
	file := filepath.Join(deep, "a")
	if info, err := fsys.Stat(file); err != nil || info != (Info{Size: 5}) {
		t.Errorf("Stat of a file = %+v, %v", info, err)
	}
	if err := fsys.MkdirAll(filepath.Join(file, "sub")); err == nil {
		t.Error("made a directory below a file")
	}
	if _, err := fsys.List(file); err == nil {
		t.Error("listed a file")
	}
	if err := fsys.SyncDir(file); err == nil {
		t.Error("synced a file as a directory")
	}
	none := filepath.Join(dir, "none")
	wantErr(t, second(fsys.List(none)), fs.ErrNotExist)
	wantErr(t, second(fsys.Stat(none)), fs.ErrNotExist)
	wantErr(t, fsys.SyncDir(none), fs.ErrNotExist)
}

func testLock(t *testing.T, fsys FS, dir string) {
	name := filepath.Join(dir, "LOCK")
	lock, err := fsys.Lock(name)
	must(t, err)
	_, err = fsys.Lock(name)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Name != name || locked.PID != os.Getpid() {
		t.Errorf("second Lock = %v, want a LockedError with this process's id", err)
	}
	must(t, lock.Close())
	wantErr(t, lock.Close(), fs.ErrClosed)
	lock, err = fsys.Lock(name)
	must(t, err)
	must(t, lock.Close())
	wantList(t, fsys, dir, "LOCK")
	if _, err := fsys.Lock(dir); err == nil || errors.As(err, &locked) {
		t.Errorf("Lock of a directory = %v", err)
	}
}

func testFreeSpace(t *testing.T, fsys FS, dir string) {
	if free, err := fsys.FreeSpace(dir); err != nil || free == 0 {
		t.Errorf("FreeSpace = %d, %v", free, err)
	}
	wantErr(t, second(fsys.FreeSpace(filepath.Join(dir, "none"))), fs.ErrNotExist)
}

// testRandomWrites compares a file with a slice of bytes.
func testRandomWrites(t *testing.T, fsys FS, dir string) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	f := create(t, fsys, filepath.Join(dir, "f"), "")
	defer closeFile(t, f)
	var model []byte
	for step := range 300 {
		off := rng.Int64N(5 * pageSize)
		switch rng.IntN(4) {
		case 0:
			must(t, f.Truncate(off))
			if off > int64(len(model)) {
				model = append(model, make([]byte, off-int64(len(model)))...)
			}
			model = model[:off:off]
		case 1:
			must(t, f.Sync())
		default:
			p := make([]byte, 1+rng.IntN(2*pageSize))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			writeAt(t, f, string(p), off)
			if end := off + int64(len(p)); end > int64(len(model)) {
				model = append(model, make([]byte, end-int64(len(model)))...)
			}
			copy(model[off:], p)
		}
		got := make([]byte, len(model)+1)
		if n, err := f.ReadAt(got, 0); err != io.EOF || !bytes.Equal(got[:n], model) {
			t.Fatalf("seed %d: step %d: read %d bytes (%v) that are not the %d written", seed, step, n, err, len(model))
		}
	}
}

// testConcurrent is for the race detector.
func testConcurrent(t *testing.T, fsys FS, dir string) {
	shared := create(t, fsys, filepath.Join(dir, "shared"), "")
	var wg sync.WaitGroup
	for id := range 4 {
		wg.Go(func() {
			name := filepath.Join(dir, string(rune('a'+id)))
			p := bytes.Repeat([]byte{byte(id)}, 1000)
			for i := range 30 {
				off := int64(id*30+i) * 1000
				if _, err := shared.WriteAt(p, off); err != nil {
					t.Error(err)
				}
				got := make([]byte, len(p))
				if _, err := shared.ReadAt(got, off); err != nil || !bytes.Equal(got, p) {
					t.Errorf("read back something else (%v)", err)
				}
				f, err := fsys.Create(name)
				if err != nil {
					t.Error(err)
					return
				}
				err = errors.Join(second(f.WriteAt(p, 0)), f.Sync(), f.Close(),
					fsys.Rename(name, name+"2"), fsys.SyncDir(dir), second(fsys.List(dir)), fsys.Remove(name+"2"))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantList(t, fsys, dir, "shared")
	closeFile(t, shared)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// second returns the error of a call with two results.
func second[T any](_ T, err error) error { return err }

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func closeFile(t testing.TB, f io.Closer) {
	t.Helper()
	must(t, f.Close())
}

func writeAt(t testing.TB, f File, s string, off int64) {
	t.Helper()
	if n, err := f.WriteAt([]byte(s), off); n != len(s) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(s), off, n, err)
	}
}

// create makes a file and leaves it open and unsynced.
func create(t testing.TB, fsys FS, name, content string) File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	writeAt(t, f, content, 0)
	return f
}

// content returns what a file holds.
func content(t testing.TB, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer closeFile(t, f)
	size, err := f.Size()
	must(t, err)
	p := make([]byte, size)
	if n, err := f.ReadAt(p, 0); n != len(p) || (err != nil && err != io.EOF) {
		t.Fatalf("ReadAt(%d bytes, 0) = %d, %v", len(p), n, err)
	}
	return string(p)
}

func wantContent(t testing.TB, fsys FS, name, want string) {
	t.Helper()
	if got := content(t, fsys, name); got != want {
		t.Errorf("%s holds %q, want %q", name, got, want)
	}
}

func wantList(t testing.TB, fsys FS, dir string, want ...string) {
	t.Helper()
	got, err := fsys.List(dir)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("%s lists %q, want %q", dir, got, want)
	}
}
