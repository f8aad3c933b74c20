package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// benchKey returns the i-th of keys that are as long as a stream's name.
func benchKey(i int) []byte { return fmt.Appendf(nil, "n/app/room/%09d/messages", i) }

// benchValue returns 150 bytes that differ with i.
func benchValue(i int) []byte {
	v := make([]byte, 150)
	for j := 0; j+8 <= len(v); j += 8 {
		binary.BigEndian.PutUint64(v[j:], uint64(i)*0x9e3779b97f4a7c15+uint64(j))
	}
	return v
}

func forEngines(b *testing.B, run func(b *testing.B, x Index)) {
	b.Run("engine=badger", func(b *testing.B) {
		x, err := OpenBadger(b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer x.Close()
		run(b, x)
	})
	b.Run("engine=mem", func(b *testing.B) { run(b, NewMem()) })
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			forEngines(b, func(b *testing.B, x Index) {
				var batch Batch
				next := 0
				for b.Loop() {
					batch.Reset()
					for range n {
						batch.Set(benchKey(next%200_000), benchValue(next))
						next += 7919
					}
					if err := x.Apply(&batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
			})
		})
	}
}

const benchKeys = 200_000

func fill(b *testing.B, x Index, n, perBatch int) {
	b.Helper()
	order := rand.New(rand.NewPCG(uint64(1), 0)).Perm(n)
	var batch Batch
	for len(order) > 0 {
		k := min(perBatch, len(order))
		batch.Reset()
		for _, i := range order[:k] {
			batch.Set(benchKey(i), benchValue(i))
		}
		order = order[k:]
		if err := x.Apply(&batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, keys := range []struct {
		name string
		n    int
	}{{"hot", 1}, {"spread", benchKeys}} {
		b.Run("keys="+keys.name, func(b *testing.B) {
			forEngines(b, func(b *testing.B, x Index) {
				fill(b, x, benchKeys, 5_000)
				rng := rand.New(rand.NewPCG(uint64(2), 0))
				names := make([][]byte, 4096)
				for i := range names {
					names[i] = benchKey(rng.IntN(keys.n))
				}
				var buf []byte
				var err error
				i := 0
				for b.Loop() {
					if buf, err = x.Get(buf[:0], names[i%len(names)]); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
		})
	}
	b.Run("keys=missing", func(b *testing.B) {
		forEngines(b, func(b *testing.B, x Index) {
			fill(b, x, benchKeys, 5_000)
			for b.Loop() {
				if _, err := x.Get(nil, []byte("n/app/room/x")); err == nil {
					b.Fatal("found")
				}
			}
		})
	})
}

func BenchmarkScan(b *testing.B) {
	forEngines(b, func(b *testing.B, x Index) {
		fill(b, x, benchKeys, 5_000)
		for b.Loop() {
			n := 0
			if err := x.Scan(nil, nil, func(_, _ []byte) bool { n++; return true }); err != nil || n != benchKeys {
				b.Fatal(n, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchKeys), "ns/entry")
	})
}

// BenchmarkGetDuringApply reads while large batches are written, and reports how long
// the middle and the slowest hundredth and thousandth of the reads take.
func BenchmarkGetDuringApply(b *testing.B) {
	forEngines(b, func(b *testing.B, x Index) {
		fill(b, x, benchKeys, 5_000)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			var batch Batch
			for next := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				batch.Reset()
				for range 5_000 {
					batch.Set(benchKey(next%benchKeys), benchValue(next))
					next += 7919
				}
				if err := x.Apply(&batch); err != nil {
					b.Error(err)
					return
				}
			}
		}()
		rng := rand.New(rand.NewPCG(uint64(2), 0))
		var took []time.Duration
		var buf []byte
		var err error
		for b.Loop() {
			key := benchKey(rng.IntN(benchKeys))
			start := time.Now()
			if buf, err = x.Get(buf[:0], key); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		close(stop)
		<-stopped
		slices.Sort(took)
		for _, p := range []struct {
			name string
			of   int
		}{{"p50", 2}, {"p99", 100}, {"p99.9", 1000}} {
			b.ReportMetric(float64(took[len(took)-1-len(took)/p.of])/1e3, "µs-"+p.name)
		}
	})
}

// BenchmarkMillion is a measurement more than a benchmark: it fills an index with a
// million keys, opens it again and reads, and reports what the process weighs. Run it
// alone, with -benchtime=1x.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		x, err := OpenBadger(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		fill(b, x, 1_000_000, 5_000)
		b.ReportMetric(time.Since(start).Seconds(), "s-fill")
		reportMemory(b, "filled")
		start = time.Now()
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-close")
		reportMemory(b, "closed")
		for _, opts := range []Options{{}, {TrustTables: true}} {
			start = time.Now()
			if x, err = OpenBadger(dir, opts); err != nil {
				b.Fatal(err)
			}
			name := fmt.Sprintf("trust=%t", opts.TrustTables)
			b.ReportMetric(time.Since(start).Seconds(), "s-open-"+name)
			reportMemory(b, "opened-"+name)
			if opts.TrustTables {
				break
			}
			if err := x.Close(); err != nil {
				b.Fatal(err)
			}
		}
		var buf []byte
		start = time.Now()
		const gets = 100_000
		rng := rand.New(rand.NewPCG(uint64(3), 0))
		for range gets {
			i := rng.IntN(1_000_000)
			if buf, err = x.Get(buf[:0], benchKey(i)); err != nil || !bytes.Equal(buf, benchValue(i)) {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/gets, "ns-get")
		reportMemory(b, "read")
		size, err := x.Size()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/1e6, "MB-disk")
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// reportMemory reports the resident memory that is the process's own and in use, and
// that of mapped files, which the kernel takes back when it needs it; in MB, on Linux.
func reportMemory(b *testing.B, when string) {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(status)) {
		for field, unit := range map[string]string{"RssAnon:": "MB-anon-", "RssFile:": "MB-file-", "VmHWM:": "MB-peak-"} {
			if f := strings.Fields(line); len(f) == 3 && f[0] == field {
				if kb, err := strconv.Atoi(f[1]); err == nil {
					b.ReportMetric(float64(kb)/1e3, unit+when)
				}
			}
		}
	}
}
