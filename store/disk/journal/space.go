package journal

import (
	"context"
	"fmt"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// floor is kept back for records that must also pass on a full disk, because
// they give space back: deletions.
const floor = 1 << 20

// Reservation is room for one record in files that exist already, so that a
// full disk is noticed before a record is taken in and never after.
type Reservation struct{ charge int64 }

// space counts the bytes that may still be reserved. A record is charged twice
// its size: a batch that does not fit the rest of a file leaves less than itself
// unused there.
type space struct {
	mu      sync.Mutex
	room    int64
	err     error         // why no more files can be made, if so
	more    chan struct{} // closed when room grows or err changes
	closed  bool
	waiting int
	want    chan struct{} // wakes the goroutine that makes files
}

func charge(size int) int64 {
	return 2 * (align(int64(size)) + batchHeader + 2*alignment)
}

// Reserve takes room for a record of size bytes. It waits while files are being
// made, and fails with store.ErrNoSpace if the disk is full, with ctx's error if
// that ends first. urgent records may use the last room there is.
func (j *Journal) Reserve(ctx context.Context, size int, urgent bool) (Reservation, error) {
	s := &j.space
	c := charge(size)
	keep := int64(floor)
	if urgent {
		keep = 0
	}
	if c+floor > 2*(j.opts.FileSize-dataStart) {
		return Reservation{}, fmt.Errorf("record of %d bytes exceeds the journal's file size", size)
	}
	s.mu.Lock()
	for s.room < c+keep {
		switch {
		case s.closed:
			s.mu.Unlock()
			if err := j.Err(); err != nil {
				return Reservation{}, err
			}
			return Reservation{}, store.ErrClosed
		case s.err != nil:
			err := s.err
			s.mu.Unlock()
			s.wantMore()
			return Reservation{}, err
		}
		more := s.more
		s.waiting++
		s.mu.Unlock()
		s.wantMore()
		select {
		case <-more:
		case <-ctx.Done():
		}
		s.mu.Lock()
		s.waiting--
		if ctx.Err() != nil {
			s.mu.Unlock()
			return Reservation{}, ctx.Err()
		}
	}
	s.room -= c
	s.mu.Unlock()
	return Reservation{charge: c}, nil
}

// Cancel gives a reservation back unused.
func (j *Journal) Cancel(r Reservation) { j.space.give(r.charge) }

func (s *space) give(n int64) {
	s.mu.Lock()
	s.room += n
	if n > 0 && s.waiting > 0 {
		s.broadcast()
	}
	s.mu.Unlock()
}

func (s *space) take(n int64) { s.give(-n) }

func (s *space) setErr(err error) {
	s.mu.Lock()
	s.err = err
	s.broadcast()
	s.mu.Unlock()
}

func (s *space) close() {
	s.mu.Lock()
	s.closed = true
	s.broadcast()
	s.mu.Unlock()
	s.wantMore()
}

// broadcast wakes those who wait. mu is held.
func (s *space) broadcast() {
	close(s.more)
	s.more = make(chan struct{})
}

// changed asks for another look at whether files are needed.
func (s *space) changed() { s.wantMore() }

func (s *space) wantMore() {
	select {
	case s.want <- struct{}{}:
	default:
	}
}
