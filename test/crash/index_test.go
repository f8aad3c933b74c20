package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestIndex takes the index away, cuts its files and brings back older ones: it
// is a cache, and all streams answer as before.
func TestIndex(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "segment_size 1MiB")
	dir := filepath.Join(srv.dir, "index")
	old := t.TempDir()
	srv.start()
	h := newHouse(t, srv)
	h.furnish("one")
	h.check()
	srv.stop()
	copyFolder(t, old, dir)
	srv.start()
	h.rearrange("one")
	h.furnish("two")
	h.mark()

	starts := 0
	// with ends the server, does something to the index, and starts it again.
	with := func(what string, end func(*server), damage func() (matters bool)) {
		t.Helper()
		end(srv)
		matters := damage()
		srv.start()
		starts++
		h.check()
		warned := srv.warnings()
		if len(warned) == 0 && matters {
			t.Errorf("%s: no warning", what)
		}
		for _, w := range warned {
			if w.Level != "warn" {
				t.Errorf("%s: %s", what, w.text)
			}
		}
		// The next one shall not find what this one has.
		h.headers = nil
		h.append("one/plain/4", payload(typeText, what, 100))
		h.mark()
	}
	remove := func() bool {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		return true
	}
	restore := func() bool {
		copyFolder(t, dir, old)
		return true
	}
	for _, end := range []func(*server){(*server).stop, (*server).kill} {
		with("removed", end, remove)
		with("older", end, restore)
	}
	h.headers = nil
	h.vacate("one")
	h.mark()
	with("much older", (*server).stop, restore)

	for _, test := range []struct {
		pattern string
		end     func(*server)
		// matters: what the file holds is missed at the start.
		matters bool
	}{
		{"MANIFEST", (*server).stop, true},
		{"*.sst", (*server).stop, true},
		{"*.mem", (*server).kill, false}, // only a crash leaves one
		{"APPLIED", (*server).stop, false},
		{"KEYREGISTRY", (*server).stop, false},
		{"*.vlog", (*server).stop, false},
	} {
		for _, share := range []int64{0, 2} {
			with(fmt.Sprintf("%s truncated to 1/%d", test.pattern, share), test.end, func() bool {
				files := srv.files("index", test.pattern)
				if len(files) == 0 {
					t.Fatalf("the index has no %s", test.pattern)
				}
				file := files[len(files)-1]
				fi, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				var size int64
				if share > 0 {
					size = fi.Size() / share
				}
				if err := os.Truncate(file, size); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s truncated from %d to %d bytes", filepath.Base(file), fi.Size(), size)
				return test.matters
			})
			t.Logf("%d warnings", len(srv.warnings()))
		}
	}
	t.Logf("%d starts with a damaged index took at most %v", starts, slices.Max(srv.starts))
}

func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
