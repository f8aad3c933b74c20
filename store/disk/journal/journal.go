package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Options of a journal.
type Options struct {
	// FileSize is the size of each file in bytes, at least 16 KiB. A record may
	// take up to about half of it; see [MaxRecord].
	FileSize int64
	// MinFree is how many bytes a new file must leave free on the disk. Below it
	// Reserve fails with store.ErrNoSpace once the present files are full.
	MinFree int64
	// SyncInterval, if positive, lets batches be acknowledged when they are
	// written; they are synced this often. 0 syncs every batch.
	SyncInterval time.Duration
	// Logger gets warnings about what opening repaired.
	Logger *slog.Logger
}

// Pending is a record on its way to the disk. The caller fills in Head, Body and
// Target and leaves it alone until Target is called.
type Pending struct {
	// Head and Body are the record: their concatenation. With both empty the
	// Pending is no record but a barrier: it is done when all records before it
	// are.
	Head, Body []byte
	Target     Target

	lsn     uint64
	charge  int64
	barrier bool
}

// LSN returns the record's sequence number; for a barrier that of the last
// record before it.
func (p *Pending) LSN() uint64 { return p.lsn }

// Target learns what became of a record.
type Target interface {
	// Committed is called once: with nil when the record is as durable as the
	// options promise, else with the reason why that is not known. Calls come in
	// the order of LSNs, one at a time, and hold up the journal: they must be
	// short and must not wait for it. p is the caller's again.
	Committed(p *Pending, err error)
}

// Journal is an open log. Its methods may be called concurrently.
type Journal struct {
	fs       vfs.FS
	dir      string
	opts     Options
	interval atomic.Int64 // Options.SyncInterval; may change

	mu      sync.Mutex
	queue   []*Pending
	last    uint64 // LSN of the last record taken in
	closed  bool
	failure error // set once; nothing is written after it
	wake    chan struct{}

	durable atomic.Uint64 // LSN of the last record whose target has been told
	space   space
	files   files

	done      chan struct{} // closed when the committer has ended
	filesMade chan struct{} // closed when makeFiles has ended
	stats
}

type stats struct {
	batches, records, syncs atomic.Uint64
	bytes                   atomic.Uint64
	syncNanos               atomic.Uint64
}

// Stats are counters since the journal was opened.
type Stats struct {
	Batches, Records, Syncs, Bytes uint64
	SyncTime                       time.Duration // total
	Files                          int           // in the folder, spares included
}

// Stats returns the counters.
func (j *Journal) Stats() Stats {
	return Stats{
		Batches: j.batches.Load(), Records: j.records.Load(), Syncs: j.syncs.Load(), Bytes: j.bytes.Load(),
		SyncTime: time.Duration(j.syncNanos.Load()), Files: j.files.count(),
	}
}

// Durable returns the LSN of the last record that is acknowledged: Committed has
// returned for it and all before it.
func (j *Journal) Durable() uint64 { return j.durable.Load() }

// SetSyncInterval changes Options.SyncInterval from the next batch on.
func (j *Journal) SetSyncInterval(d time.Duration) {
	j.interval.Store(int64(d))
	j.kick()
}

// Err returns why the journal refuses records, nil if it takes them.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.refusal()
}

// refusal is Err with mu held.
func (j *Journal) refusal() error {
	switch {
	case j.failure != nil:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, j.failure)
	case j.closed:
		return store.ErrClosed
	}
	return nil
}

// Submit takes a record in and gives it the next LSN. The caller holds a
// reservation for it (see Reserve), which it gives up by calling. It does not
// wait; callers hold a lock that fixes the order of records.
func (j *Journal) Submit(p *Pending, r Reservation) error {
	size := len(p.Head) + len(p.Body)
	p.barrier = size == 0
	p.charge = r.charge
	if !p.barrier && charge(int64(size)) > r.charge {
		j.space.give(r.charge)
		return fmt.Errorf("record of %d bytes exceeds its reservation", size)
	}
	j.mu.Lock()
	if err := j.refusal(); err != nil {
		j.mu.Unlock()
		j.space.give(r.charge)
		return err
	}
	if !p.barrier {
		j.last++
	}
	p.lsn = j.last
	j.queue = append(j.queue, p)
	first := len(j.queue) == 1
	j.mu.Unlock()
	if first {
		j.kick()
	}
	return nil
}

func (j *Journal) kick() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Release says that records up to lsn are not needed any more: files that hold
// only such records are used again.
func (j *Journal) Release(lsn uint64) {
	j.space.give(j.files.release(lsn))
	j.space.wantMore()
}

// Close commits what was taken in, syncs, and closes the files.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.done
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	j.stopTaking()
	j.kick()
	<-j.done
	// Else it could touch, or remove, a file that the next Open has found.
	<-j.filesMade
	return errors.Join(j.failed(), j.files.close())
}

// stopTaking ends waiting for room and the making of files. The reason stands
// in closed or failure already.
func (j *Journal) stopTaking() {
	j.files.stop.Store(true)
	j.space.close()
}

func (j *Journal) failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failure
}
