package disk

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/filepool"
	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// readPiece is how much of a segment is read at a time, in bytes.
const readPiece = 128 << 10

var scratches = sync.Pool{New: func() any {
	b := make([]byte, segment.ScratchLen(readPiece))
	return &b
}}

// part is a piece of a stream's bytes, in memory or in a segment.
type part struct {
	at      protocol.Offset
	len     int64
	memory  []byte
	segment uint64
	offset  int64 // in the segment's file
}

// body implements store.Body: parts without gaps, in order. It keeps the
// segments that it refers to from being removed, but no file open.
type body struct {
	store *Store
	start protocol.Offset // of the chunk
	parts []part
}

// trim narrows the body to a range and lets go of what is outside.
func (b *body) trim(from, to protocol.Offset) {
	b.start = from
	kept := b.parts[:0:0]
	var out []part
	for _, p := range b.parts {
		lo, hi := max(from, p.at), min(to, p.at+protocol.Offset(p.len))
		if lo >= hi {
			out = append(out, p)
			continue
		}
		skip := int64(lo - p.at)
		p.at, p.len, p.offset = lo, int64(hi-lo), p.offset+skip
		if p.memory != nil {
			p.memory = p.memory[skip : skip+p.len]
		}
		kept = append(kept, p)
	}
	b.parts = kept
	b.store.segments.unref(out)
}

// WriteTo implements store.Body.
func (b *body) WriteTo(w io.Writer, from, to int64) error {
	return b.each(b.start+protocol.Offset(from), b.start+protocol.Offset(to), func(p []byte) error {
		_, err := w.Write(p)
		return err
	})
}

// Close implements store.Body.
func (b *body) Close() error {
	b.store.segments.unref(b.parts)
	b.parts = nil
	return nil
}

// each calls fn with the bytes between two positions, piece by piece. No file is
// pinned while fn runs.
func (b *body) each(from, to protocol.Offset, fn func(p []byte) error) error {
	first := sort.Search(len(b.parts), func(i int) bool { return b.parts[i].at+protocol.Offset(b.parts[i].len) > from })
	at := from
	for _, p := range b.parts[first:] {
		if at >= to {
			break
		}
		if p.at > at {
			break // a gap
		}
		end := min(to, p.at+protocol.Offset(p.len))
		if p.memory != nil {
			if err := fn(p.memory[at-p.at : end-p.at]); err != nil {
				return err
			}
			at = end
			continue
		}
		for at < end {
			n := min(int(end-at), readPiece)
			if err := b.store.readSegment(p.segment, p.offset+int64(at-p.at), n, fn); err != nil {
				return err
			}
			at += protocol.Offset(n)
		}
	}
	if at < to {
		return fmt.Errorf("%w: no bytes from %s on", store.ErrCorrupt, at)
	}
	return nil
}

// bytes returns a copy of a short range.
func (b *body) bytes(from, to protocol.Offset) ([]byte, error) {
	out := make([]byte, 0, to-from)
	err := b.each(from, to, func(p []byte) error {
		out = append(out, p...)
		return nil
	})
	return out, err
}

// readSegment calls fn with n verified bytes of a segment.
func (s *Store) readSegment(number uint64, offset int64, n int, fn func(p []byte) error) error {
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	h, err := s.pool.Acquire(number)
	if err != nil {
		if errors.Is(err, filepool.ErrClosed) {
			err = store.ErrClosed
		}
		return fmt.Errorf("open segment: %w", err)
	}
	p, err := h.Value().Read(*scratch, offset, n)
	h.Release()
	if err != nil {
		return err
	}
	return fn(p)
}
