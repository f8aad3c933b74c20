package disk_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
)

// folder is a store on the real file system with the real index.
type folder struct {
	t   *testing.T
	dir string
	log bytes.Buffer
	now time.Time
}

func newFolder(t *testing.T) *folder { return &folder{t: t, dir: t.TempDir(), now: epoch} }

func (f *folder) tryOpen() (*disk.Store, error) {
	f.log.Reset()
	return disk.Open(disk.Options{
		Dir: f.dir, Manual: true, Now: func() time.Time { return f.now },
		JournalFileSize: 128 << 10, SegmentSize: 16 << 10, CheckpointSize: 1 << 20,
		Logger: slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}

func (f *folder) open() *disk.Store {
	f.t.Helper()
	s, err := f.tryOpen()
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *folder) run(s *disk.Store, steps ...step) {
	f.t.Helper()
	for _, st := range steps {
		var err error
		switch {
		case st.request != nil:
			_, err = st.request(s, f.now)
		case st.upkeep != nil:
			err = st.upkeep(s)
		}
		if err != nil {
			f.t.Fatalf("%s: %v", st.what, err)
		}
	}
}

func (f *folder) dump(s *disk.Store) string {
	f.t.Helper()
	d, err := dump(s)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (f *folder) close(s *disk.Store) {
	f.t.Helper()
	if err := s.Close(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) index() string { return filepath.Join(f.dir, "index") }

// copyIndex returns where a copy of the index is now. The store is closed.
func (f *folder) copyIndex() string {
	f.t.Helper()
	to := filepath.Join(f.t.TempDir(), "index")
	if err := os.CopyFS(to, os.DirFS(f.index())); err != nil {
		f.t.Fatal(err)
	}
	return to
}

func (f *folder) restoreIndex(from string) {
	f.t.Helper()
	if err := errors.Join(os.RemoveAll(f.index()), os.CopyFS(f.index(), os.DirFS(from))); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) segments() []string {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.dir, "segments", "*.seg"))
	if err != nil {
		f.t.Fatal(err)
	}
	return files
}

// firstAge and the ages after it change everything that an index holds.
var (
	firstAge = []step{
		create("a", text, "a1 "), add("a", text, "a2 ", by("p", 0, 0)), create("b", json, "1,\n2,\n"),
		create("c", text, long("c", 9000)), create("d", "", "fork", forkAt("a", 3)), checkpoint,
		add("a", text, "a3 ", by("p", 0, 1)), create("e", text, "e", withTTL(time.Hour)), checkpoint,
	}
	nextAges = map[string][]step{
		"nothing":    {},
		"checkpoint": {add("a", text, "a4", by("p", 1, 0)), add("b", json, "3,\n"), create("f", text, "f"), checkpoint},
		"merge":      {add("a", text, "a4"), checkpoint, add("a", text, "a5"), checkpoint, merge, add("b", json, "3,\n"), checkpoint},
		"recreation": {remove("c"), remove("e"), checkpoint, merge, create("c", text, "new"), create("e", text, "new"), checkpoint, merge},
		"deletion":   {remove("a"), remove("b"), remove("c"), remove("d"), remove("e"), checkpoint, merge, checkpoint},
	}
)

func TestIndex_real(t *testing.T) {
	t.Parallel()
	for age, steps := range nextAges {
		for harm, do := range map[string]func(f *folder, old string) error{
			"deleted": func(f *folder, _ string) error { return os.RemoveAll(f.index()) },
			"older": func(f *folder, old string) error {
				f.restoreIndex(old)
				return nil
			},
			"truncated": func(f *folder, _ string) error {
				return eachFile(f.index(), func(path string, size int64) error { return os.Truncate(path, size/2) })
			},
			"emptied": func(f *folder, _ string) error {
				return eachFile(f.index(), func(path string, _ int64) error { return os.Truncate(path, 0) })
			},
		} {
			t.Run(age+"/"+harm, func(t *testing.T) {
				f := newFolder(t)
				s := f.open()
				f.run(s, firstAge...)
				f.close(s)
				old := f.copyIndex()
				s = f.open()
				f.run(s, steps...)
				f.close(s)
				s = f.open()
				want := f.dump(s)
				f.close(s)
				if err := do(f, old); err != nil {
					t.Fatal(err)
				}
				s = f.open()
				if got := f.dump(s); got != want {
					t.Errorf("holds\n%swant\n%s", got, want)
				}
				changed := age != "nothing" || harm != "older"
				if warned := strings.Contains(f.log.String(), "index"); warned != changed {
					t.Errorf("the log is %q", f.log.String())
				}
				if age == "nothing" {
					if got, err := add("a", text, "x", by("p", 0, 1)).request(s, f.now); err != nil || !strings.HasPrefix(got, "2") {
						t.Errorf("a producer's repetition: %q, %v", got, err)
					}
				}
				f.close(s)
				s = f.open()
				if got := f.dump(s); got != want || f.log.Len() > 0 {
					t.Errorf("after another restart: holds\n%swant\n%slog %s", got, want, f.log.String())
				}
				f.close(s)
			})
		}
	}
}

// eachFile calls fn with every file of a folder that is not empty.
func eachFile(dir string, fn func(path string, size int64) error) error {
	files, err := os.ReadDir(dir)
	for _, file := range files {
		info, infoErr := file.Info()
		err = errors.Join(err, infoErr)
		if err == nil && info.Size() > 0 {
			err = fn(filepath.Join(dir, file.Name()), info.Size())
		}
	}
	return err
}

// The index names a segment that is not there: nothing is rebuilt without it.
func TestIndex_missingSegment(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	s := f.open()
	f.run(s, create("a", text, "a"), checkpoint, create("b", text, "b"), checkpoint)
	f.close(s)
	for _, file := range f.segments() {
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		_, err := f.tryOpen()
		if damage := new(store.CorruptionError); !errors.As(err, &damage) || damage.File != file {
			t.Errorf("opened without %s: %v", file, err)
		}
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
	}
	s = f.open()
	if got, err := content(s, "a"); got != "a" || err != nil {
		t.Errorf("a is %q, %v", got, err)
	}
	f.close(s)
}

// Without an index, what is missing shows as a gap.
func TestIndex_missingSegmentAndIndex(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	s := f.open()
	f.run(s, create("a", text, "a"), checkpoint, add("a", text, "b"), checkpoint)
	f.close(s)
	if err := errors.Join(os.Remove(f.segments()[0]), os.RemoveAll(f.index())); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tryOpen(); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("opened: %v", err)
	}
}

// A flipped bit of a segment is an error that says where, never data.
func TestSegment_damaged(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	s := f.open()
	body := long("0123456789abcdef", 4000) // several blocks
	f.run(s, create("a", text, body[:20000]), add("a", text, body[20000:40000]), create("b", text, "b"), checkpoint, sweep)
	f.close(s)
	file := f.segments()[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[64+30000] ^= 4
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = f.open()
	defer s.Close()
	chunk, err := s.Read(bg, "a", 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer chunk.Close()
	var got bytes.Buffer
	err = chunk.WriteRange(&got, 0, chunk.Len())
	if damage := new(store.CorruptionError); !errors.As(err, &damage) || damage.File != file || damage.Offset > 64+30000 {
		t.Errorf("error %v", err)
	}
	if !strings.HasPrefix(body, got.String()) {
		t.Error("wrong bytes were returned")
	}
	if err := chunk.WriteRange(io.Discard, 0, 10000); err != nil {
		t.Errorf("before the damage: %v", err)
	}
	if got, err := content(s, "b"); got != "b" || err != nil {
		t.Errorf("another stream is %q, %v", got, err)
	}
}
