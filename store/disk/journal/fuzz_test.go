package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"runtime"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const fuzzSalt = 0x0123456789abcdef

// allocated returns how many bytes fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// sealed returns a batch that is intact, whatever its fields say.
func sealed(h batch, records []byte) []byte {
	b := append(make([]byte, batchHeader), records...)
	h.seal(b, fuzzSalt)
	return b
}

func FuzzDecodeBatch(f *testing.F) {
	two := []byte{3, 0, 0, 0, 'o', 'n', 'e', 3, 0, 0, 0, 't', 'w', 'o'}
	f.Add(sealed(batch{length: 14, count: 2, first: 7, synced: dataStart}, two))
	f.Add(sealed(batch{length: 14, count: 1, first: 7, synced: dataStart}, two))
	f.Add(sealed(batch{length: 14, count: 3, first: 7}, two))
	f.Add(sealed(batch{length: 1 << 31, count: 1 << 31}, two))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) {
		b := bytes.Clone(input)
		if len(b) >= batchHeader { // else hardly any input has the right checksum
			n := min(uint64(binary.LittleEndian.Uint32(b[8:])), uint64(len(b)-batchHeader))
			binary.LittleEndian.PutUint32(b, mark(fuzzSalt))
			binary.LittleEndian.PutUint32(b[4:], checksum(fuzzSalt, b[:batchHeader+n]))
		}
		before := bytes.Clone(b)
		h, records, ok := decodeBatch(b, fuzzSalt)
		if ok != (len(records) > 0) || int(h.length) != len(records) {
			t.Errorf("ok is %t, with %d bytes of %d", ok, len(records), h.length)
		}
		sum, n := 0, uint64(0)
		wellFormed, err := eachRecord(h, records, func(lsn uint64, record []byte) error {
			if lsn != h.first+n {
				t.Errorf("record %d has LSN %d", n, lsn)
			}
			n++
			sum += recordLen + len(record)
			return nil
		})
		if err != nil || wellFormed && (sum != len(records) || n != uint64(h.count)) {
			t.Errorf("%d records of %d, %d bytes of %d: %v", n, h.count, sum, len(records), err)
		}
		decodeHeader(b)
		tornBatch(b, fuzzSalt)
		if !bytes.Equal(b, before) {
			t.Error("the input was changed")
		}
	})
}

// Headers keep what they say, and come from either copy.
func FuzzDecodeHeader(f *testing.F) {
	f.Add(header{version: 1, sequence: 2, salt: 3, size: testSize, first: 4, prevEnd: 5, prevLast: 6}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) {
		b := bytes.Clone(input)
		for _, at := range []int{0, headerCopy} {
			if len(b) >= at+headerLen {
				binary.LittleEndian.PutUint32(b[at:], fileMagic)
				binary.LittleEndian.PutUint32(b[at+headerLen-4:], crc32.Checksum(b[at:at+headerLen-4], castagnoli))
			}
		}
		h, ok := decodeHeader(b)
		if ok != (len(b) >= headerLen) {
			t.Errorf("%d bytes: %t", len(b), ok)
		}
		if !ok {
			return
		}
		if got, ok := decodeHeader(h.encode()); !ok || got != h {
			t.Errorf("%+v became %+v", h, got)
		}
	})
}

// fuzzFile makes a journal file of what the fuzzer says. Each 12 bytes describe a
// batch, right unless they say something else: flags, then how far first LSN,
// synced, length and count are off, and how many bytes of records there are.
func fuzzFile(b []byte) []byte {
	file := header{version: fileVersion, sequence: 3, salt: fuzzSalt, first: 1}.encode()
	lsn := uint64(1)
	for ; len(b) >= 12 && len(file) < 16<<10; b = b[12:] {
		n := int(binary.LittleEndian.Uint16(b[10:])) % 600
		records := binary.LittleEndian.AppendUint32(nil, uint32(n))
		records = append(records, bytes.Repeat(b[:1], n)...)
		h := batch{length: uint32(len(records)), count: 1, first: lsn, synced: uint64(len(file))}
		if b[0]&1 != 0 {
			h.first += uint64(int64(int8(b[1])))
		}
		if b[0]&2 != 0 {
			h.synced += uint64(int64(int16(binary.LittleEndian.Uint16(b[2:]))) << (b[0] >> 4 << 2))
		}
		if b[0]&4 != 0 {
			h.length = binary.LittleEndian.Uint32(b[4:])
		}
		if b[0]&8 != 0 {
			h.count = uint32(int8(b[8]))
		}
		out := sealed(h, records)
		if b[9] != 0 {
			out[int(b[9])%len(out)] ^= b[9] // torn or damaged
		}
		file = append(file, out...)
		file = append(file, make([]byte, align(int64(len(file)))-int64(len(file)))...)
		lsn++
	}
	file = append(file, b...)
	return append(file, make([]byte, max(0, minFileSize-len(file)))...)
}

// Whatever is in a file, opening it ends with the records of it or with a
// CorruptionError, and a second time with the same.
func FuzzOpen(f *testing.F) {
	good := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1}
	f.Add(bytes.Repeat(good, 5), false)
	for flag, at := range map[byte]int{1: 1, 2: 2, 4: 4, 8: 8, 0: 9} {
		for _, by := range []byte{1, 255} {
			odd := bytes.Repeat(good, 5)
			odd[24], odd[24+at] = flag, by
			f.Add(odd, false)
			f.Add(odd, true)
		}
	}
	f.Add([]byte("anything at all, so that there are no batches"), true)
	f.Fuzz(func(t *testing.T, b []byte, followed bool) {
		if len(b) > 16<<10 {
			return
		}
		m := newMem(t, vfs.MemOptions{})
		files := [][]byte{fuzzFile(b)}
		if followed { // by a file that says where it should end
			next := header{
				version: fileVersion, sequence: 4, salt: 1, size: minFileSize,
				first: 3, prevEnd: dataStart + 2*340, prevLast: 2,
			}.encode()
			files = append(files, append(next, make([]byte, minFileSize-dataStart)...))
		}
		if err := m.MkdirAll(testDir); err != nil {
			t.Fatal(err)
		}
		for i, content := range files {
			file, err := m.Create(testDir + "/" + string(rune('0'+i)) + ".wal")
			if err != nil {
				t.Fatal(err)
			}
			_, err = file.WriteAt(content, 0)
			if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
				t.Fatal(err)
			}
		}
		var got replayed
		var j *Journal
		var err error
		opts := Options{FileSize: minFileSize}
		if n := allocated(func() { j, err = Open(m, testDir, opts, 0, got.replay) }); n > 4<<20 {
			t.Errorf("opening %d bytes allocates %d", len(files[0]), n)
		}
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("open: %v", err)
			}
			return
		}
		mustAdd(t, j, []byte("more"))
		mustClose(t, j)
		j, again := mustOpen(t, m, opts, 0)
		again.want(t, 0, append(got.records, []byte("more")))
		mustClose(t, j)
	})
}
