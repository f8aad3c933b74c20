package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const (
	testDir  = "data/journal"
	testSize = 64 << 10 // of a file
)

func testOptions() Options { return Options{FileSize: testSize} }

// newMem returns a file system in which the folder that holds the journal's is
// durable, as its owner makes sure.
func newMem(t testing.TB, opts vfs.MemOptions) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem(opts)
	if err := errors.Join(m.MkdirAll("data"), m.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	return m
}

// content returns the record with this LSN of one of several histories. It says
// what it is, so that a wrong one is recognised wherever it turns up.
func content(history int, lsn uint64, size int) []byte {
	b := make([]byte, size)
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(history))
	binary.LittleEndian.PutUint64(seed[8:], lsn)
	_, _ = rand.NewChaCha8(seed).Read(b)
	copy(b, fmt.Sprintf("history %d record %d;", history, lsn))
	return b
}

// outcome collects what a record's target is told.
type outcome struct {
	ch chan error
}

func newOutcome() *outcome { return &outcome{make(chan error, 8)} }

func (o *outcome) Committed(_ *Pending, err error) { o.ch <- err }

func (o *outcome) wait() error { return <-o.ch }

// submit takes a record in without waiting for it.
func submit(j *Journal, record []byte) (*Pending, *outcome, error) {
	r, err := j.Reserve(context.Background(), len(record), false)
	if err != nil {
		return nil, nil, err
	}
	o := newOutcome()
	half := len(record) / 2
	p := &Pending{Head: record[:half], Body: record[half:], Target: o}
	if err := j.Submit(p, r); err != nil {
		return nil, nil, err
	}
	return p, o, nil
}

// add writes a record and waits for it.
func add(j *Journal, record []byte) error {
	_, o, err := submit(j, record)
	if err != nil {
		return err
	}
	return o.wait()
}

func mustAdd(t testing.TB, j *Journal, record []byte) {
	t.Helper()
	if err := add(j, record); err != nil {
		t.Fatalf("add: %v", err)
	}
}

// replayed is what an Open has replayed.
type replayed struct {
	first   uint64 // LSN of the first record
	records [][]byte
}

func (r *replayed) replay(lsn uint64, record []byte) error {
	if len(r.records) == 0 {
		r.first = lsn
	}
	if want := r.first + uint64(len(r.records)); lsn != want {
		return fmt.Errorf("replayed %d, want %d", lsn, want)
	}
	r.records = append(r.records, bytes.Clone(record))
	return nil
}

func (r *replayed) want(t testing.TB, after uint64, records [][]byte) {
	t.Helper()
	if len(r.records) != len(records) {
		t.Fatalf("replayed %d records, want %d", len(r.records), len(records))
	}
	if len(records) > 0 && r.first != after+1 {
		t.Fatalf("replay began with %d, want %d", r.first, after+1)
	}
	for i := range records {
		if !bytes.Equal(r.records[i], records[i]) {
			t.Fatalf("record %d is %.40q, want %.40q", after+1+uint64(i), r.records[i], records[i])
		}
	}
}

func mustOpen(t testing.TB, fs vfs.FS, opts Options, after uint64) (*Journal, *replayed) {
	t.Helper()
	var r replayed
	j, err := Open(fs, testDir, opts, after, r.replay)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return j, &r
}

// mustClose closes and checks that the count of room has not drifted.
func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if got, want := j.space.room, j.files.room(); got != want {
		t.Errorf("room is %d, the files take %d", got, want)
	}
}

// wantDamage checks that err names a damaged file and a position in it.
func wantDamage(t testing.TB, err error, file string, from, to int64) {
	t.Helper()
	var damage *store.CorruptionError
	if !errors.As(err, &damage) || !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("error is %v, want a CorruptionError", err)
	}
	if damage.File != file || damage.Offset < from || damage.Offset > to {
		t.Fatalf("damage in %s at %d, want it in %s between %d and %d", damage.File, damage.Offset, file, from, to)
	}
}

// gate is a hook that stops operations until it is opened.
type gate struct {
	match   func(vfs.Op) bool
	mu      sync.Mutex
	shut    bool
	arrived chan vfs.Op
	open    chan struct{}
}

func newGate(match func(vfs.Op) bool) *gate {
	return &gate{match: match, arrived: make(chan vfs.Op, 100), open: make(chan struct{})}
}

// close makes operations that match stop from now on.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.open = true, make(chan struct{})
}

// release lets those pass that have stopped, and all after them.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
	close(g.open)
}

func (g *gate) hook(op vfs.Op) error {
	g.mu.Lock()
	stop, open := g.shut && g.match(op), g.open
	g.mu.Unlock()
	if stop {
		g.arrived <- op
		<-open
	}
	return nil
}

func isSync(op vfs.Op) bool { return op.Kind == vfs.OpSync }

// isBatch tells the committer's writes of batches from all others.
func isBatch(op vfs.Op) bool {
	return op.Kind == vfs.OpWriteAt && op.Offset >= dataStart
}
