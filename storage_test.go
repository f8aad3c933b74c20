package durablestreams

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestResolveDir checks that a folder has one name, before and after it is made.
func TestResolveDir(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(root, "link")); err != nil {
		t.Skip(err)
	}
	t.Chdir(root)
	want := filepath.Join(root, "real", "a", "b")
	names := []string{"link/a/b", "./real/a/b/", root + "/real/x/../a//b", root + "/link/a/b"}
	for _, when := range []string{"missing", "present"} {
		for _, name := range names {
			if got, err := resolveDir(name); err != nil || got != want {
				t.Errorf("%s, %s: %s, %v; want %s", name, when, got, err, want)
			}
		}
		if err := os.MkdirAll(want, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResolveDir_belowAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := resolveDir(filepath.Join(file, "data")); err == nil {
		t.Errorf("resolved to %s", got)
	}
}

func TestDisk_placeholders(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("STREAMS_TEST_DIR", root)
	for in, want := range map[string]string{
		"{env.STREAMS_TEST_DIR}/a": filepath.Join(root, "a"),
		root + `/\{b}`:             filepath.Join(root, "{b}"),
	} {
		d := &Disk{DiskOptions{DataDir: in}}
		if err := d.Provision(caddy.Context{}); err != nil || d.DataDir != want {
			t.Errorf("%s: %s, %v; want %s", in, d.DataDir, err, want)
		}
	}
}
