package disk

import "github.com/caddy-durable-streams/caddy-durable-streams/protocol"

const (
	minHeadChunk = 256
	maxHeadChunk = 64 << 10
)

// head holds the bytes of a stream that no segment has yet, in chunks. Bytes
// once written are never changed or moved, so readers keep slices of them
// without a lock. The slot's lock guards the rest.
type head struct {
	start  protocol.Offset // of the first chunk
	end    protocol.Offset
	chunks [][]byte
}

// reset empties the head; the next byte has the position at.
func (h *head) reset(at protocol.Offset) { *h = head{start: at, end: at} }

// append adds bytes. Large bodies are kept as they are, small ones gathered.
func (h *head) append(p []byte) {
	if len(p) == 0 {
		return
	}
	h.end += protocol.Offset(len(p))
	if n := len(h.chunks); n > 0 {
		last := h.chunks[n-1]
		if len(p) <= cap(last)-len(last) {
			h.chunks[n-1] = append(last, p...)
			return
		}
	}
	if len(p) >= maxHeadChunk/4 {
		h.chunks = append(h.chunks, p[:len(p):len(p)])
		return
	}
	size := minHeadChunk
	if n := len(h.chunks); n > 0 {
		size = min(2*cap(h.chunks[n-1]), maxHeadChunk)
	}
	h.chunks = append(h.chunks, append(make([]byte, 0, max(size, len(p))), p...))
}

// slices appends to dst the parts of the head between two positions.
func (h *head) slices(dst [][]byte, from, to protocol.Offset) [][]byte {
	at := h.start
	for _, c := range h.chunks {
		next := at + protocol.Offset(len(c))
		if next > from && at < to {
			lo, hi := max(from-at, 0), min(to-at, protocol.Offset(len(c)))
			dst = append(dst, c[lo:hi:hi])
		}
		if next >= to {
			break
		}
		at = next
	}
	return dst
}

// dropBefore forgets bytes before a position that a segment has now.
func (h *head) dropBefore(at protocol.Offset) {
	drop := 0
	for drop < len(h.chunks) && h.start+protocol.Offset(len(h.chunks[drop])) <= at {
		h.start += protocol.Offset(len(h.chunks[drop]))
		drop++
	}
	h.chunks = h.chunks[drop:]
	switch {
	case len(h.chunks) == 0:
		h.reset(max(at, h.end))
	case h.start < at:
		h.chunks[0] = h.chunks[0][at-h.start:]
		h.start = at
	}
	if drop > 0 {
		h.chunks = append([][]byte(nil), h.chunks...) // let go of the old array
	}
}
