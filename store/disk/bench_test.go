package disk_test

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
)

// engines are opened in a new folder of the real file system.
var engines = map[string]func(b *testing.B, manual bool) store.Store{
	"disk":   func(b *testing.B, manual bool) store.Store { return openBench(b, b.TempDir(), manual) },
	"memory": func(*testing.B, bool) store.Store { return memory.New(memory.Options{}) },
}

func openBench(b *testing.B, dir string, manual bool) *disk.Store {
	s, err := disk.Open(disk.Options{Dir: dir, Manual: manual})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// parallel runs do b.N times in all, by so many callers, and reports syncs.
func parallel(b *testing.B, s store.Store, writers int, do func(writer, i int) error) {
	syncs := func() uint64 {
		if d, ok := s.(*disk.Store); ok {
			return d.Stats().Journal.Syncs
		}
		return 0
	}
	before := syncs()
	var next atomic.Int64
	failed := make(chan error, writers)
	b.ReportAllocs()
	b.ResetTimer()
	for w := range writers {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					failed <- nil
					return
				}
				if err := do(w, i); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(syncs()-before)/float64(b.N), "syncs/op")
}

func fill(b *testing.B, s store.Store, streams int, body string) {
	b.Helper()
	const writers = 64
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := w; i < streams && err == nil; i += writers {
				_, _, err = s.Create(bg, fmt.Sprint("s", i), protocol.CreateRequest{ContentType: text, Body: []byte(body), Now: time.Now()})
			}
			failed <- err
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, engine := range []string{"disk", "memory"} {
		for _, size := range []int{256, 4096} {
			for _, c := range []struct{ streams, writers int }{{1, 1}, {64, 64}, {10000, 256}} {
				b.Run(fmt.Sprintf("engine=%s/size=%d/streams=%d/writers=%d", engine, size, c.streams, c.writers), func(b *testing.B) {
					s := engines[engine](b, false)
					defer s.Close()
					fill(b, s, c.streams, "")
					stream := make([]string, c.streams)
					for i := range stream {
						stream[i] = fmt.Sprint("s", i)
					}
					body := []byte(strings.Repeat("x", size))
					b.SetBytes(int64(size))
					parallel(b, s, c.writers, func(_, i int) error {
						_, err := s.Append(bg, stream[i%c.streams], protocol.AppendRequest{ContentType: text, Body: body, Now: time.Now()})
						return err
					})
				})
			}
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, engine := range []string{"disk", "memory"} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("engine=%s/writers=%d", engine, writers), func(b *testing.B) {
				s := engines[engine](b, false)
				defer s.Close()
				parallel(b, s, writers, func(_, i int) error {
					_, _, err := s.Create(bg, fmt.Sprint("s", i), protocol.CreateRequest{ContentType: text, Now: time.Now()})
					return err
				})
			})
		}
	}
}

// BenchmarkRead reads 64 KiB from the middle of a stream that is in memory (head)
// or in a segment.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct{ engine, from string }{{"disk", "head"}, {"disk", "segment"}, {"memory", "head"}} {
		b.Run(fmt.Sprintf("engine=%s/size=65536/from=%s", c.engine, c.from), func(b *testing.B) {
			s := engines[c.engine](b, true)
			defer s.Close()
			fill(b, s, 1, strings.Repeat("x", 1<<20))
			if d, ok := s.(*disk.Store); ok && c.from == "segment" {
				if err := d.Checkpoint(); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			for b.Loop() {
				chunk, err := s.Read(bg, "s0", 100_000, 64<<10)
				if err != nil {
					b.Fatal(err)
				}
				if err := chunk.WriteRange(io.Discard, 0, chunk.Len()); err != nil {
					b.Fatal(err)
				}
				chunk.Close()
			}
		})
	}
}

// BenchmarkCheckpoint writes a checkpoint of so many new streams of 256 bytes.
func BenchmarkCheckpoint(b *testing.B) {
	for _, streams := range []int{1, 10000} {
		b.Run(fmt.Sprintf("engine=disk/streams=%d", streams), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s := openBench(b, b.TempDir(), true)
				fill(b, s, streams, strings.Repeat("x", 256))
				b.StartTimer()
				if err := s.Checkpoint(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Abandon()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkRecovery opens a store whose journal has so many records.
func BenchmarkRecovery(b *testing.B) {
	for _, records := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("engine=disk/records=%d", records), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				s := openBench(b, dir, true)
				fill(b, s, records, "some bytes")
				s.Abandon()
				b.StartTimer()
				s = openBench(b, dir, true)
				b.StopTimer()
				s.Abandon()
				b.StartTimer()
			}
		})
	}
}
