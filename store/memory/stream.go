package memory

import (
	"strings"
	"sync"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// stream is one stream, from its creation until it is removed.
type stream struct {
	name string
	// base is the position of the first byte of its own, source the stream that
	// has those before; 0 and nil if this is no fork. Neither changes.
	base   protocol.Offset
	source *stream

	mu        sync.Mutex
	state     protocol.State
	bytes     pieces
	producers map[string]protocol.ProducerState // by producer ID; nil if there are none
	// removed says that the stream is, or is about to be, no longer in the
	// store. A later stream of the same name is another one.
	removed bool
	// watchers counts the calls of Watch that were not stopped. changed is the
	// channel that they share; nil if nobody watches since the last change.
	watchers int
	changed  chan struct{}

	// heapIndex is one more than the place in Store.deadlines, 0 if it is not
	// there. Guarded by deadlines.mu.
	heapIndex int
}

// newStream returns a stream in the given state with its initial bytes. It keeps
// no string of a request: such a string may be part of a much larger one.
func newStream(name string, state protocol.State, source *stream, body []byte) *stream {
	s := &stream{name: strings.Clone(name), source: source, state: state}
	s.state.ContentType = strings.Clone(state.ContentType)
	if f := state.Fork; f != nil {
		s.base = f.At
		f.Source = source.name
	}
	s.bytes.append(s.base, body)
	return s
}

// apply makes an accepted request's changes. The lock is held.
func (s *stream) apply(r *protocol.AppendRequest, producer *protocol.ProducerState) {
	s.bytes.append(s.state.Tail, r.Body)
	r.Seq = strings.Clone(r.Seq)
	s.state.ApplyAppend(r)
	if producer != nil {
		s.setProducer(r.Producer.ID, *producer)
	}
	s.wake()
}

func (s *stream) setProducer(id string, p protocol.ProducerState) {
	if _, known := s.producers[id]; !known {
		if s.producers == nil {
			s.producers = make(map[string]protocol.ProducerState)
		}
		id = strings.Clone(id)
	}
	s.producers[id] = p
}

// over reports whether the stream's time is over at now. A stream that is
// watched is being read all the time (§5.1). The lock is held.
func (s *stream) over(now time.Time) bool {
	if s.watchers > 0 {
		s.state.Renew(now)
	}
	_, over := protocol.PlanExpiry(&s.state, now)
	return over
}

// wake tells the watchers that the stream has changed. The lock is held.
func (s *stream) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
