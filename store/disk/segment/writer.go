package segment

import (
	"errors"
	"hash/crc32"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// writeSize is how many bytes are gathered for one write.
const writeSize = 1 << 20

// Writer writes one segment. It is used by one goroutine: for each stream the
// bytes of its extents, then its entry; at the end Finish or Abort.
type Writer struct {
	fs   vfs.FS
	dir  string
	file vfs.File
	info Info

	buf   []byte
	start int64 // position in the file of buf[0]

	crc    uint32 // of the block that is being filled
	crcLen int
	table  []byte

	directory []byte // finished frames
	frame     []byte
}

// NewWriter creates a segment. info says what Finish is to write into the
// footer; the counts and positions are filled in.
func NewWriter(fs vfs.FS, dir string, info Info) (*Writer, error) {
	file, err := fs.Create(FileName(dir, info.Number) + tmpSuffix)
	if err != nil {
		return nil, err
	}
	w := &Writer{fs: fs, dir: dir, file: file, info: info, buf: make([]byte, 0, writeSize)}
	header := make([]byte, headerLen)
	copy(header, magic)
	le.PutUint64(header[8:], info.Number)
	le.PutUint32(header[16:], crc32.Checksum(header[:16], castagnoli))
	if _, err := w.Write(header); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

// Number returns the segment's number.
func (w *Writer) Number() uint64 { return w.info.Number }

// Offset returns where the next byte of data goes.
func (w *Writer) Offset() int64 { return w.start + int64(len(w.buf)) }

// Size returns how large the segment would be if it were finished now, without
// the block table.
func (w *Writer) Size() int64 { return w.Offset() + int64(len(w.directory)+len(w.frame)) }

// Write appends data.
func (w *Writer) Write(p []byte) (int, error) {
	w.checksum(p)
	return w.put(p)
}

// checksum takes data into the block table.
func (w *Writer) checksum(p []byte) {
	for len(p) > 0 {
		n := min(len(p), BlockSize-w.crcLen)
		w.crc = crc32.Update(w.crc, castagnoli, p[:n])
		w.crcLen += n
		p = p[n:]
		if w.crcLen == BlockSize {
			w.closeBlock()
		}
	}
}

func (w *Writer) closeBlock() {
	w.table = le.AppendUint32(w.table, w.crc)
	w.crc, w.crcLen = 0, 0
}

// put appends bytes of any kind to the file.
func (w *Writer) put(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		m := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:m]...)
		p = p[m:]
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *Writer) flush() error {
	if _, err := w.file.WriteAt(w.buf, w.start); err != nil {
		return err
	}
	w.start += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// Add adds a stream's entry. Entries come in ascending order of ID; of one ID a
// tombstone is the only one.
func (w *Writer) Add(e *Entry) {
	w.info.Entries++
	if e.Tombstone {
		w.info.Tombstones++
	}
	w.frame = appendEntry(w.frame, e)
	if len(w.frame) >= frameSize {
		w.closeFrame()
	}
}

func (w *Writer) closeFrame() {
	if len(w.frame) == 0 {
		return
	}
	w.directory = le.AppendUint32(w.directory, uint32(len(w.frame)))
	w.directory = le.AppendUint32(w.directory, crc32.Checksum(w.frame, castagnoli))
	w.directory = append(w.directory, w.frame...)
	w.frame = w.frame[:0]
}

// SetParts sets Info.Parts, which may be known only at the end.
func (w *Writer) SetParts(n uint32) { w.info.Parts = n }

// Finish makes the segment durable under its name. After an error nothing of it
// is left.
func (w *Writer) Finish() (Info, error) {
	w.info.DataEnd = w.Offset()
	if w.crcLen > 0 {
		w.closeBlock()
	}
	w.closeFrame()
	w.info.TableStart = w.info.DataEnd + int64(len(w.directory))
	tail := append(w.directory, w.table...)
	tail = le.AppendUint32(tail, crc32.Checksum(w.table, castagnoli))
	footer := w.info.encode()
	tail = append(tail, footer...)
	tail = le.AppendUint32(tail, uint32(len(footer)))
	tail = le.AppendUint32(tail, crc32.Checksum(footer, castagnoli))
	tail = append(tail, magic...)
	_, err := w.put(tail)
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		return Info{}, errors.Join(err, w.Abort())
	}
	name := FileName(w.dir, w.info.Number)
	err = errors.Join(w.file.Close(), w.fs.Rename(name+tmpSuffix, name))
	if err == nil {
		err = w.fs.SyncDir(w.dir)
	}
	return w.info, err
}

// Abort removes what was written.
func (w *Writer) Abort() error {
	return errors.Join(w.file.Close(), w.fs.Remove(FileName(w.dir, w.info.Number)+tmpSuffix))
}
