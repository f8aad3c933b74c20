package memory

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// writePiece bounds how much of a chunk is given to a writer at a time.
const writePiece = 64 << 10 // bytes

// Head implements store.Store.
func (m *Store) Head(_ context.Context, name string) (store.Info, error) {
	s, err := m.enter(name, m.now())
	if err != nil {
		return store.Info{}, err
	}
	defer s.mu.Unlock()
	return store.NewInfo(s.name, &s.state), nil
}

// Read implements store.Store. Of a byte stream it returns maxBytes bytes, at
// least one, unless the stream has fewer.
func (m *Store) Read(_ context.Context, name string, from protocol.Offset, maxBytes int) (*store.Chunk, error) {
	now := m.now()
	s, err := m.enter(name, now)
	if err != nil {
		return nil, err
	}
	tail := s.state.Tail
	if from == protocol.Now {
		from = tail
	}
	if refusal := protocol.CheckReadOffset(from, tail); refusal != nil {
		s.mu.Unlock()
		return nil, refusal
	}
	s.state.Renew(now)
	info := store.NewInfo(s.name, &s.state)
	own := s.bytes.view()
	s.mu.Unlock()
	// From here on nothing is locked: what lies before the tail never changes.
	if from == tail {
		return store.NewChunk(info, from, from, nil), nil
	}
	b := &body{from: from}
	to := from + min(tail-from, protocol.Offset(max(maxBytes, 1)))
	if !protocol.IsJSON(info.ContentType) {
		b.gather(s, own, from, to)
		return store.NewChunk(info, from, to, b), nil
	}
	to, refusal := b.gatherMessages(s, own, from, to, tail)
	if refusal != nil {
		return nil, refusal
	}
	return store.NewChunk(info, from, to, b), nil
}

// body is a chunk's bytes: spans of the stream and of those it was forked from,
// in ascending order of position.
type body struct {
	from   protocol.Offset
	spans  []span
	inline [1]span // enough for all but forks
}

// gather makes the body hold the positions from..to of a stream. own is a view
// of the stream's own bytes.
func (b *body) gather(s *stream, own view, from, to protocol.Offset) {
	b.spans = append(b.inline[:0], span{view: own, from: max(from, s.base), to: to})
	for from < s.base {
		to = min(to, s.base)
		s = s.source
		if to <= s.base {
			continue // an ancestor has them
		}
		s.mu.Lock()
		v := s.bytes.view()
		s.mu.Unlock()
		b.spans = append(b.spans, span{view: v, from: max(from, s.base), to: to})
	}
	slices.Reverse(b.spans)
}

// gatherMessages is gather for a JSON stream. It returns where the last whole
// message before to ends or, if the first one is longer, where that ends.
func (b *body) gatherMessages(s *stream, own view, from, to, tail protocol.Offset) (protocol.Offset, *protocol.Refusal) {
	b.gather(s, own, max(from-1, protocol.Start), to)
	if from > protocol.Start && b.at(from-1) != '\n' {
		return 0, protocol.MidMessage(from)
	}
	if to == tail {
		return tail, nil
	}
	for end := b.lastEnd(from, to); ; end = b.firstEnd(from, to) {
		if end > from {
			return end, nil
		}
		if to == tail {
			return tail, nil
		}
		// One message is longer than the window: look further ahead for its end.
		to += min(to-from, tail-to)
		b.gather(s, own, from, to)
	}
}

// runs yields the bytes of the positions from..to, as far as the body holds them.
func (b *body) runs(from, to protocol.Offset, yield func([]byte) bool) {
	for i := range b.spans {
		if !b.spans[i].runs(from, to, yield) {
			return
		}
	}
}

func (b *body) at(pos protocol.Offset) (c byte) {
	b.runs(pos, pos+1, func(run []byte) bool {
		c = run[0]
		return false
	})
	return c
}

// lastEnd returns the position after the last newline in from..to, from if there
// is none.
func (b *body) lastEnd(from, to protocol.Offset) protocol.Offset {
	// Look at the end first: messages are mostly short.
	for width := protocol.Offset(4 << 10); ; width *= 8 {
		start := max(from, to-width)
		pos, end := start, from
		b.runs(start, to, func(run []byte) bool {
			if i := bytes.LastIndexByte(run, '\n'); i >= 0 {
				end = pos + protocol.Offset(i+1)
			}
			pos += protocol.Offset(len(run))
			return true
		})
		if end > from || start == from {
			return end
		}
	}
}

// firstEnd returns the position after the first newline in from..to, from if
// there is none.
func (b *body) firstEnd(from, to protocol.Offset) protocol.Offset {
	pos, end := from, from
	b.runs(from, to, func(run []byte) bool {
		if i := bytes.IndexByte(run, '\n'); i >= 0 {
			end = pos + protocol.Offset(i+1)
			return false
		}
		pos += protocol.Offset(len(run))
		return true
	})
	return end
}

// WriteTo implements store.Body.
func (b *body) WriteTo(w io.Writer, from, to int64) (err error) {
	b.runs(b.from+protocol.Offset(from), b.from+protocol.Offset(to), func(run []byte) bool {
		for piece := range slices.Chunk(run, writePiece) {
			if _, err = w.Write(piece); err != nil {
				return false
			}
		}
		return true
	})
	return err
}

// Close implements store.Body. The garbage collector does the work.
func (b *body) Close() error { return nil }
