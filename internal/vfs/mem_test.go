package vfs

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

func TestMem_capacity(t *testing.T) {
	const capacity = 4 * pageSize
	page := strings.Repeat("x", pageSize)
	m := NewMem(MemOptions{Capacity: capacity + pageSize - 1}) // rounded down
	free := func(want uint64) {
		t.Helper()
		if got, err := m.FreeSpace("/"); err != nil || got != want {
			t.Errorf("FreeSpace = %d, %v, want %d", got, err, want)
		}
	}
	full := func(f File, n int, off, want int64) {
		t.Helper()
		got, err := f.WriteAt(bytes.Repeat([]byte("y"), n), off)
		if int64(got) != want || !IsNoSpace(err) {
			t.Errorf("WriteAt(%d bytes, %d) on a full disk = %d, %v, want %d", n, off, got, err, want)
		}
		wantErr(t, err, syscall.ENOSPC)
	}

	free(capacity)
	f := create(t, m, "f", page+page)
	must(t, f.Truncate(100*pageSize)) // takes nothing
	free(2 * pageSize)
	writeAt(t, f, page[1:], 0) // nor does writing again, before a sync and after
	must(t, f.Sync())
	writeAt(t, f, page, 1)
	free(2 * pageSize)

	g := create(t, m, "g", "x")
	full(g, 3*pageSize, 1, 2*pageSize-1) // what fits is written
	if size, err := g.Size(); err != nil || size != 2*pageSize {
		t.Errorf("Size after a short write = %d, %v, want %d", size, err, 2*pageSize)
	}
	free(0)
	full(g, 1, 2*pageSize, 0)
	full(f, 1, 50*pageSize, 0) // a hole in a file that is longer
	writeAt(t, f, page, 10)
	must(t, f.Truncate(pageSize+1))
	free(0)
	must(t, f.Truncate(pageSize))
	free(pageSize)

	// A removed file gives back its space with its last handle.
	must(t, m.Remove("g"))
	free(pageSize)
	writeAt(t, g, page, 0)
	must(t, g.Close())
	free(3 * pageSize)

	// A replaced one too, and a crash brings its own account.
	must(t, create(t, m, "h", page+page).Close())
	must(t, m.Rename("h", "f"))
	free(pageSize)
	must(t, f.Close())
	free(2 * pageSize)
	if used := m.CrashClone(nil, CrashOptions{}).Used(); used != 0 {
		t.Errorf("a disk that has lost everything uses %d bytes", used)
	}
	if used := m.CrashClone(nil, CrashOptions{Mode: CrashKeepAll}).Used(); used != 2*pageSize {
		t.Errorf("a disk that has kept everything uses %d bytes", used)
	}

	m.SetCapacity(pageSize)
	free(0)
	m.SetCapacity(capacity)
	free(2 * pageSize)
	m.SetCapacity(0)
	free((math.MaxInt64/pageSize - 2) * pageSize)
}

// TestMem_accounting compares the pages charged with those that there are.
func TestMem_accounting(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	m := NewMem(MemOptions{Capacity: 30 * pageSize})
	for step := range 3000 {
		name := string(rune('a' + rng.IntN(4)))
		f, err := m.OpenReadWrite(name)
		if err != nil {
			f, err = m.Create(name)
			must(t, err)
		}
		switch rng.IntN(8) {
		case 0:
			must(t, f.Truncate(rng.Int64N(20*pageSize)))
		case 1:
			must(t, f.Sync())
		case 2:
			must(t, m.Remove(name))
		case 3:
			must(t, m.Rename(name, "d"))
		case 4:
			m = m.CrashClone(rng, CrashOptions{Mode: CrashMode(rng.IntN(3))})
			continue // the handle belongs to the disk before
		default:
			if _, err := f.WriteAt(make([]byte, rng.IntN(4*pageSize)), rng.Int64N(20*pageSize)); err != nil && !IsNoSpace(err) {
				t.Fatal(err)
			}
		}
		must(t, f.Close())
		var pages int64
		for _, n := range m.root.names {
			for i, s := range n.data.slots {
				if s.cur != nil {
					pages++
				}
				if s.cur != nil && i >= pagesFor(n.data.size) {
					t.Fatalf("seed %d: step %d: a page past the end", seed, step)
				}
			}
		}
		if pages != m.used {
			t.Fatalf("seed %d: step %d: %d pages are charged, %d used", seed, step, m.used, pages)
		}
	}
}

func TestMem_clonesHaveNoLocks(t *testing.T) {
	m := NewMem(MemOptions{Capacity: 1}) // too little even for the process id
	lock, err := m.Lock("LOCK")
	must(t, err)
	for _, mode := range []CrashMode{CrashLoseAll, CrashKeepAll} {
		second, err := m.CrashClone(nil, CrashOptions{Mode: mode}).Lock("LOCK")
		must(t, err)
		must(t, second.Close())
	}
	if _, err := m.Lock("LOCK"); err == nil {
		t.Error("a clone has released the original's lock")
	}
	must(t, lock.Close())
}

func BenchmarkMem_write(b *testing.B) {
	for _, size := range []int{256, 4096, 64 << 10} {
		for _, sync := range []bool{false, true} {
			b.Run(fmt.Sprintf("size=%d/sync=%t", size, sync), func(b *testing.B) {
				const limit = 4 << 20
				m := NewMem(MemOptions{})
				f, err := m.Create("f")
				must(b, err)
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				var off int64
				for b.Loop() {
					if _, err := f.WriteAt(p, off); err != nil {
						b.Fatal(err)
					}
					if off += int64(size); off >= limit {
						off = 0
					}
					if sync {
						must(b, f.Sync())
					}
				}
			})
		}
	}
}

// BenchmarkMem_crashClone clones a disk of ten files of 1 MiB with one page in
// four unsynced, after each write.
func BenchmarkMem_crashClone(b *testing.B) {
	for _, mode := range []CrashMode{CrashLoseAll, CrashKeepAll, CrashRandom} {
		b.Run(fmt.Sprintf("mode=%d", mode), func(b *testing.B) {
			m := NewMem(MemOptions{})
			p := make([]byte, 1<<20)
			var f File
			for i := range 10 {
				f = create(b, m, string(rune('a'+i)), string(p))
				must(b, f.Sync())
				for off := 0; off < len(p); off += 4 * pageSize {
					writeAt(b, f, "x", int64(off))
				}
			}
			must(b, m.SyncDir("/"))
			rng := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				writeAt(b, f, "y", 0)
				m.CrashClone(rng, CrashOptions{Mode: mode})
			}
		})
	}
}
