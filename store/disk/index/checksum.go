package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A stored value is what the user gave and four bytes more:
//
//	+---------------+---------------------------------------------+
//	| value         | CRC32C of key and value, big endian (4 B)   |
//	+---------------+---------------------------------------------+
//
// The key is part of the sum, so that an intact value found under a damaged or
// mistaken key is noticed as well.
const checksumLen = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errChecksum   = errors.New("value does not match its checksum")
	errShortValue = errors.New("value is shorter than its checksum")
)

// appendChecksum appends the checksum of all of kv, a key directly followed by
// its value.
func appendChecksum(buf, kv []byte) []byte {
	return binary.BigEndian.AppendUint32(buf, crc32.Checksum(kv, castagnoli))
}

// checkValue returns the user's part of a stored value, without copying it.
func checkValue(key, stored []byte) ([]byte, error) {
	n := len(stored) - checksumLen
	if n < 0 {
		return nil, errShortValue
	}
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, stored[:n])
	if sum != binary.BigEndian.Uint32(stored[n:]) {
		return nil, errChecksum
	}
	return stored[:n], nil
}
