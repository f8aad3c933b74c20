package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const (
	suffix = ".wal"
	// keptSpares is how many empty files wait for their use: one to go on with at
	// once, one that is being made.
	keptSpares = 2
	zeroPiece  = 1 << 20
)

// logFile is one file of the log.
type logFile struct {
	file   vfs.File
	header header
	end    int64 // where the next batch goes
	synced int64 // below here everything is synced
	last   uint64
}

// files are the files of the folder: one current, those before it that are still
// needed, and empty ones. current is used by the committer alone, the rest is
// guarded by mu.
type files struct {
	fs      vfs.FS
	dir     string
	current *logFile

	mu     sync.Mutex
	sealed []*logFile // oldest first
	spares []vfs.File
	number uint64 // of the next file's name
	closed bool
}

func (f *files) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sealed) + len(f.spares) + 1
}

// fits reports whether n bytes fit into the current file.
func (f *files) fits(n int64) bool {
	if f.current == nil {
		return false
	}
	size, err := f.current.file.Size()
	return err == nil && f.current.end+n <= size
}

// rotate makes a spare file the current one. It returns how many bytes of the
// old one stay unused. Nothing is synced: the header reaches the disk together
// with the first batch, before which nobody relies on it.
func (f *files) rotate(size int64) (waste int64, err error) {
	next, err := f.takeSpare(size)
	if err != nil {
		return 0, err
	}
	h := header{sequence: 1, salt: newSalt(), first: 1}
	old := f.current
	if old != nil {
		h.sequence = old.header.sequence + 1
		h.first = old.last + 1
		h.prevEnd, h.prevLast = uint64(old.end), old.last
		waste = size - old.end
	}
	if err := f.begin(next, h); err != nil {
		return 0, err
	}
	if old != nil {
		f.mu.Lock()
		f.sealed = append(f.sealed, old)
		f.mu.Unlock()
	}
	return waste, nil
}

// begin makes file the current one, with the given header.
func (f *files) begin(file vfs.File, h header) error {
	if _, err := file.WriteAt(h.encode(), 0); err != nil {
		return err
	}
	f.current = &logFile{file: file, header: h, end: dataStart, synced: dataStart, last: h.first - 1}
	return nil
}

// takeSpare returns an empty file, made now if none is ready.
func (f *files) takeSpare(size int64) (vfs.File, error) {
	f.mu.Lock()
	if n := len(f.spares); n > 0 {
		spare := f.spares[n-1]
		f.spares = f.spares[:n-1]
		f.mu.Unlock()
		return spare, nil
	}
	f.mu.Unlock()
	return f.make(size)
}

// make creates a file filled with zeros.
func (f *files) make(size int64) (vfs.File, error) {
	f.mu.Lock()
	name := filepath.Join(f.dir, fmt.Sprintf("%016x%s", f.number, suffix))
	f.number++
	f.mu.Unlock()
	file, err := f.fs.Create(name)
	if err != nil {
		return nil, spaceError(err)
	}
	err = fill(file, size)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = f.fs.SyncDir(f.dir)
	}
	if err != nil {
		return nil, errors.Join(spaceError(err), file.Close(), f.fs.Remove(name))
	}
	return file, nil
}

func fill(file vfs.File, size int64) error {
	zeros := make([]byte, min(size, zeroPiece))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return nil
}

func spaceError(err error) error {
	if vfs.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	}
	return err
}

// addSpare makes one more empty file if fewer than wanted wait. It returns the
// room that this adds.
func (f *files) addSpare(size int64) (room int64, err error) {
	f.mu.Lock()
	enough := len(f.spares) >= keptSpares-1
	f.mu.Unlock()
	if enough {
		return 0, nil
	}
	file, err := f.make(size)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, file.Close()
	}
	f.spares = append(f.spares, file)
	return size - dataStart, nil
}

// release makes spares of the sealed files whose records are all at or below
// lsn, and removes what is too much. It returns the room that this adds.
func (f *files) release(lsn uint64) (room int64) {
	f.mu.Lock()
	var remove []vfs.File
	for len(f.sealed) > 0 && f.sealed[0].last <= lsn && !f.closed {
		file := f.sealed[0].file
		f.sealed = f.sealed[1:]
		size, err := file.Size()
		if err != nil || len(f.spares) >= keptSpares {
			remove = append(remove, file)
			continue
		}
		f.spares = append(f.spares, file)
		room += size - dataStart
	}
	f.mu.Unlock()
	for _, file := range remove {
		// A file that cannot be removed is obsolete all the same, and is tried
		// again when the folder is opened.
		_ = errors.Join(file.Close(), f.fs.Remove(file.Name()))
	}
	return room
}

func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var errs []error
	for _, s := range f.sealed {
		errs = append(errs, s.file.Close())
	}
	for _, s := range f.spares {
		errs = append(errs, s.Close())
	}
	if f.current != nil {
		errs = append(errs, f.current.file.Close())
	}
	return errors.Join(errs...)
}

// makeFiles keeps a spare file ready until the journal is closed or has failed.
func (j *Journal) makeFiles() {
	for range j.space.want {
		s := &j.space
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		room, err := j.files.addSpare(j.opts.FileSize)
		if err != nil {
			j.opts.Logger.Warn("no new journal file; appends are refused once the present ones are full", "error", err)
		}
		s.give(room)
		s.setErr(err)
	}
}
