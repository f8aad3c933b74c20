package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	// logHeaderLen is the length of a log's header: 8 bytes for the number of an
	// encryption key, 0 here, and 12 for a random vector.
	logHeaderLen = 20
	// logEndsTxn is set in the first byte of the entry that ends a transaction.
	logEndsTxn = 1 << 7
)

// checkLogs checks the write-ahead logs of the memtables. A log that another one
// follows was synced to its end, so it must be whole. The last one may end in a torn
// transaction (whether it lacks anything that was durable, appliedFile tells), and
// may even lack its header: then stub is its name, and it is to be removed, since
// badger would refuse it.
func checkLogs(dir string, numbers []uint64) (stub string, err error) {
	for i, n := range numbers {
		name := fmt.Sprintf("%05d.mem", n)
		last := i == len(numbers)-1
		err := viewFile(dir, name, func(data []byte) error {
			if last && len(data) < logHeaderLen {
				stub = name
				return nil
			}
			return checkLog(data, last)
		})
		if err != nil {
			return "", err
		}
	}
	return stub, nil
}

// checkLog checks a log: a header, entries, and zeros to the end of the file. An
// entry is
//
//	+--------+-------------+---------------+---------------+-----------+-----+-------+------------+
//	| meta 1 | user meta 1 | key length uv | value len. uv | expiry uv | key | value | CRC32C 4 B |
//	+--------+-------------+---------------+---------------+-----------+-----+-------+------------+
//
// where uv is an unsigned varint, and the checksum covers all that precedes it.
func checkLog(data []byte, last bool) error {
	if len(data) < logHeaderLen {
		return errors.New("log is shorter than its header")
	}
	if binary.BigEndian.Uint64(data) != 0 {
		return errors.New("log says that it is encrypted")
	}
	pos, end := logHeaderLen, logHeaderLen // end is where the last whole transaction ends
	for {
		n, meta := logEntry(data[pos:])
		if n == 0 {
			break
		}
		pos += n
		if meta&logEndsTxn != 0 {
			end = pos
		}
	}
	if !last && (pos != end || len(bytes.TrimLeft(data[end:], "\x00")) > 0) {
		return fmt.Errorf("log is damaged after offset %d, though another one follows it", end)
	}
	return nil
}

// logEntry returns the length and the meta byte of the intact entry that data
// begins with; 0 when there is none.
func logEntry(data []byte) (n int, meta byte) {
	if len(data) < 2 {
		return 0, 0
	}
	n = 2
	var field [3]uint64 // key length, value length, expiry
	for i := range field {
		v, k := binary.Uvarint(data[n:])
		if k <= 0 {
			return 0, 0
		}
		field[i] = v
		n += k
	}
	left := uint64(len(data) - n)
	if field[0] == 0 || field[0] > left || field[1] > left-field[0] || left-field[0]-field[1] < crc32.Size {
		return 0, 0
	}
	n += int(field[0] + field[1])
	if crc32.Checksum(data[:n], castagnoli) != binary.BigEndian.Uint32(data[n:]) {
		return 0, 0
	}
	return n + crc32.Size, data[0]
}
