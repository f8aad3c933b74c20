package index

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// childEnv tells the test binary, started again, what to do in the folder it names.
const childEnv = "INDEX_TEST_CHILD"

func TestMain(m *testing.M) {
	if job, dir, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		children[job](dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var children = map[string]func(dir string){
	"open":    childOpens,
	"write":   childWrites,
	"handles": childLacksHandles,
}

func child(job, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+job+" "+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func childOpens(dir string) {
	_, err := OpenBadger(dir, Options{})
	fmt.Println(errors.Is(err, ErrLocked), errors.Is(err, ErrCorrupt), err)
}

func TestBadger_openTwice(t *testing.T) {
	t.Parallel()
	p := &badgerPlace{dir: t.TempDir()}
	x := p.open(t)
	want := map[string]string{"k": "v"}
	apply(t, x, want)

	_, err := OpenBadger(p.dir+"/.", Options{})
	var le *LockedError
	if !errors.Is(err, ErrLocked) || !errors.As(err, &le) || le.Dir != p.dir || !strings.Contains(err.Error(), p.dir) {
		t.Errorf("in this process: %v", err)
	}
	if errors.Is(err, ErrCorrupt) {
		t.Errorf("%v is ErrCorrupt", err)
	}
	out, err := child("open", p.dir).Output()
	if err != nil || !strings.HasPrefix(string(out), "true false ") || !strings.Contains(string(out), p.dir) {
		t.Errorf("in another process: %s, %v", out, err)
	}
	wantAll(t, reopen(t, p, x), want)
}

// childWrites applies batches of which the second waits for the first, and prints
// the number of each that is durable.
func childWrites(dir string) {
	x, err := OpenBadger(dir, Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var b Batch
	for i := 0; ; i++ {
		b.Reset()
		for j := range 300 {
			b.Set(fmt.Appendf(nil, "%d/%d", i%10, j), fmt.Append(nil, i))
		}
		if err := x.Apply(&b); err != nil {
			fmt.Println(err)
			return
		}
		b.Reset()
		b.Set([]byte("done"), fmt.Append(nil, i))
		if err := x.Apply(&b); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(i)
	}
}

// A process that is killed leaves every batch that Apply returned nil for.
func TestBadger_kill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		cmd := child("write", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked := -1
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				t.Fatalf("child: %s", lines.Text())
			}
			if acked == 20+round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || acked < 20 {
			t.Fatalf("child: %v after %d", err, acked)
		}
		checkChild(t, dir, acked)
	}
}

func checkChild(t *testing.T, dir string, acked int) {
	t.Helper()
	x, err := OpenBadger(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	v, err := x.Get(nil, []byte("done"))
	if err != nil {
		t.Fatal(err)
	}
	var done int
	if _, err := fmt.Sscan(string(v), &done); err != nil || done < acked {
		t.Fatalf("done = %s, acknowledged %d", v, acked)
	}
	// What "done" makes valid is there whole, and at most one batch more, or a part.
	for i := done - 9; i <= done; i++ {
		for j := range 300 {
			key := fmt.Appendf(nil, "%d/%d", i%10, j)
			v, err := x.Get(nil, key)
			if err != nil || string(v) != fmt.Sprint(i) && string(v) != fmt.Sprint(done+1) {
				t.Fatalf("%s = %q, %v; done %d", key, v, err, done)
			}
		}
	}
}

// childLacksHandles opens an index while no file can be opened, or only few.
func childLacksHandles(dir string) {
	var held []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		held = append(held, f)
	}
	for len(held) > 0 {
		x, err := OpenBadger(dir, Options{})
		if err == nil {
			fmt.Println("opened", x.Close())
			return
		}
		if !errors.Is(err, syscall.EMFILE) || errors.Is(err, ErrCorrupt) {
			fmt.Println("not EMFILE:", err)
			return
		}
		held[0].Close()
		held = held[1:]
	}
	fmt.Println("never opened")
}

func TestBadger_openWithoutFileHandles(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no ulimit")
	}
	s := sampleKilled(t)
	dir := s.write(t, "", nil)
	cmd := exec.Command("sh", "-c", `ulimit -n 64; exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=handles "+dir)
	out, err := cmd.Output()
	if err != nil || string(out) != "opened <nil>\n" {
		t.Fatalf("%s, %v", out, err)
	}
	if err := verdict(t, dir, s.want); err != nil {
		t.Error(err)
	}
}

func TestBadger_folderUnusable(t *testing.T) {
	t.Run("below a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{file, filepath.Join(file, "index")} {
			if _, err := OpenBadger(dir, Options{}); !errors.Is(err, syscall.ENOTDIR) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", dir, err)
			}
		}
	})
	t.Run("read-only", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write anywhere")
		}
		for _, dir := range []string{t.TempDir(), sampleStopped(t).write(t, "", nil)} {
			if err := os.Chmod(dir, 0o500); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenBadger(dir, Options{}); !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%v", err)
			}
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("other files", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenBadger(dir, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v", err)
		}
	})
	t.Run("all but empty", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, appliedName), appliedRecord(7), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenBadger(dir, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v", err)
		}
	})
	t.Run("creation interrupted", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{appliedName, discardName, "LOCK", "MANIFEST-REWRITE"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := verdict(t, dir, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestClassify(t *testing.T) {
	const dir = "/var/lib/too many open files"
	damage := &CorruptionError{Dir: dir, Err: errChecksum}
	tests := []struct {
		err             error
		corrupt, locked bool
	}{
		{nil, false, false},
		{damage, true, false},
		{fmt.Errorf("wrapped: %w", damage), true, false},
		{&fs.PathError{Op: "open", Path: dir, Err: syscall.EMFILE}, false, false},
		{&fs.PathError{Op: "write", Path: dir, Err: syscall.ENOSPC}, false, false},
		{errors.New("while opening: permission denied"), false, false},
		{errors.New("Cannot acquire directory lock on " + dir + ".  Another process"), false, true},
		{errors.New("failed to read index in " + dir + ": checksum mismatch"), true, false},
		{&fs.PathError{Op: "read", Path: dir, Err: syscall.EIO}, true, false},
		{badger.ErrTruncateNeeded, true, false},
	}
	for _, test := range tests {
		got := classify(dir, test.err)
		if (got == nil) != (test.err == nil) || !errors.Is(got, test.err) {
			t.Errorf("%v became %v", test.err, got)
		}
		if errors.Is(got, ErrCorrupt) != test.corrupt || errors.Is(got, ErrLocked) != test.locked {
			t.Errorf("%v: corrupt %t, locked %t", got, errors.Is(got, ErrCorrupt), errors.Is(got, ErrLocked))
		}
	}
}
