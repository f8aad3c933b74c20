package disk

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// version is the state of a name at one point of the journal.
type version struct {
	exists bool
	// lsn is that of the last record that the version includes.
	lsn   uint64
	state protocol.State
}

// current returns the state for a Plan… function, nil if there is no stream.
func (v *version) current() *protocol.State {
	if !v.exists {
		return nil
	}
	return &v.state
}

// slot is what is in memory of one name: the stream that has it, if one does.
//
// It holds two versions. Requests are planned on assigned, which includes what
// was handed to the journal; readers see durable, which follows when the journal
// has committed. They differ only while records are in flight.
type slot struct {
	name string

	// pins counts those who hold a pointer to the slot; it grows only under the
	// shard's lock, so that a slot without pins can leave the table under it.
	pins atomic.Int32
	// used is set by every access and cleared by the sweep for cold slots.
	used atomic.Bool

	mu sync.Mutex
	// loaded says that what the index knows of the name is here.
	loaded            bool
	assigned, durable version
	head              head
	producers         map[string]*producer // those in memory, by ID

	// extents are where the bytes before head.start are. The slice is replaced,
	// never changed.
	extents []extent
	// indexed is the stream that the index's record of this name is about, 0 if
	// there is none, and deadline the key of its entry among the expiries, nil if
	// it has none.
	indexed  uint64
	deadline []byte
	// journaled is the time of last access that is in the journal or the index,
	// stored the one that is in the index.
	journaled, stored time.Time
	// lenient is the time of last access that the stream was loaded with, if that
	// is later than the one that was stored.
	lenient time.Time

	// dirty says that durable is ahead of the index, and that the slot is, or is
	// about to be, in the list of the next checkpoint.
	dirty bool
	// tombs are streams of this name that segments hold and that are gone.
	tombs []uint64

	// watchers counts the calls of Watch that were not stopped, for the stream
	// watched. changed is the channel that they share; nil if nobody watches since
	// the last change.
	watchers int
	watched  uint64
	changed  chan struct{}

	// heapIndex is one more than the slot's place among the deadlines in memory,
	// 0 if it has none. Guarded by deadlines.mu.
	heapIndex int
}

// producer is one producer's last request on a stream, in both versions.
type producer struct {
	assigned, durable protocol.ProducerState
	lsn               uint64 // of the last record that assigned includes
	// dirty says that durable is ahead of the index.
	dirty bool
}

// extent is a range of a stream's bytes in a segment.
type extent struct {
	start   protocol.Offset
	len     int64
	segment uint64
	offset  int64 // in the segment's file
}

func (x extent) end() protocol.Offset { return x.start + protocol.Offset(x.len) }

// base returns the position of the first byte that is the stream's own.
func base(s *protocol.State) protocol.Offset {
	if s.Fork != nil {
		return s.Fork.At
	}
	return protocol.Start
}

// over reports whether the stream's time is over. A stream that is watched is
// being read all the time (§5.1). The lock is held.
func (s *slot) over(now time.Time) bool {
	if !s.assigned.exists || s.assigned.state.Deleted {
		return false
	}
	if s.watchers > 0 && s.watched == s.assigned.state.ID {
		s.renew(now)
	}
	return s.assigned.state.Expired(now)
}

// renew starts a sliding TTL again. The lock is held.
func (s *slot) renew(now time.Time) {
	s.assigned.state.Renew(now)
	s.durable.state.Renew(now)
}

// inFlight reports whether the journal still has records of this name. The lock
// is held.
func (s *slot) inFlight() bool { return s.assigned.lsn > s.durable.lsn }

// wake tells the watchers that the stream has changed. The lock is held.
func (s *slot) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// idle reports whether nothing of the slot would be lost if it left memory. The
// lock is held.
func (s *slot) idle() bool {
	return !s.dirty && !s.inFlight() && s.watchers == 0 && len(s.tombs) == 0
}

// maxProducers is how many producers of a stream stay in memory that the index
// knows too.
const maxProducers = 256

// pruneProducers forgets producers that the index knows, if there are many. The
// lock is held.
func (s *slot) pruneProducers() {
	if len(s.producers) <= maxProducers {
		return
	}
	kept := make(map[string]*producer)
	for id, p := range s.producers {
		if p.dirty || p.lsn > s.durable.lsn {
			kept[id] = p
		}
	}
	s.producers = kept
}

// purged empties the durable version's data. The lock is held.
func (s *slot) purged() {
	if s.indexed != 0 && s.indexed == s.durable.state.ID {
		s.tombs = append(s.tombs, s.indexed)
	}
	s.extents = nil
	s.head.reset(0)
	s.producers = nil
}
