package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

const (
	// logHeaderLen is the length of a log's header: 8 bytes for the number of an
	// encryption key, 0 here, and 12 for a random vector.
	logHeaderLen = 20
	// logEndsTxn is set in the first byte of the entry that ends a transaction.
	logEndsTxn = 1 << 7
)

// checkLogs checks the write-ahead logs of the memtables, given the timestamp of the
// newest transaction in the tables. This package numbers transactions without gaps,
// so the logs must go on where the tables end: otherwise a log is missing, or a table
// that the manifest forgot. A log that another one follows was synced to its end, so
// it must be whole. The last one may end in a torn transaction; whether it lacks
// anything that was durable, appliedFile tells. It may even lack its header: then
// stub is its name, and it is to be removed, since badger would refuse it.
func checkLogs(dir string, numbers []uint64, newest uint64) (stub string, err error) {
	for i, n := range numbers {
		name := fmt.Sprintf("%05d.mem", n)
		last := i == len(numbers)-1
		err := viewFile(dir, name, func(data []byte) error {
			if last && len(data) < logHeaderLen {
				stub = name
				return nil
			}
			first, end, err := checkLog(data, last)
			if err != nil || first == 0 {
				return err
			}
			// It may begin earlier, when it was about to be removed.
			if first > newest+1 {
				return fmt.Errorf("log begins with transaction %d, what precedes it ends with %d", first, newest)
			}
			newest = max(newest, end)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return stub, nil
}

// checkLog checks a log and returns the timestamps of its first and its last whole
// transaction, 0 when it has none. A log is a header, entries, and zeros to the end
// of the file. An entry is
//
//	+--------+-------------+---------------+---------------+-----------+-----+-------+------------+
//	| meta 1 | user meta 1 | key length uv | value len. uv | expiry uv | key | value | CRC32C 4 B |
//	+--------+-------------+---------------+---------------+-----------+-----+-------+------------+
//
// where uv is an unsigned varint, and the checksum covers all that precedes it. A
// key ends in its timestamp, subtracted from the largest one.
func checkLog(data []byte, last bool) (first, newest uint64, err error) {
	if len(data) < logHeaderLen {
		return 0, 0, errors.New("log is shorter than its header")
	}
	if binary.BigEndian.Uint64(data) != 0 {
		return 0, 0, errors.New("log says that it is encrypted")
	}
	pos, end := logHeaderLen, logHeaderLen // end is where the last whole transaction ends
	for {
		e := parseLogEntry(data[pos:])
		if e.length == 0 {
			break
		}
		pos += e.length
		if e.meta&logEndsTxn == 0 {
			continue
		}
		if first == 0 {
			first = e.ts
		} else if e.ts != newest+1 {
			return 0, 0, fmt.Errorf("transaction %d follows %d at offset %d", e.ts, newest, end)
		}
		newest, end = e.ts, pos
	}
	if !last && (pos != end || len(bytes.TrimLeft(data[end:], "\x00")) > 0) {
		return 0, 0, fmt.Errorf("log is damaged after offset %d, though another one follows it", end)
	}
	return first, newest, nil
}

// logEntry is what the checks need of an entry of a log.
type logEntry struct {
	length int // in the log, with its checksum; 0 when there is no intact entry
	meta   byte
	ts     uint64
}

// parseLogEntry returns the entry that data begins with.
func parseLogEntry(data []byte) logEntry {
	if len(data) < 2 {
		return logEntry{}
	}
	n := 2
	var field [3]uint64 // key length, value length, expiry
	for i := range field {
		v, k := binary.Uvarint(data[n:])
		if k <= 0 {
			return logEntry{}
		}
		field[i] = v
		n += k
	}
	left := uint64(len(data) - n)
	if field[0] < 8 || field[0] > left || field[1] > left-field[0] || left-field[0]-field[1] < crc32.Size {
		return logEntry{}
	}
	keyEnd := n + int(field[0])
	end := keyEnd + int(field[1])
	if crc32.Checksum(data[:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
		return logEntry{}
	}
	ts := math.MaxUint64 - binary.BigEndian.Uint64(data[keyEnd-8:])
	return logEntry{length: end + crc32.Size, meta: data[0], ts: ts}
}
