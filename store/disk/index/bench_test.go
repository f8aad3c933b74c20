package index

import (
	"encoding/binary"
	"fmt"
)

// benchKey returns the i-th of keys that are as long as a stream's name.
func benchKey(i int) []byte { return fmt.Appendf(nil, "n/app/room/%09d/messages", i) }

// benchValue returns 150 bytes that differ with i.
func benchValue(i int) []byte {
	v := make([]byte, 150)
	for j := 0; j+8 <= len(v); j += 8 {
		binary.BigEndian.PutUint64(v[j:], uint64(i)*0x9e3779b97f4a7c15+uint64(j))
	}
	return v
}
