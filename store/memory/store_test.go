package memory

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func open(t *testing.T) *Store {
	m := New(Options{})
	t.Cleanup(func() { m.Close() })
	return m
}

func mustCreate(t *testing.T, m *Store, name string, r protocol.CreateRequest) {
	t.Helper()
	r.Now = time.Now()
	if _, created, err := m.Create(t.Context(), name, r); err != nil || !created {
		t.Fatalf("Create(%q): %v, %v", name, created, err)
	}
}

// kept returns how many streams the store holds, whoever can see them.
func (m *Store) kept() (n int) {
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.RLock()
		n += len(sh.streams)
		sh.mu.RUnlock()
	}
	return n
}

func TestSweep_removesWhatNobodyAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{})
		defer m.Close()
		hour := protocol.Expiry{TTL: time.Hour, HasTTL: true}
		synctest.Wait() // the sweeper sleeps without a deadline
		mustCreate(t, m, "stays", protocol.CreateRequest{})
		mustCreate(t, m, "renewed", protocol.CreateRequest{Expiry: hour})
		mustCreate(t, m, "watched", protocol.CreateRequest{Expiry: hour})
		mustCreate(t, m, "sooner", protocol.CreateRequest{Expiry: protocol.Expiry{At: time.Now().Add(time.Minute)}})
		_, stop := m.Watch("watched")
		for _, step := range []struct {
			after time.Duration
			kept  int
		}{
			{time.Minute - 1, 4},
			{1, 3},
			{30 * time.Minute, 3},
			{0, 3}, // "renewed" is read here
			{time.Hour - 1, 3},
			{1, 2},
			{10 * time.Hour, 2},
		} {
			if step.after == 0 {
				if _, err := m.Read(t.Context(), "renewed", protocol.Now, 1); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(step.after)
			synctest.Wait()
			if got := m.kept(); got != step.kept {
				t.Fatalf("after another %v the store keeps %d streams, want %d", step.after, got, step.kept)
			}
		}
		stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := m.kept(); got != 1 {
			t.Fatalf("the store keeps %d streams, want 1", got)
		}
		if len(m.deadlines.heap) != 0 {
			t.Errorf("%d deadlines are left", len(m.deadlines.heap))
		}
	})
}

func TestSweep_releasesSourcesOfForks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{})
		defer m.Close()
		mustCreate(t, m, "s0", protocol.CreateRequest{})
		for i := 1; i <= 3; i++ {
			r := protocol.CreateRequest{
				Fork:   &protocol.ForkRequest{Source: fmt.Sprintf("s%d", i-1)},
				Expiry: protocol.Expiry{TTL: time.Duration(i) * time.Minute, HasTTL: true},
			}
			mustCreate(t, m, fmt.Sprintf("s%d", i), r)
		}
		if err := m.Delete(t.Context(), "s0"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // s1 and s2 are over, but hold s3's bytes
		synctest.Wait()
		if got := m.kept(); got != 4 {
			t.Fatalf("the store keeps %d streams, want 4", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := m.kept(); got != 0 {
			t.Fatalf("the store keeps %d streams, want none", got)
		}
	})
}

func TestDelete_forgetsDeadline(t *testing.T) {
	m := open(t)
	for i := range 100 {
		name := fmt.Sprint(i)
		mustCreate(t, m, name, protocol.CreateRequest{Expiry: protocol.Expiry{TTL: time.Hour, HasTTL: true}})
		if i%3 == 0 {
			continue
		}
		if err := m.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(m.deadlines.heap); got != 34 {
		t.Fatalf("%d deadlines are left, want 34", got)
	}
	for i, d := range m.deadlines.heap {
		if d.stream.heapIndex != i+1 {
			t.Errorf("the stream at %d believes to be at %d", i, d.stream.heapIndex-1)
		}
	}
}

func TestNew_continuesIDs(t *testing.T) {
	var last uint64
	for range 3 {
		m := New(Options{})
		for range 100 {
			info, _, err := m.Create(t.Context(), fmt.Sprint(last), protocol.CreateRequest{})
			if err != nil || info.ID <= last {
				t.Fatalf("the ID %d follows %d: %v", info.ID, last, err)
			}
			last = info.ID
		}
		m.Close()
	}
}

func TestWatch_keepsNothingForMissingStreams(t *testing.T) {
	m := open(t)
	for i := range 100 {
		_, stop := m.Watch(fmt.Sprint(i))
		defer stop()
	}
	if got := m.kept(); got != 0 {
		t.Errorf("the store keeps %d streams", got)
	}
}

func TestWatch_dropsUnusedChannel(t *testing.T) {
	m := open(t)
	mustCreate(t, m, "s", protocol.CreateRequest{})
	_, stop := m.Watch("s")
	stop()
	if s := m.lookup("s"); s.changed != nil || s.watchers != 0 {
		t.Errorf("a channel is left for %d watchers", s.watchers)
	}
}

func TestRead_returnsAsMuchAsFits(t *testing.T) {
	m := open(t)
	mustCreate(t, m, "bytes", protocol.CreateRequest{Body: bytes.Repeat([]byte("x"), 200_000)})
	mustCreate(t, m, "json", protocol.CreateRequest{
		ContentType: "application/json",
		Body:        bytes.Repeat([]byte("1234567,\n"), 20_000),
	})
	for _, c := range []struct {
		name           string
		maxBytes, want int64
	}{
		{"bytes", 1, 1},
		{"bytes", 70_000, 70_000},
		{"bytes", 1 << 30, 200_000},
		{"bytes", 0, 1},
		{"json", 1, 9},
		{"json", 9, 9},
		{"json", 17, 9},
		{"json", 18, 18},
		{"json", 100_000, 99_999},
		{"json", 1 << 30, 180_000},
	} {
		chunk, err := m.Read(t.Context(), c.name, 0, int(c.maxBytes))
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Len() != c.want {
			t.Errorf("%s: a read of %d bytes returned %d, want %d", c.name, c.maxBytes, chunk.Len(), c.want)
		}
	}
}

// countingWriter remembers the greatest write.
type countingWriter struct{ greatest int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.greatest = max(w.greatest, len(p))
	return len(p), nil
}

func TestRead_writesBoundedPieces(t *testing.T) {
	m := open(t)
	mustCreate(t, m, "s", protocol.CreateRequest{Body: bytes.Repeat([]byte("x"), 1<<20)})
	chunk, err := m.Read(t.Context(), "s", 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var w countingWriter
	if err := chunk.WriteRange(&w, 0, chunk.Len()); err != nil || w.greatest != writePiece {
		t.Errorf("the greatest write had %d bytes, want %d: %v", w.greatest, writePiece, err)
	}
}

func TestAppend_rarelyAllocates(t *testing.T) {
	m := open(t)
	mustCreate(t, m, "s", protocol.CreateRequest{ContentType: "text/plain"})
	r := protocol.AppendRequest{ContentType: "text/plain", Body: bytes.Repeat([]byte("x"), 256), Now: time.Now()}
	allocs := testing.AllocsPerRun(2000, func() {
		if _, err := m.Append(t.Context(), "s", r); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 1 {
		t.Errorf("an append allocates %v times", allocs)
	}
}
