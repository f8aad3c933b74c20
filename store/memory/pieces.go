package memory

import (
	"sort"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

const (
	minPiece = 128      // bytes
	maxPiece = 64 << 10 // bytes; what a stream wastes at most
	// adoptFrom is the size from which a body becomes a piece itself, instead of
	// being copied into one.
	adoptFrom = 16 << 10 // bytes
)

// piece is a run of a stream's bytes. Bytes within len(data) never change; the
// space up to its capacity is filled by later appends.
type piece struct {
	start protocol.Offset // position of data[0]
	data  []byte
}

// pieces is an append-only sequence of bytes. Only the last piece ever changes.
type pieces struct {
	all  []piece
	size int // bytes in all pieces
}

// append adds body, which the caller gives away, at the position at.
func (p *pieces) append(at protocol.Offset, body []byte) {
	if len(body) == 0 {
		return
	}
	size := p.size
	p.size += len(body)
	if n := len(p.all); n > 0 {
		last := &p.all[n-1]
		fits := min(len(body), cap(last.data)-len(last.data))
		last.data = append(last.data, body[:fits]...)
		at, body = at+protocol.Offset(fits), body[fits:]
		if len(body) == 0 {
			return
		}
	}
	n := len(body)
	if n >= adoptFrom && cap(body)-n <= n/8 {
		p.all = append(p.all, piece{start: at, data: body[:n:n]})
		return
	}
	data := make([]byte, n, max(n, minPiece, min(size, maxPiece)))
	copy(data, body)
	p.all = append(p.all, piece{start: at, data: data})
}

// view is what a sequence of pieces held at one time. It stays valid, and needs
// no lock, whatever is appended afterwards.
type view struct {
	sealed []piece
	last   piece // a copy: the original goes on growing
}

func (p *pieces) view() view {
	n := len(p.all)
	if n == 0 {
		return view{}
	}
	return view{sealed: p.all[: n-1 : n-1], last: p.all[n-1]}
}

// span is a range of positions in a view.
type span struct {
	view     view
	from, to protocol.Offset
}

// runs yields the bytes of the positions from..to, as far as they lie within the
// span, piece by piece.
func (s *span) runs(from, to protocol.Offset, yield func([]byte) bool) bool {
	from, to = max(from, s.from), min(to, s.to)
	if from >= to {
		return true
	}
	sealed := s.view.sealed
	// The first piece that ends after from.
	i := sort.Search(len(sealed), func(i int) bool { return sealed[i].end() > from })
	for ; i < len(sealed) && sealed[i].start < to; i++ {
		if !yield(sealed[i].slice(from, to)) {
			return false
		}
	}
	if i == len(sealed) && s.view.last.start < to {
		return yield(s.view.last.slice(from, to))
	}
	return true
}

func (p *piece) end() protocol.Offset { return p.start + protocol.Offset(len(p.data)) }

// slice returns the piece's part of the positions from..to.
func (p *piece) slice(from, to protocol.Offset) []byte {
	return p.data[max(from, p.start)-p.start : min(to, p.end())-p.start]
}
