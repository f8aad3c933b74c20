package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// writeSize is how many bytes are gathered for one write.
const writeSize = 1 << 20

// Writer writes one segment. It is used by one goroutine: for each stream the
// bytes of its extents, then its entry; at the end Finish or Abort.
//
// The directory stays in memory until Finish: about 40 bytes and the name and
// meta for each entry.
type Writer struct {
	fs   vfs.FS
	dir  string
	file vfs.File
	info Info
	// err is the first error. After it the file is not what it should be, and
	// only Abort is left.
	err  error
	done bool // Finish or Abort has ended the Writer

	buf   []byte
	start int64 // position in the file of buf[0]

	crc    uint32 // of the block that is being filled
	crcLen int
	table  []byte

	frames    [][]byte // finished frames of the directory, with their heads
	directory int64    // their length
	frame     []byte   // behind the space for its head; nil without an entry
	entry     []byte   // buffer of Add
	lastID    uint64   // of the last entry
}

// NewWriter creates a segment. info says what Finish is to write into the
// footer; the counts and positions are filled in. A number that a segment has
// already is an fs.ErrExist.
func NewWriter(fsys vfs.FS, dir string, info Info) (*Writer, error) {
	name := FileName(dir, info.Number)
	switch _, err := fsys.Stat(name); {
	case err == nil: // Finish would replace it
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	file, err := fsys.Create(name + tmpSuffix)
	if err != nil {
		return nil, err
	}
	w := &Writer{fs: fsys, dir: dir, file: file, info: info, buf: make([]byte, 0, writeSize)}
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
func (w *Writer) Size() int64 { return w.Offset() + w.directory + int64(len(w.frame)) }

// Write appends data. After an error no more can be written.
func (w *Writer) Write(p []byte) (int, error) {
	w.checksum(p)
	w.put(p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
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

// put appends bytes of any kind to the file, unless it has failed.
func (w *Writer) put(p []byte) {
	for len(p) > 0 && w.err == nil {
		m := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:m]...)
		p = p[m:]
		if len(w.buf) == cap(w.buf) {
			w.flush()
		}
	}
}

func (w *Writer) flush() {
	if w.err != nil {
		return
	}
	if _, w.err = w.file.WriteAt(w.buf, w.start); w.err != nil {
		return
	}
	w.start += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// Add adds a stream's entry. Entries come in ascending order of ID; of one ID a
// tombstone is the only one. Finish reports an entry that is out of order or
// that has an extent which was not written.
func (w *Writer) Add(e *Entry) {
	if e.ID < w.lastID {
		w.fail(fmt.Errorf("segment %d: entry of stream %d after that of stream %d", w.info.Number, e.ID, w.lastID))
	}
	for _, x := range e.Extents {
		if !x.within(w.Offset()) {
			w.fail(fmt.Errorf("segment %d: entry of stream %d has an extent outside the data", w.info.Number, e.ID))
		}
	}
	w.lastID = e.ID
	w.info.Entries++
	if e.Tombstone {
		w.info.Tombstones++
	}
	if w.frame == nil {
		w.frame = make([]byte, frameHead, frameSize+1<<10)
	}
	w.frame, w.entry = appendEntry(w.frame, w.entry, e)
	if len(w.frame) >= frameHead+frameSize {
		w.closeFrame()
	}
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *Writer) closeFrame() {
	if w.frame == nil {
		return
	}
	entries := w.frame[frameHead:]
	le.PutUint32(w.frame, uint32(len(entries)))
	le.PutUint32(w.frame[4:], crc32.Checksum(entries, castagnoli))
	w.frames = append(w.frames, w.frame)
	w.directory += int64(len(w.frame))
	w.frame = nil
}

// Finish makes the segment durable under its name. After an error nothing of it
// is left, with one exception: if the folder could not be synced, a crash can
// bring the whole segment back.
func (w *Writer) Finish() (Info, error) {
	w.info.DataEnd = w.Offset()
	w.putEnd()
	w.flush()
	if w.err == nil {
		w.err = w.file.Sync()
	}
	if w.err != nil {
		return Info{}, errors.Join(w.err, w.Abort())
	}
	w.done = true
	name := FileName(w.dir, w.info.Number)
	err := w.file.Close()
	if err == nil {
		err = w.fs.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		return Info{}, errors.Join(err, w.fs.Remove(name+tmpSuffix))
	}
	if err := w.fs.SyncDir(w.dir); err != nil {
		return Info{}, errors.Join(err, w.fs.Remove(name))
	}
	return w.info, nil
}

// putEnd appends all that follows the data.
func (w *Writer) putEnd() {
	if w.crcLen > 0 {
		w.closeBlock()
	}
	w.closeFrame()
	w.info.TableStart = w.info.DataEnd + w.directory
	footer := w.info.encode()
	if len(footer) > maxFooter {
		w.fail(fmt.Errorf("segment %d: replaces %d others, which are too many", w.info.Number, len(w.info.Replaces)))
	}
	for _, f := range w.frames {
		w.put(f)
	}
	tail := le.AppendUint32(w.table, crc32.Checksum(w.table, castagnoli))
	tail = append(tail, footer...)
	tail = le.AppendUint32(tail, uint32(len(footer)))
	tail = le.AppendUint32(tail, crc32.Checksum(footer, castagnoli))
	tail = append(tail, magic...)
	w.put(tail)
}

// Abort removes what was written. After Finish or Abort it does nothing.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.file.Close(), w.fs.Remove(FileName(w.dir, w.info.Number)+tmpSuffix))
}
