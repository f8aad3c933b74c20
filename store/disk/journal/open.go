package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// Open opens the log in dir, which it creates, calls replay with every record
// whose LSN is greater than after, in order, and gets ready for new ones. A
// record is valid during the call only. after must not be less than what
// Release was last called with.
//
// What was replayed is on stable storage when Open returns. If replay fails or
// damage is found, the folder is as it was. A full disk does not keep a log from
// being opened, unless it is a new one.
func Open(fs vfs.FS, dir string, opts Options, after uint64, replay func(lsn uint64, record []byte) error) (*Journal, error) {
	if opts.FileSize < minFileSize {
		return nil, fmt.Errorf("journal files of %d bytes are too small, the least is %d", opts.FileSize, minFileSize)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(fs, dir); err != nil {
		return nil, err
	}
	j := &Journal{
		fs: fs, dir: dir, opts: opts,
		wake: make(chan struct{}, 1), done: make(chan struct{}), filesMade: make(chan struct{}),
		space: newSpace(opts.FileSize),
		files: files{fs: fs, dir: dir, size: opts.FileSize},
	}
	j.interval.Store(int64(opts.SyncInterval))
	if err := j.recover(after, replay); err != nil {
		return nil, errors.Join(err, j.files.close())
	}
	go j.run()
	go j.makeFiles()
	j.space.wantMore()
	return j, nil
}

func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(dir))
}

// recover replays the folder and chooses the file to go on with.
func (j *Journal) recover(after uint64, replay func(lsn uint64, record []byte) error) error {
	chain, blank, err := j.load()
	j.files.sealed = slices.Concat(chain, blank) // closed if recovery fails
	if err != nil {
		return err
	}
	first := firstNeeded(chain, after)
	needed := chain[first:]
	if len(needed) > 0 && needed[0].header.first > after+1 {
		return &store.CorruptionError{
			File: needed[0].file.Name(), Offset: 0,
			Reason: fmt.Sprintf("the journal begins with record %d, but %d is needed: an earlier file is missing", needed[0].header.first, after+1),
		}
	}
	var content []byte // of the last file
	for i, f := range needed {
		var next *logFile
		if i+1 < len(needed) {
			next = needed[i+1]
		}
		if content, err = j.scan(f, next, after, replay); err != nil {
			return err
		}
	}

	// All is well: from here on the folder may change.
	for _, f := range blank {
		// It may be a file that was still being made: its header must not be
		// durable before its size is.
		if err := f.file.Sync(); err != nil {
			return err
		}
	}
	j.files.sealed = needed
	for _, f := range slices.Concat(chain[:first], blank) {
		j.reuse(f)
	}
	switch n := len(needed); {
	case n == 0:
		err = j.begin(header{sequence: 1, first: after + 1})
	case needed[n-1].last < after:
		err = j.beginAfter(needed[n-1], after)
	default:
		err = j.resume(needed[n-1], content)
	}
	if err != nil {
		return err
	}
	// A process that was killed may have left files whose names, and removals
	// that, no power loss has respected yet.
	if err := j.fs.SyncDir(j.dir); err != nil {
		return err
	}
	j.last = j.files.current.last
	j.durable.Store(j.last)
	j.space.room = j.files.room()
	return nil
}

// load opens all files of the folder. Those with a header make the chain, in the
// order of their sequence; the others have never been used. What it returns is
// open also if it fails.
func (j *Journal) load() (chain, blank []*logFile, err error) {
	names, err := j.fs.List(j.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		number, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 16, 64)
		if err != nil || !strings.HasSuffix(name, suffix) {
			continue
		}
		j.files.number = max(j.files.number, number+1)
		file, err := j.fs.OpenReadWrite(filepath.Join(j.dir, name))
		if err != nil {
			return chain, blank, err
		}
		f := &logFile{file: file}
		used, err := f.load()
		if used {
			chain = append(chain, f)
		} else {
			blank = append(blank, f)
		}
		if err != nil {
			return chain, blank, err
		}
	}
	slices.SortFunc(chain, func(a, b *logFile) int { return cmp.Compare(a.header.sequence, b.header.sequence) })
	return chain, blank, nil
}

// load reads the file's header. used is false if there is none.
func (f *logFile) load() (used bool, err error) {
	if f.size, err = f.file.Size(); err != nil {
		return false, err
	}
	head := make([]byte, dataStart)
	if _, err := f.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read journal: %w", err)
	}
	h, ok := decodeHeader(head)
	switch {
	case !ok && !zero(head):
		// A crash leaves zeros, or one intact copy. So this file was in use, and
		// may hold what nobody would miss before it is too late.
		return false, damage(f, 0, "neither copy of the header matches its checksum")
	case !ok:
		return false, nil
	case h.version != fileVersion:
		return false, fmt.Errorf("journal file %s has format %d, this program knows %d only", f.file.Name(), h.version, fileVersion)
	}
	if uint64(f.size) < h.size {
		return true, damage(f, f.size, fmt.Sprintf("the file ends here and should have %d bytes", h.size))
	}
	f.header, f.end, f.synced, f.last = h, dataStart, dataStart, h.first-1
	return true, nil
}

func zero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

// firstNeeded returns the index of the first file that may hold records after
// the LSN after; of the last file if none does.
func firstNeeded(chain []*logFile, after uint64) int {
	for i := len(chain) - 1; i > 0; i-- {
		if chain[i].header.prevLast <= after || chain[i].header.first <= after+1 {
			return i
		}
	}
	return 0
}

// reuse keeps a file that holds nothing that is needed as a spare, if it has the
// right size and is not one too many.
func (j *Journal) reuse(f *logFile) {
	if f.size == j.files.size && len(j.files.spares) < keptSpares {
		// Its header stays valid until the file is used again, and says that the
		// file is obsolete at the next start too.
		j.files.spares = append(j.files.spares, f.file)
		return
	}
	if err := errors.Join(f.file.Close(), j.fs.Remove(f.file.Name())); err != nil {
		j.opts.Logger.Warn("obsolete journal file not removed", "file", f.file.Name(), "error", err)
	}
}

// begin starts a new file.
func (j *Journal) begin(h header) error {
	file, _, err := j.files.takeSpare()
	if err != nil {
		return err
	}
	return j.files.begin(file, h)
}

// beginAfter starts a new file that leaves a gap between the log's last record
// and the next one: the caller has what is missing, and all that the log holds
// is obsolete.
func (j *Journal) beginAfter(last *logFile, after uint64) error {
	for _, f := range j.files.sealed {
		j.reuse(f)
	}
	j.files.sealed = nil
	err := j.begin(header{
		sequence: last.header.sequence + 1, first: after + 1,
		prevEnd: uint64(last.end), prevLast: last.last,
	})
	if err != nil {
		return err
	}
	// The file may have been the last one of the log. If the first batch reached
	// the disk before the header did, it would look like damage there.
	return j.files.current.file.Sync()
}

// resume goes on in the last file, whose content was read. What the log cannot
// prove to have been synced is written again, with the same bytes: another
// process may have written it and not have come to the sync, or the sync may
// have failed and would not be made good by another.
func (j *Journal) resume(f *logFile, content []byte) error {
	from := f.synced
	if from == dataStart {
		copy(content, f.header.encode())
		from = 0
	}
	end := min(f.end, f.size)
	if _, err := f.file.WriteAt(content[from:end], from); err != nil {
		return fmt.Errorf("secure journal: %w", err)
	}
	if f.stale {
		// They must not follow a batch that will be written over the first of them.
		if err := fill(f.file, f.end, f.size, nil); err != nil {
			return fmt.Errorf("clear journal: %w", err)
		}
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("secure journal: %w", err)
	}
	f.synced = f.end
	j.files.current = f
	j.files.sealed = j.files.sealed[:len(j.files.sealed)-1]
	return nil
}
