package disk

import (
	"bytes"
	"context"
	"fmt"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// Head implements store.Store.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	if s.closed.Load() {
		return store.Info{}, store.ErrClosed
	}
	sl, err := s.acquire(name)
	if err != nil {
		return store.Info{}, err
	}
	defer s.table.unpin(sl)
	sl.mu.Lock()
	info, err := s.visible(sl)
	sl.mu.Unlock()
	if err != nil {
		s.confirmGone(ctx, sl, s.opts.Now())
	}
	return info, err
}

// describe is Head for List: a stream that was not in memory does not stay there.
func (s *Store) describe(name string) (store.Info, error) {
	sl := s.table.find(name)
	if sl != nil {
		defer s.table.unpin(sl)
		return s.Head(context.Background(), name)
	}
	sl, err := s.acquire(name)
	if err != nil {
		return store.Info{}, err
	}
	sl.mu.Lock()
	info, err := s.visible(sl)
	sl.mu.Unlock()
	s.table.unpin(sl)
	s.table.drop(sl)
	return info, err
}

// visible describes a stream as readers see it. The slot's lock is held.
func (s *Store) visible(sl *slot) (store.Info, error) {
	now := s.opts.Now()
	sl.over(now) // a stream that is watched does not expire
	if refusal := protocol.Available(sl.durable.current(), now); refusal != nil {
		return store.Info{}, refusal
	}
	return store.NewInfo(sl.name, &sl.durable.state), nil
}

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, name string, from protocol.Offset, maxBytes int) (*store.Chunk, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	sl, err := s.acquire(name)
	if err != nil {
		return nil, err
	}
	defer s.table.unpin(sl)
	sl.mu.Lock()
	info, err := s.visible(sl)
	if err != nil {
		sl.mu.Unlock()
		s.confirmGone(ctx, sl, s.opts.Now())
		return nil, err
	}
	asked := from
	if from == protocol.Now {
		from = info.Tail
	}
	if refusal := protocol.CheckReadOffset(from, info.Tail); refusal != nil {
		sl.mu.Unlock()
		return nil, refusal
	}
	if renewal := s.touch(sl, s.opts.Now()); renewal != nil {
		sl.mu.Unlock()
		awaitTouch(ctx, renewal)
		return s.Read(ctx, name, asked, maxBytes)
	}
	info.ExpiresAt, _ = info.Expiry.Deadline(sl.durable.state.Accessed)
	if from == info.Tail {
		sl.mu.Unlock()
		return store.NewChunk(info, from, from, nil), nil
	}
	// The byte before the range tells whether it begins with a message.
	json := protocol.IsJSON(info.ContentType)
	low, to := from, min(info.Tail, from+protocol.Offset(max(maxBytes, 1)))
	if json {
		low, to = max(from-1, protocol.Start), info.Tail
	}
	b := &body{store: s, start: low}
	fork := b.collect(sl, low, to)
	sl.mu.Unlock()
	if err := b.collectInherited(fork, low, to); err != nil {
		b.Close()
		return nil, s.orGone(sl, info.ID, err)
	}
	if json {
		if to, err = b.cutMessages(from, info.Tail, maxBytes); err != nil {
			b.Close()
			return nil, err
		}
	}
	b.trim(from, to)
	return store.NewChunk(info, from, to, b), nil
}

// collect adds the parts of a stream's own bytes in a range to b, and returns
// where earlier bytes come from. The slot's lock is held.
func (b *body) collect(sl *slot, from, to protocol.Offset) *protocol.Fork {
	var parts []part
	for _, x := range sl.extents {
		lo, hi := max(from, x.start), min(to, x.end())
		if lo < hi {
			parts = append(parts, part{at: lo, len: int64(hi - lo), segment: x.segment, offset: x.offset + int64(lo-x.start)})
		}
	}
	if to > sl.head.start {
		at := max(from, sl.head.start)
		for _, p := range sl.head.slices(nil, from, to) {
			parts = append(parts, part{at: at, len: int64(len(p)), memory: p})
			at += protocol.Offset(len(p))
		}
	}
	b.store.segments.ref(parts)
	b.parts = append(parts, b.parts...)
	return sl.durable.state.Fork
}

// collectInherited adds the part of a range that a fork inherits: the bytes
// before its divergence point, which its source, or a source's source, has. It
// holds one lock at a time: inherited bytes never change and never go.
func (b *body) collectInherited(f *protocol.Fork, from, to protocol.Offset) error {
	for f != nil {
		to = min(to, f.At)
		if from >= to {
			return nil
		}
		source, err := b.store.acquire(f.Source)
		if err != nil {
			return err
		}
		source.mu.Lock()
		if !source.durable.exists || source.durable.state.ID != f.SourceID {
			source.mu.Unlock()
			b.store.table.unpin(source)
			return fmt.Errorf("%w: the source %q of a fork is missing", store.ErrCorrupt, f.Source)
		}
		f = b.collect(source, from, to)
		source.mu.Unlock()
		b.store.table.unpin(source)
	}
	return nil
}

// orGone replaces an error that a reader met by a refusal, if the stream that it
// read was deleted meanwhile, and its sources with it.
func (s *Store) orGone(sl *slot, id uint64, err error) error {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.durable.exists && sl.durable.state.ID == id {
		return err
	}
	return protocol.Available(nil, s.opts.Now())
}

// cutMessages checks that from is a message boundary, and returns the end of the
// last whole message within maxBytes, or of the first if it is longer.
func (b *body) cutMessages(from, tail protocol.Offset, maxBytes int) (protocol.Offset, error) {
	if from > protocol.Start {
		before, err := b.bytes(from-1, from)
		if err != nil {
			return 0, err
		}
		if before[0] != '\n' {
			return 0, protocol.MidMessage(from)
		}
	}
	to := from + protocol.Offset(max(maxBytes, 1))
	if to >= tail {
		return tail, nil
	}
	for hi := to; hi > from; {
		lo := max(from, hi-segment.BlockSize)
		p, err := b.bytes(lo, hi)
		if err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
			return lo + protocol.Offset(i+1), nil
		}
		hi = lo
	}
	for lo := to; lo < tail; {
		hi := min(tail, lo+segment.BlockSize)
		p, err := b.bytes(lo, hi)
		if err != nil {
			return 0, err
		}
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			return lo + protocol.Offset(i+1), nil
		}
		lo = hi
	}
	return tail, nil
}
