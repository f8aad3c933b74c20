package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// signal wakes the one writer that waits for a record, without an allocation.
type signal chan error

func (s signal) Committed(_ *Pending, err error) { s <- err }

func BenchmarkCommit(b *testing.B) {
	for _, disk := range []string{"os", "mem"} {
		for _, writers := range []int{1, 16, 64, 256} {
			const size = 256
			b.Run(fmt.Sprintf("fs=%s/writers=%d/size=%d", disk, writers, size), func(b *testing.B) {
				var fs vfs.FS = vfs.OS
				if disk == "mem" {
					fs = vfs.NewMem(vfs.MemOptions{})
				}
				j, err := Open(fs, b.TempDir()+"/journal", Options{FileSize: 64 << 20}, 0, nil)
				if err = errors.Join(err, fs.MkdirAll("/")); err != nil {
					b.Fatal(err)
				}
				benchmarkCommit(b, j, writers, size)
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

func benchmarkCommit(b *testing.B, j *Journal, writers, size int) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := j.Stats()
	b.ResetTimer()
	var writing sync.WaitGroup
	for w := range writers {
		n := b.N/writers + min(1, max(0, b.N%writers-w))
		writing.Go(func() {
			p := &Pending{Head: make([]byte, 32), Body: make([]byte, size-32), Target: make(signal, 1)}
			for range n {
				r, err := j.Reserve(context.Background(), size, false)
				if err == nil {
					err = j.Submit(p, r)
				}
				if err == nil {
					err = <-p.Target.(signal)
				}
				if err != nil {
					b.Error(err)
					return
				}
				if p.LSN()%50000 == 0 {
					j.Release(p.LSN()) // as checkpoints do
				}
			}
		})
	}
	writing.Wait()
	b.StopTimer()
	after := j.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(after.Records-before.Records)/float64(max(1, after.Syncs-before.Syncs)), "records/sync")
}

func BenchmarkOpen(b *testing.B) {
	const records = 50_000
	m := vfs.NewMem(vfs.MemOptions{})
	j, err := Open(m, "journal", Options{FileSize: 64 << 20}, 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	var done sync.WaitGroup
	for range records {
		r, err := j.Reserve(context.Background(), 256, false)
		if err != nil {
			b.Fatal(err)
		}
		done.Add(1)
		if err := j.Submit(&Pending{Body: make([]byte, 256), Target: committed(func(error) { done.Done() })}, r); err != nil {
			b.Fatal(err)
		}
	}
	done.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(records * 256)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		j, err := Open(m, "journal", Options{FileSize: 64 << 20}, 0, func(uint64, []byte) error { n++; return nil })
		if err != nil || n != records {
			b.Fatal(n, err)
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
