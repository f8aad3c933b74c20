package journal

import (
	"context"
	"fmt"
	"sync"
)

// maxFloor is how much is kept back, at most, for records that must also pass on
// a full disk, because they give space back: deletions.
const maxFloor = 1 << 20

// Reservation is room for one record in files that exist already, so that a
// full disk is noticed before a record is taken in and never after.
type Reservation struct{ charge int64 }

// space counts the bytes that may still be reserved. A record is charged twice
// its size: a batch that does not fit the rest of a file leaves less than itself
// unused there.
//
// Room and the charges of records that are not written yet together are never
// more than what the current file and the spares still take. So there always is
// a spare when the committer needs one.
type space struct {
	floor int64
	most  int64 // the greatest charge: what a single file can always serve

	want chan struct{} // wakes the goroutine that makes files

	mu      sync.Mutex
	room    int64
	err     error         // why no more files can be made, if so
	more    chan struct{} // closed when room grows or there is news about err
	closed  bool
	waiting int
	// How often the goroutine that makes files has begun to look whether it
	// should, and the number of the last look that has ended.
	begun, ended uint64
}

func newSpace(fileSize int64) space {
	usable := fileSize - dataStart
	floor := min(maxFloor, usable/8)
	return space{
		floor: floor, most: usable - floor,
		more: make(chan struct{}), want: make(chan struct{}, 1),
	}
}

func charge(size int64) int64 {
	return 2 * (align(size) + batchHeader + 2*alignment)
}

// MaxRecord returns the size of the largest record, in bytes, that a journal with
// this Options.FileSize takes: a little less than half a file.
func MaxRecord(fileSize int64) int64 {
	s := newSpace(fileSize)
	return s.most/2/alignment*alignment - batchHeader - 2*alignment
}

// Reserve takes room for a record of size bytes. It waits while files are being
// made or others' records written, and fails with store.ErrNoSpace if the disk
// is full, with store.ErrUnavailable or store.ErrClosed if the journal has failed
// or was closed, with ctx's error if that ends first. urgent records may use the
// last room there is. Who holds a reservation must not wait for another.
func (j *Journal) Reserve(ctx context.Context, size int, urgent bool) (Reservation, error) {
	s := &j.space
	c := charge(int64(size))
	if c > s.most {
		return Reservation{}, fmt.Errorf("record of %d bytes exceeds the journal's limit of %d", size, MaxRecord(j.opts.FileSize))
	}
	keep := s.floor
	if urgent {
		keep = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.begun
	for !s.closed && s.room < c+keep {
		s.wantMore()
		// An error from before the call may be out of date.
		if s.err != nil && s.ended > asked {
			return Reservation{}, s.err
		}
		more := s.more
		s.waiting++
		s.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
		}
		s.mu.Lock()
		s.waiting--
		if ctx.Err() != nil {
			return Reservation{}, ctx.Err()
		}
	}
	if s.closed {
		return Reservation{}, j.Err()
	}
	s.room -= c
	return Reservation{charge: c}, nil
}

// Cancel gives a reservation back unused.
func (j *Journal) Cancel(r Reservation) { j.space.give(r.charge) }

// give adds to the room, or takes away what is negative.
func (s *space) give(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room += n
	if n > 0 && s.waiting > 0 {
		s.broadcast()
	}
}

// begin and end stand around a look whether files should be made. end adds the
// room that was made, and says whether more can be. It wakes nobody without
// news, or those who wait for others' records would ask again at once, for ever.
func (s *space) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
}

func (s *space) end(room int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room > 0 || err != nil || s.err != nil {
		s.broadcast()
	}
	s.room += room
	s.err, s.ended = err, s.begun
}

// close lets nobody wait any more. Before it, the journal's Err has a reason.
func (s *space) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.broadcast()
	s.wantMore()
}

// broadcast wakes those who wait. mu is held.
func (s *space) broadcast() {
	close(s.more)
	s.more = make(chan struct{})
}

// wantMore asks for a look at whether files are needed.
func (s *space) wantMore() {
	select {
	case s.want <- struct{}{}:
	default:
	}
}
