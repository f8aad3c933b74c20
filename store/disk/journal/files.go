package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const (
	suffix = ".wal"
	// minFileSize is the least Options.FileSize.
	minFileSize = 16 << 10
	// keptSpares is how many empty files wait for their use: one to go on with at
	// once, one that is being made.
	keptSpares = 2
	zeroPiece  = 1 << 20
)

// logFile is one file of the log.
type logFile struct {
	file   vfs.File
	header header
	size   int64
	end    int64 // where the next batch goes
	synced int64 // below here everything is synced
	last   uint64
	stale  bool // intact batches that do not count follow end
}

func (f *logFile) fits(n int64) bool { return f.end+n <= f.size }

// free returns how many bytes of batches the file still takes. A file's size
// need not be a multiple of the alignment.
func (f *logFile) free() int64 { return max(f.size-f.end, 0) }

// files are the files of the folder: one current, those before it that are still
// needed, and empty ones. current is used by the committer alone, the rest is
// guarded by mu.
type files struct {
	fs      vfs.FS
	dir     string
	size    int64 // of new files and of spares
	current *logFile
	// stop ends the making of a spare: who closes the journal waits for it.
	stop atomic.Bool

	mu     sync.Mutex
	sealed []*logFile // oldest first
	spares []vfs.File // of the right size, and so on stable storage with their names
	number uint64     // of the next file's name
	closed bool
}

func (f *files) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sealed) + len(f.spares) + 1
}

// room returns how many bytes of batches the current file and the spares take.
func (f *files) room() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current.free() + int64(len(f.spares))*(f.size-dataStart)
}

// rotate makes a spare file the current one. It returns by how much that changes
// the room: what is unused in the old file is lost, and a file had to be made if
// no spare was there. Nothing is synced: the header reaches the disk together
// with the first batch, before which nobody relies on it.
func (f *files) rotate() (room int64, err error) {
	next, made, err := f.takeSpare()
	if err != nil {
		return 0, err
	}
	old := f.current
	err = f.begin(next, header{
		sequence: old.header.sequence + 1, first: old.last + 1,
		prevEnd: uint64(old.end), prevLast: old.last,
	})
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	f.sealed = append(f.sealed, old)
	f.mu.Unlock()
	return made - old.free(), nil
}

// begin makes file, of the right size, the current one. Version, salt and size
// are filled into the header. file is closed if that fails.
func (f *files) begin(file vfs.File, h header) error {
	h.version, h.salt, h.size = fileVersion, newSalt(), uint64(f.size)
	if _, err := file.WriteAt(h.encode(), 0); err != nil {
		return errors.Join(err, file.Close())
	}
	f.current = &logFile{file: file, header: h, size: f.size, end: dataStart, synced: dataStart, last: h.first - 1}
	return nil
}

// takeSpare returns an empty file. If none is ready one is made now, and made is
// the room that it adds.
func (f *files) takeSpare() (file vfs.File, made int64, err error) {
	f.mu.Lock()
	if n := len(f.spares); n > 0 {
		file = f.spares[n-1]
		f.spares = f.spares[:n-1]
		f.mu.Unlock()
		return file, 0, nil
	}
	f.mu.Unlock()
	file, err = f.make(nil)
	return file, f.size - dataStart, err
}

// make creates a file filled with zeros, unless stop is set meanwhile.
func (f *files) make(stop *atomic.Bool) (vfs.File, error) {
	f.mu.Lock()
	name := filepath.Join(f.dir, fmt.Sprintf("%016x%s", f.number, suffix))
	f.number++
	f.mu.Unlock()
	file, err := f.fs.Create(name)
	if err != nil {
		return nil, spaceError(err)
	}
	err = fill(file, 0, f.size, stop)
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

// fill writes zeros from position off up to end, and fails with store.ErrClosed
// once stop, which may be nil, is set.
func fill(file vfs.File, off, end int64, stop *atomic.Bool) error {
	zeros := make([]byte, max(min(end-off, zeroPiece), 0))
	for ; off < end; off += int64(len(zeros)) {
		if stop != nil && stop.Load() {
			return store.ErrClosed
		}
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off); err != nil {
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

// addSpare makes one more empty file if fewer than wanted wait, and if it leaves
// minFree bytes on the disk. It returns the room that this adds.
func (f *files) addSpare(minFree int64) (room int64, err error) {
	f.mu.Lock()
	enough := len(f.spares) >= keptSpares-1
	f.mu.Unlock()
	if enough {
		return 0, nil
	}
	if err := f.hasSpace(minFree); err != nil {
		return 0, err
	}
	file, err := f.make(&f.stop)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spares = append(f.spares, file)
	return f.size - dataStart, nil
}

// hasSpace fails if a new file would leave less than minFree bytes. Finding that
// out by filling the disk would take from everybody else the last bytes, again
// with every attempt.
func (f *files) hasSpace(minFree int64) error {
	free, err := f.fs.FreeSpace(f.dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	if need := uint64(f.size) + uint64(max(minFree, 0)); free < need {
		return fmt.Errorf("%w: a new journal file needs %d bytes, %d are free", store.ErrNoSpace, need, free)
	}
	return nil
}

// release makes spares of the sealed files whose records are all at or below
// lsn, and removes what is too much. It returns the room that this adds.
func (f *files) release(lsn uint64) (room int64) {
	f.mu.Lock()
	var remove []vfs.File
	for len(f.sealed) > 0 && f.sealed[0].last <= lsn && !f.closed {
		old := f.sealed[0]
		f.sealed = f.sealed[1:]
		if old.size != f.size || len(f.spares) >= keptSpares {
			remove = append(remove, old.file)
			continue
		}
		f.spares = append(f.spares, old.file)
		room += f.size - dataStart
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
	defer close(j.filesMade)
	failing := false
	for range j.space.want {
		if j.files.stop.Load() {
			return
		}
		j.space.begin()
		room, err := j.files.addSpare(j.opts.MinFree)
		if err != nil && !failing && !j.files.stop.Load() {
			j.opts.Logger.Warn("no new journal file; appends are refused once the present ones are full", "error", err)
		}
		failing = err != nil
		j.space.end(room, err)
	}
}
