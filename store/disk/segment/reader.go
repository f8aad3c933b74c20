package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// Reader is an open segment. Its methods may be called concurrently.
type Reader struct {
	file  vfs.File
	info  Info
	table []byte // CRC32C of each block, 4 bytes each
}

// ReadInfo returns a segment's footer.
func ReadInfo(fs vfs.FS, dir string, number uint64) (Info, error) {
	r, err := Open(fs, dir, number)
	if err != nil {
		return Info{}, err
	}
	return r.info, r.Close()
}

// Open opens a segment and reads its footer and its block table.
func Open(fs vfs.FS, dir string, number uint64) (*Reader, error) {
	file, err := fs.Open(FileName(dir, number))
	if err != nil {
		return nil, err
	}
	r := &Reader{file: file}
	if err := r.load(number); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

func (r *Reader) load(number uint64) error {
	size, err := r.file.Size()
	if err != nil {
		return err
	}
	if size < headerLen+trailerLen {
		return corrupt(r.file.Name(), 0, fmt.Sprintf("%d bytes are too few for a segment", size))
	}
	var trailer [trailerLen]byte
	if err := readFull(r.file, trailer[:], size-trailerLen); err != nil {
		return err
	}
	footerLen := int64(le.Uint32(trailer[:]))
	if string(trailer[8:]) != magic || footerLen > min(size-headerLen-trailerLen, maxFooter) {
		return corrupt(r.file.Name(), size-trailerLen, "the segment has no end mark")
	}
	footerAt := size - trailerLen - footerLen
	footer := make([]byte, footerLen)
	if err := readFull(r.file, footer, footerAt); err != nil {
		return err
	}
	if crc32.Checksum(footer, castagnoli) != le.Uint32(trailer[4:]) {
		return corrupt(r.file.Name(), footerAt, "the footer does not match its checksum")
	}
	info, ok := decodeInfo(footer)
	blocks := (info.DataEnd + BlockSize - 1) / BlockSize
	if !ok || info.Number != number || info.TableStart+4*blocks+4 != footerAt {
		return corrupt(r.file.Name(), footerAt, "the footer does not belong to this file")
	}
	table := make([]byte, 4*blocks+4)
	if err := readFull(r.file, table, info.TableStart); err != nil {
		return err
	}
	r.table = table[:4*blocks]
	if crc32.Checksum(r.table, castagnoli) != le.Uint32(table[4*blocks:]) {
		return corrupt(r.file.Name(), info.TableStart, "the block table does not match its checksum")
	}
	r.info = info
	return nil
}

// readFull fills p from the file. Bytes that are missing are damage.
func readFull(file vfs.File, p []byte, off int64) error {
	n, err := file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return corrupt(file.Name(), off+int64(n), "the file ends early")
	}
	return err
}

// Info returns the segment's footer.
func (r *Reader) Info() Info { return r.info }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// ScratchLen returns how long a buffer Read needs for n bytes.
func ScratchLen(n int) int { return (n+2*BlockSize-2)/BlockSize*BlockSize + BlockSize }

// Read returns n bytes of data from position off in the file, checked against
// the block table. The result is a part of scratch, which has at least
// ScratchLen(n) bytes.
func (r *Reader) Read(scratch []byte, off int64, n int) ([]byte, error) {
	if off < headerLen || off > r.info.DataEnd || n < 0 || int64(n) > r.info.DataEnd-off {
		return nil, corrupt(r.file.Name(), off, fmt.Sprintf("an extent of %d bytes there is outside the data", n))
	}
	first := off / BlockSize * BlockSize
	end := min((off+int64(n)+BlockSize-1)/BlockSize*BlockSize, r.info.DataEnd)
	blocks := scratch[:end-first]
	if err := readFull(r.file, blocks, first); err != nil {
		return nil, err
	}
	for at := int64(0); at < int64(len(blocks)); at += BlockSize {
		block := blocks[at:min(at+BlockSize, int64(len(blocks)))]
		number := (first + at) / BlockSize
		if crc32.Checksum(block, castagnoli) != le.Uint32(r.table[4*number:]) {
			return nil, corrupt(r.file.Name(), first+at, "the block does not match its checksum")
		}
	}
	return blocks[off-first : off-first+int64(n)], nil
}

// Entries calls fn with every entry of the directory in order, until fn returns
// an error, which it returns. The entry's Meta is valid during the call only.
func (r *Reader) Entries(fn func(e *Entry) error) error {
	var (
		frame               []byte
		entries, tombstones uint64
		lastID              uint64
	)
	for at := r.info.DataEnd; at < r.info.TableStart; at += frameHead + int64(len(frame)) {
		var err error
		if frame, err = r.frame(frame, at); err != nil {
			return err
		}
		for d := (decoder{b: frame}); len(d.b) > 0; {
			e, ok := decodeEntry(&d)
			if !ok || e.ID < lastID {
				return corrupt(r.file.Name(), at, "an entry of the directory is malformed")
			}
			for _, x := range e.Extents {
				if !x.within(r.info.DataEnd) {
					return corrupt(r.file.Name(), at, "an entry of the directory has an extent outside the data")
				}
			}
			lastID = e.ID
			entries++
			if e.Tombstone {
				tombstones++
			}
			if err := fn(&e); err != nil {
				return err
			}
		}
	}
	if entries != r.info.Entries || tombstones != r.info.Tombstones {
		return corrupt(r.file.Name(), r.info.DataEnd, fmt.Sprintf("the directory has %d entries, the footer says %d", entries, r.info.Entries))
	}
	return nil
}

// frame reads the directory's frame at position at into buf, which grows if need
// be.
func (r *Reader) frame(buf []byte, at int64) ([]byte, error) {
	var head [frameHead]byte
	if err := readFull(r.file, head[:], at); err != nil {
		return nil, err
	}
	n := int64(le.Uint32(head[:]))
	if n == 0 || n > r.info.TableStart-at-frameHead {
		// No frame is empty. A page of zeros would look like many of them.
		return nil, corrupt(r.file.Name(), at, fmt.Sprintf("a frame of the directory cannot have %d bytes", n))
	}
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if err := readFull(r.file, buf, at+frameHead); err != nil {
		return nil, err
	}
	if crc32.Checksum(buf, castagnoli) != le.Uint32(head[4:]) {
		return nil, corrupt(r.file.Name(), at, "a frame of the directory does not match its checksum")
	}
	return buf, nil
}
