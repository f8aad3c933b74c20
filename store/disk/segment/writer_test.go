package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// large has several writes of the file.
func large() *model {
	m := small()
	m.streams = append(m.streams, stream{Entry{ID: 1 << 61, Name: "large"}, [][]byte{noise(5, 2<<20)}})
	return m
}

// A segment is whole from the first moment at which it has its name.
func TestFinish_crashAtEveryOperation(t *testing.T) {
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for _, m := range []*model{small(), large()} {
		mem := newMem(t)
		old := &model{info: Info{Number: 1}}
		old.mustWrite(t, mem)
		type crash struct {
			disk *vfs.Mem
			op   string
		}
		var crashes []crash
		take := func(op vfs.Op) error {
			for _, mode := range []vfs.CrashMode{vfs.CrashLoseAll, vfs.CrashKeepAll} {
				crashes = append(crashes, crash{mem.CrashClone(nil, vfs.CrashOptions{Mode: mode}), op.String()})
			}
			for range 20 {
				crashes = append(crashes, crash{mem.CrashClone(rng, vfs.CrashOptions{Mode: vfs.CrashRandom}), op.String()})
			}
			return nil
		}
		m.mustWrite(t, vfs.Inject(mem, take))
		if err := take(vfs.Op{Kind: vfs.OpSyncDir, Path: "at the end"}); err != nil {
			t.Fatal(err)
		}
		var absent, left, whole int
		for i, c := range crashes {
			numbers, leftovers, err := List(c.disk, testDir)
			if err != nil || len(leftovers) > 1 || len(numbers) > 2 || numbers[0] != 1 {
				t.Fatalf("before %s: %v %v %v", c.op, numbers, leftovers, err)
			}
			switch {
			case len(numbers) == 2:
				whole++
				if err := m.check(c.disk); err != nil {
					t.Fatalf("before %s: %v", c.op, err)
				}
			case i >= len(crashes)-22:
				t.Fatal("lost after Finish")
			case len(leftovers) == 1:
				left++
				if err := c.disk.Remove(leftovers[0]); err != nil {
					t.Error(err)
				}
			default:
				absent++
			}
			if err := old.check(c.disk); err != nil {
				t.Fatalf("before %s: the other segment: %v", c.op, err)
			}
		}
		if absent == 0 || left == 0 || whole <= 22 {
			t.Errorf("the segment is absent %d times, left over %d times, whole %d times", absent, left, whole)
		}
	}
}

// What fails leaves nothing, if it can be removed; and never a part of a segment
// under the segment's name.
func TestWriter_everyOperationFails(t *testing.T) {
	for _, tc := range []struct {
		name string
		hook func(n int64) vfs.Hook
	}{
		{"once", func(n int64) vfs.Hook { return vfs.FailNth(n, vfs.ErrInjected) }},
		{"from", func(n int64) vfs.Hook { return vfs.FailFrom(n, vfs.ErrInjected) }},
		{"short", func(n int64) vfs.Hook { return vfs.FailNth(n, &vfs.ShortWrite{N: 5000}) }},
		{"sync", func(n int64) vfs.Hook { return vfs.FailNth(n, &vfs.FailedSync{}) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := int64(0)
			for ; ; n++ {
				var ops atomic.Int64
				mem := newMem(t)
				m := large()
				_, err := m.write(vfs.Inject(mem, vfs.All(vfs.Count(&ops), tc.hook(n))))
				if ops.Load() <= n {
					break
				}
				if !errors.Is(err, vfs.ErrInjected) {
					t.Fatalf("operation %d: %v", n, err)
				}
				numbers, leftovers, err := List(mem, testDir)
				if err != nil {
					t.Fatal(err)
				}
				if tc.name != "from" && len(numbers)+len(leftovers) > 0 {
					t.Errorf("operation %d leaves %v %v", n, numbers, leftovers)
				}
				for range numbers {
					if err := m.check(mem); err != nil {
						t.Errorf("operation %d: %v", n, err)
					}
				}
			}
			if n < 7 {
				t.Errorf("only %d operations", n)
			}
		})
	}
}

// A caller that goes on after an error must not get a segment from it.
func TestWriter_errorsStay(t *testing.T) {
	mem := newMem(t)
	fsys := vfs.Inject(mem, vfs.OnKinds(vfs.FailNth(1, vfs.ErrInjected), vfs.OpWriteAt))
	w, err := NewWriter(fsys, testDir, Info{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, writeSize)
	for i := range 5 {
		if _, err := w.Write(b); (err != nil) != (i > 0) || err != nil && !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if _, err := w.Finish(); !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("finish: %v", err)
	}
	wantNothing(t, mem)
}

func wantNothing(t *testing.T, mem *vfs.Mem) {
	t.Helper()
	if names, err := mem.List(testDir); err != nil || len(names) > 0 {
		t.Errorf("%v are left: %v", names, err)
	}
}

func TestAbort(t *testing.T) {
	mem := newMem(t)
	w, err := NewWriter(mem, testDir, Info{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 3*writeSize/2)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Abort(), w.Abort()); err != nil {
		t.Error(err)
	}
	wantNothing(t, mem)

	m := small()
	w, err = NewWriter(mem, testDir, m.info)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil { // as a deferred call does
		t.Error(err)
	}
	if _, err := ReadInfo(mem, testDir, m.info.Number); err != nil {
		t.Error(err)
	}
}

func TestWriter_wrongEntries(t *testing.T) {
	for name, entries := range map[string][]Entry{
		"order":             {{ID: 2}, {ID: 1}},
		"behind the data":   {{ID: 1, Extents: []Extent{{Offset: headerLen, Len: 101}}}},
		"in the header":     {{ID: 1, Extents: []Extent{{Offset: headerLen - 1, Len: 1}}}},
		"negative length":   {{ID: 1, Extents: []Extent{{Offset: headerLen, Len: -1}}}},
		"negative position": {{ID: 1, Extents: []Extent{{Start: -1, Offset: headerLen, Len: 1}}}},
		"overflow":          {{ID: 1, Extents: []Extent{{Start: 1<<63 - 1, Offset: headerLen, Len: 1}}}},
	} {
		mem := newMem(t)
		w, err := NewWriter(mem, testDir, Info{Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			w.Add(&entries[i])
		}
		if _, err := w.Finish(); err == nil {
			t.Errorf("%s: finished", name)
		}
		wantNothing(t, mem)
	}
}

func TestFinish_replacesTooMany(t *testing.T) {
	mem := newMem(t)
	w, err := NewWriter(mem, testDir, Info{Number: 1, Replaces: make([]uint64, maxFooter/8)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err == nil {
		t.Error("finished with a footer that nobody reads")
	}
	wantNothing(t, mem)
}

func TestNewWriter_numberInUse(t *testing.T) {
	mem := newMem(t)
	m := small()
	m.mustWrite(t, mem)
	before := content(t, mem, FileName(testDir, 7))
	if _, err := NewWriter(mem, testDir, Info{Number: 7}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second segment 7: %v", err)
	}
	if !bytes.Equal(content(t, mem, FileName(testDir, 7)), before) {
		t.Error("the segment was changed")
	}
	if w, err := NewWriter(mem, testDir, Info{Number: 8}); err != nil {
		t.Error(err)
	} else if _, err := NewWriter(mem, testDir, Info{Number: 8}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("two writers of segment 8: %v", err)
	} else if err := w.Abort(); err != nil {
		t.Error(err)
	}
}

func TestWriter_sizeSoFar(t *testing.T) {
	mem := newMem(t)
	w, err := NewWriter(mem, testDir, Info{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(5000) {
		if _, err := w.Write(noise(i, 1000)); err != nil {
			t.Fatal(err)
		}
		w.Add(&Entry{ID: i, Name: fmt.Sprint(i), Meta: noise(i, 50)})
	}
	said := w.Size()
	info, err := w.Finish()
	if err != nil || info.TableStart != said {
		t.Errorf("the directory ends at %d, Size said %d: %v", info.TableStart, said, err)
	}
}

// The directory is in memory once, however large it is.
func TestWriter_memory(t *testing.T) {
	mem := newMem(t)
	w, err := NewWriter(mem, testDir, Info{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	e := Entry{Name: "app/room/000000/messages", Meta: noise(0, 60)}
	for i := range uint64(100_000) {
		e.ID = i
		w.Add(&e)
	}
	runtime.ReadMemStats(&after)
	size := w.Size() - headerLen
	if n := int64(after.TotalAlloc - before.TotalAlloc); n > size*5/4 {
		t.Errorf("a directory of %d bytes allocates %d", size, n)
	}
	if _, err := w.Finish(); err != nil {
		t.Error(err)
	}
}
