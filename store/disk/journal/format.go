package journal

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

const (
	fileMagic   = 0x314a5344 // "DSJ1"
	fileVersion = 1

	headerLen   = 60
	headerCopy  = 512 // position of the second copy
	dataStart   = 1024
	batchHeader = 32
	recordLen   = 4 // length prefix
	alignment   = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header begins a file.
type header struct {
	version  uint32
	sequence uint64
	salt     uint64
	size     uint64 // of the file in bytes
	first    uint64 // LSN of the first record
	// prevEnd is where the batches of the file with the sequence before end, and
	// prevLast the LSN of its last record. 0 in the first file of a log.
	prevEnd  uint64
	prevLast uint64
}

func (h header) encode() []byte {
	b := make([]byte, dataStart)
	le := binary.LittleEndian
	le.PutUint32(b[0:], fileMagic)
	le.PutUint32(b[4:], h.version)
	le.PutUint64(b[8:], h.sequence)
	le.PutUint64(b[16:], h.salt)
	le.PutUint64(b[24:], h.first)
	le.PutUint64(b[32:], h.prevEnd)
	le.PutUint64(b[40:], h.prevLast)
	le.PutUint64(b[48:], h.size)
	le.PutUint32(b[56:], crc32.Checksum(b[:56], castagnoli))
	copy(b[headerCopy:], b[:headerLen])
	return b
}

// decodeHeader returns the header in the first dataStart bytes of a file. One
// intact copy is enough.
func decodeHeader(b []byte) (header, bool) {
	for _, at := range []int{0, headerCopy} {
		if len(b) < at+headerLen {
			continue
		}
		c := b[at : at+headerLen]
		le := binary.LittleEndian
		if le.Uint32(c) != fileMagic || le.Uint32(c[56:]) != crc32.Checksum(c[:56], castagnoli) {
			continue
		}
		return header{
			version: le.Uint32(c[4:]), sequence: le.Uint64(c[8:]), salt: le.Uint64(c[16:]), first: le.Uint64(c[24:]),
			prevEnd: le.Uint64(c[32:]), prevLast: le.Uint64(c[40:]), size: le.Uint64(c[48:]),
		}, true
	}
	return header{}, false
}

// batch is a batch's header.
type batch struct {
	length uint32 // of the records with their prefixes
	count  uint32
	first  uint64 // LSN of the first record
	synced uint64 // position in the file below which everything was synced, its header too from dataStart+1 on
}

// newSalt draws a salt. Clients never learn it, so they cannot store bytes that
// pass for a batch.
func newSalt() uint64 { return rand.Uint64() }

// mark is the number that each batch of a file begins with. It is a part of the
// salt, and not the same in every file, so that a search for batches computes no
// checksum over what only looks like one: else stored bytes that look like many
// long batches would make opening take hours.
func mark(salt uint64) uint32 { return uint32(salt>>32) | 1 }

func align(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// checksum covers a batch from its length on.
func checksum(salt uint64, b []byte) uint32 {
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], salt)
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, b[8:])
}

// seal writes the batch's header into the first bytes of buf, which the records
// follow.
func (b batch) seal(buf []byte, salt uint64) {
	le := binary.LittleEndian
	le.PutUint32(buf[0:], mark(salt))
	le.PutUint32(buf[8:], b.length)
	le.PutUint32(buf[12:], b.count)
	le.PutUint64(buf[16:], b.first)
	le.PutUint64(buf[24:], b.synced)
	le.PutUint32(buf[4:], checksum(salt, buf))
}

// decodeBatch returns the batch at the beginning of b, which holds the rest of
// the file, and its records. ok is false if there is no intact batch.
func decodeBatch(b []byte, salt uint64) (h batch, records []byte, ok bool) {
	le := binary.LittleEndian
	if len(b) < batchHeader || le.Uint32(b) != mark(salt) {
		return batch{}, nil, false
	}
	h = batch{length: le.Uint32(b[8:]), count: le.Uint32(b[12:]), first: le.Uint64(b[16:]), synced: le.Uint64(b[24:])}
	if int64(h.length) > int64(len(b)-batchHeader) || h.count == 0 || int64(h.count)*recordLen > int64(h.length) {
		return batch{}, nil, false
	}
	end := batchHeader + int(h.length)
	if le.Uint32(b[4:]) != checksum(salt, b[:end]) {
		return batch{}, nil, false
	}
	return h, b[batchHeader:end], true
}

// tornBatch returns the header at the beginning of b, whatever its checksum.
func tornBatch(b []byte, salt uint64) (batch, bool) {
	le := binary.LittleEndian
	if len(b) < batchHeader || le.Uint32(b) != mark(salt) {
		return batch{}, false
	}
	return batch{length: le.Uint32(b[8:]), count: le.Uint32(b[12:]), first: le.Uint64(b[16:])}, true
}

// eachRecord calls fn with the records of an intact batch. It reports whether
// their lengths add up.
func eachRecord(h batch, records []byte, fn func(lsn uint64, record []byte) error) (wellFormed bool, err error) {
	for i := range h.count {
		if len(records) < recordLen {
			return false, nil
		}
		n := binary.LittleEndian.Uint32(records)
		records = records[recordLen:]
		if int64(n) > int64(len(records)) {
			return false, nil
		}
		if err := fn(h.first+uint64(i), records[:n:n]); err != nil {
			return true, err
		}
		records = records[n:]
	}
	return len(records) == 0, nil
}
