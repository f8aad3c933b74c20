package index

import (
	"bytes"
	"fmt"
)

// Keys of badger's own records, and of this package's, begin so.
var (
	badgerPrefix = []byte("!badger!")
	ownPrefix    = []byte("!index!")
)

// Batch gathers operations for one Apply. The zero value is an empty batch. It
// copies what it is given into one buffer that grows as needed and is kept by
// Reset, so a batch that is reused allocates nothing once it has reached its
// size. Not safe for concurrent use.
type Batch struct {
	// buf holds, for each operation, its key and, for a set, its stored value
	// (value and checksum), without gaps: Apply hands out slices of it.
	buf   []byte
	ops   []op
	bytes int
	err   error // the first operation that is outside the limits; returned by Apply
}

// op is one operation of a batch. 16 bytes, so that a batch of a hundred thousand
// small values is not mostly bookkeeping.
type op struct {
	off  int    // of the key in buf; the stored value follows it
	klen uint32 // at most MaxKeyLen
	vlen int32  // of the stored value; negative for a deletion
}

// Set stores value under key. Both are copied.
func (b *Batch) Set(key, value []byte) {
	if !b.checkKey(key) {
		return
	}
	if len(value) > MaxValueLen {
		if b.err == nil {
			b.err = fmt.Errorf("set %q: %w: %d bytes, at most %d", key, ErrValueTooLarge, len(value), MaxValueLen)
		}
		return
	}
	off := len(b.buf)
	b.buf = append(b.buf, key...)
	b.buf = append(b.buf, value...)
	b.buf = appendChecksum(b.buf, b.buf[off:])
	b.ops = append(b.ops, op{off: off, klen: uint32(len(key)), vlen: int32(len(value) + checksumLen)})
	b.bytes += len(key) + len(value)
}

// Delete removes key. It is no error when there is none. The key is copied.
func (b *Batch) Delete(key []byte) {
	if !b.checkKey(key) {
		return
	}
	off := len(b.buf)
	b.buf = append(b.buf, key...)
	b.ops = append(b.ops, op{off: off, klen: uint32(len(key)), vlen: -1})
	b.bytes += len(key)
}

// Len returns the number of operations.
func (b *Batch) Len() int { return len(b.ops) }

// Bytes returns the sum of the lengths of the keys and values held.
func (b *Batch) Bytes() int { return b.bytes }

// Reset empties the batch and keeps its memory. A batch that was once very large
// stays so; drop it to give the memory back.
func (b *Batch) Reset() {
	b.buf, b.ops, b.bytes, b.err = b.buf[:0], b.ops[:0], 0, nil
}

// at returns the i-th operation. stored is nil for a deletion, and never for a
// set. Both are slices of the batch's buffer.
func (b *Batch) at(i int) (key, stored []byte) {
	o := b.ops[i]
	end := o.off + int(o.klen)
	key = b.buf[o.off:end:end]
	if o.vlen < 0 {
		return key, nil
	}
	return key, b.buf[end : end+int(o.vlen) : end+int(o.vlen)]
}

func (b *Batch) checkKey(key []byte) bool {
	var why string
	switch {
	case len(key) == 0:
		why = "empty"
	case len(key) > MaxKeyLen:
		why = fmt.Sprintf("%d bytes, at most %d", len(key), MaxKeyLen)
	case bytes.HasPrefix(key, badgerPrefix), bytes.HasPrefix(key, ownPrefix):
		why = "reserved"
	default:
		return true
	}
	if b.err == nil {
		b.err = fmt.Errorf("%w: %s", ErrInvalidKey, why)
	}
	return false
}
