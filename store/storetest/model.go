package storetest

import (
	"slices"
	"strings"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// model is a store as simple as can be: every stream is a string of its own, a
// fork a copy, and one operation happens after another. It asks the same rules
// as an engine does; what it does not share is how an engine keeps what they say.
type model struct {
	streams map[string]*modelStream
}

type modelStream struct {
	name      string
	state     protocol.State
	content   string
	producers map[string]protocol.ProducerState
	source    *modelStream
	// expired says that a soft-deleted stream ended by its expiry. An engine may
	// not have noticed yet, so it may still say "not found" for "gone".
	expired bool
	// latest is the last instant that an engine may take for the last access;
	// state.Accessed is the earliest one.
	latest time.Time
}

func newModel() *model { return &model{streams: make(map[string]*modelStream)} }

func (m *model) state(name string) *protocol.State {
	if s := m.streams[name]; s != nil {
		return &s.state
	}
	return nil
}

// expire ends every stream whose time is over.
func (m *model) expire(now time.Time) {
	for _, s := range m.streams {
		if d, over := protocol.PlanExpiry(&s.state, now); over {
			s.expired = true
			m.end(s, d)
		}
	}
}

func (m *model) end(s *modelStream, d protocol.Deletion) {
	if d.Soft {
		s.state.Deleted = true
		return
	}
	delete(m.streams, s.name)
	if s.source == nil {
		return
	}
	purge := protocol.PlanRelease(&s.source.state)
	s.source.state.Forks--
	if purge {
		m.end(s.source, protocol.Deletion{})
	}
}

// doubtful returns the end of a period in which an engine may or may not take
// some stream for expired; zero if now is in none.
func (m *model) doubtful(now time.Time) (until time.Time) {
	for _, s := range m.streams {
		first, ok := s.state.Expiry.Deadline(s.state.Accessed)
		last, _ := s.state.Expiry.Deadline(s.latest)
		if ok && !s.state.Deleted && !now.Before(first) && now.Before(last) && last.After(until) {
			until = last
		}
	}
	return until
}

// restarted takes into account that an engine may have kept times of access
// that lag behind.
func (m *model) restarted() {
	for _, s := range m.streams {
		if latest := s.state.Accessed.Add(s.state.Expiry.RenewalSlack()); latest.After(s.latest) {
			s.latest = latest
		}
	}
}

// used renews the stream's TTL. What an engine believes since a restart to be
// the last access may be later still.
func (s *modelStream) used(now time.Time) {
	s.state.Accessed = now
	s.perhapsUsed(now)
}

// perhapsUsed notes what an engine may take for a use of the stream.
func (s *modelStream) perhapsUsed(now time.Time) {
	if now.After(s.latest) {
		s.latest = now
	}
}

// describes reports whether an engine's description of the stream is right.
func (s *modelStream) describes(got store.Info) bool {
	want := store.NewInfo(s.name, &s.state)
	if !got.ExpiresAt.Before(want.ExpiresAt) {
		if last, ok := s.state.Expiry.Deadline(s.latest); ok && !got.ExpiresAt.After(last) {
			want.ExpiresAt = got.ExpiresAt
		}
	}
	return sameInfo(want, got)
}

// boundary reports whether a read or fork may start at a position.
func (s *modelStream) boundary(at protocol.Offset) bool {
	return at <= s.state.Tail && (!protocol.IsJSON(s.state.ContentType) || at == 0 || s.content[at-1] == '\n')
}

// forkPoint returns the position that a fork's divergence point names. ok is
// false if there is none.
func (s *modelStream) forkPoint(from forkOf) (at protocol.Offset, ok bool) {
	switch {
	case from.tail:
		return s.state.Tail, true
	case !s.boundary(from.offset):
		return 0, false
	case !protocol.IsJSON(s.state.ContentType):
		at = from.offset + protocol.Offset(from.sub)
		return at, at <= s.state.Tail
	}
	rest := s.content[from.offset:]
	for range from.sub {
		i := strings.IndexByte(rest, '\n')
		if i < 0 {
			return 0, false
		}
		rest = rest[i+1:]
	}
	return s.state.Tail - protocol.Offset(len(rest)), true
}

// create does what a creation does if the rules accept it.
func (m *model) create(name string, r *protocol.CreateRequest) (s *modelStream, created bool, refusal *protocol.Refusal) {
	var source *modelStream
	if r.Fork != nil {
		source = m.streams[r.Fork.Source]
	}
	var from *protocol.State
	if source != nil {
		from = &source.state
	}
	plan, refusal := protocol.PlanCreate(m.state(name), from, r)
	if refusal != nil {
		return nil, false, refusal
	}
	if plan.Exists {
		s = m.streams[name]
		s.used(r.Now)
		return s, false, nil
	}
	s = &modelStream{name: name, state: plan.State, source: source, producers: make(map[string]protocol.ProducerState)}
	if source != nil {
		s.content = source.content[:plan.State.Fork.At]
		source.state.Forks++
		source.perhapsUsed(r.Now)
	}
	s.content += string(r.Body)
	s.used(r.Now)
	m.streams[name] = s
	return s, true, nil
}

func (m *model) append(name string, r *protocol.AppendRequest) (store.AppendResult, *protocol.Refusal) {
	s := m.streams[name]
	if s == nil {
		return store.AppendResult{}, protocol.Available(nil, r.Now)
	}
	var last protocol.ProducerState
	var known bool
	if r.Producer != nil {
		last, known = s.producers[r.Producer.ID]
	}
	plan, refusal := protocol.PlanAppend(&s.state, last, known, r)
	if refusal != nil {
		return store.AppendResult{}, refusal
	}
	s.used(r.Now)
	if plan.Outcome == protocol.Appended {
		s.content += string(r.Body)
		s.state.ApplyAppend(r)
		if plan.Producer != nil {
			s.producers[r.Producer.ID] = *plan.Producer
		}
	}
	return store.AppendResult{
		Outcome: plan.Outcome, Tail: s.state.Tail, Closed: s.state.Closed, Producer: plan.Producer,
	}, nil
}

// visible returns the names of the streams that clients can see, in order.
func (m *model) visible(now time.Time) []string {
	var names []string
	for name, s := range m.streams {
		if protocol.Available(&s.state, now) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
