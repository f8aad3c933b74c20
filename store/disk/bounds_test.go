package disk_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
)

// With a sync interval, a power loss takes back what was not synced, but never
// what a checkpoint wrote, and nothing that comes after the restart.
func TestInterval_checkpointIsNotAheadOfJournal(t *testing.T) {
	t.Parallel()
	m := newMachine(t, func(o *disk.Options) { o.SyncInterval = time.Hour })
	m.do(create("a", text, "1"), create("b", text, ""), add("a", text, "2"), checkpoint)
	crash := func() {
		after := m.disks.crash(nil, vfs.CrashLoseAll)
		_ = m.store.Close() // on the disks of before
		m.disks = after
		m.start()
	}
	crash()
	m.holds("a", "12")
	m.change = nil // from here on each change is synced
	m.restart(false)
	for i := range 5 {
		m.do(add("a", text, fmt.Sprint(i)))
	}
	crash()
	m.holds("a", "1201234")
}

func TestList_keepsNothingInMemory(t *testing.T) {
	t.Parallel()
	m := newMachine(t, nil)
	for i := range 300 {
		m.do(create(fmt.Sprintf("s%03d", i), text, "x"))
	}
	m.do(checkpoint, sweep)
	infos, err := m.store.List(bg, "s", "s009", 1000)
	if err != nil || len(infos) != 290 || infos[0].Name != "s010" {
		t.Fatalf("%d streams: %v", len(infos), err)
	}
	if n := m.store.Stats().StreamsInMemory; n > 0 {
		t.Errorf("%d streams are in memory", n)
	}
	if _, err := m.store.Head(bg, "missing"); err == nil || m.store.Stats().StreamsInMemory > 0 {
		t.Errorf("a missing stream: %v, %d in memory", err, m.store.Stats().StreamsInMemory)
	}
}

// The producers of a stream that is never cold do not all stay in memory, and
// are known nevertheless.
func TestProducers_leaveMemory(t *testing.T) {
	t.Parallel()
	m := newMachine(t, nil)
	const producers = 2000
	m.do(create("a", text, ""))
	for i := range producers {
		m.do(add("a", text, "x", by(fmt.Sprint("p", i), 3, 0)))
		if i%500 == 499 {
			m.do(checkpoint)
			if n := m.store.ProducersInMemory("a"); n > 500 {
				t.Errorf("%d producers are in memory", n)
			}
		}
	}
	for i := range producers {
		if got, err := add("a", text, "x", by(fmt.Sprint("p", i), 3, 0)).request(m.store, epoch); err != nil || !strings.HasPrefix(got, "2") {
			t.Fatalf("repetition of producer %d: %q, %v", i, got, err)
		}
	}
}

// Close ends the wait of writers for memory.
func TestClose_endsWaiting(t *testing.T) {
	t.Parallel()
	m := newMachine(t, func(o *disk.Options) { o.CheckpointSize = 8 << 10 })
	m.do(create("a", text, ""))
	for m.store.Stats().HeadBytes < 16<<10 {
		m.do(add("a", text, long("x", 1000)))
	}
	failed := make(chan error)
	go func() {
		_, err := add("a", text, "x").request(m.store, epoch)
		failed <- err
	}()
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, store.ErrClosed) {
		t.Errorf("the append: %v", err)
	}
}

// Entries of the index about streams that are gone do not stay, nor hide others.
func TestExpire_staleEntries(t *testing.T) {
	t.Parallel()
	m := newMachine(t, nil)
	m.do(create("z", text, "z", withTTL(time.Hour)), checkpoint, sweep)
	if err := m.store.StaleDeadlines(1500, epoch); err != nil {
		t.Fatal(err)
	}
	m.now = m.now.Add(3 * time.Hour)
	m.do(expire, expire, checkpoint)
	if n, err := m.store.Expire(); n != 0 || err != nil {
		t.Errorf("%d entries are left: %v", n, err)
	}
	if n := m.store.Stats().LiveBytes; n != 0 {
		t.Errorf("the expired stream behind them still has %d bytes", n)
	}
}
