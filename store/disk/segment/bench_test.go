package segment

import (
	"fmt"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// benchmarkSegment writes a segment of streams with n bytes each.
func benchmarkSegment(b *testing.B, dir string, number uint64, streams, n int) {
	b.Helper()
	w, err := NewWriter(vfs.OS, dir, Info{Number: number})
	if err != nil {
		b.Fatal(err)
	}
	data := noise(1, n)
	e := Entry{Meta: noise(2, 60), Extents: make([]Extent, 1)}
	for i := range uint64(streams) {
		e.ID, e.Name = i, fmt.Sprintf("app/room/%09d/messages", i)
		e.Extents[0] = Extent{Offset: w.Offset(), Len: int64(n)}
		if _, err := w.Write(data); err != nil {
			b.Fatal(err)
		}
		w.Add(&e)
	}
	if _, err := w.Finish(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{256, 64 << 10} {
		b.Run(fmt.Sprintf("extent=%d", size), func(b *testing.B) {
			dir := b.TempDir()
			const total = 64 << 20
			b.SetBytes(total)
			b.ReportAllocs()
			for number := uint64(1); b.Loop(); number++ {
				benchmarkSegment(b, dir, number, total/size, size)
				b.StopTimer()
				if err := vfs.OS.Remove(FileName(dir, number)); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	const total = 64 << 20
	benchmarkSegment(b, dir, 1, 1, total)
	for _, size := range []int{1 << 10, 128 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			r, err := Open(vfs.OS, dir, 1)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			scratch := make([]byte, ScratchLen(size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			off := int64(headerLen)
			for b.Loop() {
				if _, err := r.Read(scratch, off, size); err != nil {
					b.Fatal(err)
				}
				if off += 7*int64(size) + 1; off > total-int64(size) {
					off = headerLen
				}
			}
		})
	}
}

func BenchmarkEntries(b *testing.B) {
	const entries = 100_000
	dir := b.TempDir()
	benchmarkSegment(b, dir, 1, entries, 16)
	r, err := Open(vfs.OS, dir, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := r.Entries(func(*Entry) error { n++; return nil }); err != nil || n != entries {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
