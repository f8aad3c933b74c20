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
// Nothing that is needed is changed: if replay fails or damage is found, the
// folder is as it was.
func Open(fs vfs.FS, dir string, opts Options, after uint64, replay func(lsn uint64, record []byte) error) (*Journal, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(fs, dir); err != nil {
		return nil, err
	}
	j := &Journal{
		fs: fs, dir: dir, opts: opts,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		space: space{more: make(chan struct{}), want: make(chan struct{}, 1)},
		files: files{fs: fs, dir: dir},
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

// recover reads the folder and begins a new file.
func (j *Journal) recover(after uint64, replay func(lsn uint64, record []byte) error) error {
	chain, err := j.load()
	if err != nil {
		return err
	}
	needed := j.needed(chain, after)
	if len(needed) > 0 && needed[0].header.first > after+1 {
		return &store.CorruptionError{
			File: needed[0].file.Name(), Offset: 0,
			Reason: fmt.Sprintf("the journal begins with record %d, but %d is needed: an earlier file is missing", needed[0].header.first, after+1),
		}
	}
	for i, f := range needed {
		var next *logFile
		if i+1 < len(needed) {
			next = needed[i+1]
		}
		if err := j.scan(f, next, after, replay); err != nil {
			return err
		}
	}
	h := header{sequence: 1, salt: newSalt(), first: after + 1}
	if n := len(needed); n > 0 {
		last := needed[n-1]
		h.sequence = last.header.sequence + 1
		h.first = max(last.last, after) + 1
		h.prevEnd, h.prevLast = uint64(last.end), last.last
	} else if n := len(chain); n > 0 {
		h.sequence = chain[n-1].header.sequence + 1
	}
	file, err := j.files.takeSpare(j.opts.FileSize)
	if err != nil {
		return err
	}
	if err := j.files.begin(file, h); err != nil {
		return errors.Join(err, file.Close())
	}
	j.last = h.first - 1
	j.durable.Store(j.last)
	j.space.room = j.opts.FileSize - dataStart + int64(len(j.files.spares))*(j.opts.FileSize-dataStart)
	return nil
}

// load opens all files of the folder. Those with a header make the chain, in the
// order of their sequence; the others are spares.
func (j *Journal) load() (chain []*logFile, err error) {
	names, err := j.fs.List(j.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		number, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 16, 64)
		if err != nil || !strings.HasSuffix(name, suffix) {
			continue
		}
		j.files.number = max(j.files.number, number+1)
		file, err := j.fs.OpenReadWrite(filepath.Join(j.dir, name))
		if err != nil {
			return nil, err
		}
		head := make([]byte, dataStart)
		if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, errors.Join(err, file.Close())
		}
		if h, ok := decodeHeader(head); ok {
			f := &logFile{file: file, header: h, end: dataStart, last: h.first - 1}
			chain = append(chain, f)
			j.files.sealed = append(j.files.sealed, f) // closed with the rest on failure
			continue
		}
		if err := j.reuse(file); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(chain, func(a, b *logFile) int { return cmp.Compare(a.header.sequence, b.header.sequence) })
	return chain, nil
}

// reuse keeps a file that holds nothing as a spare, if it has the right size.
func (j *Journal) reuse(file vfs.File) error {
	size, err := file.Size()
	if err == nil && size == j.opts.FileSize && len(j.files.spares) < keptSpares {
		j.files.spares = append(j.files.spares, file)
		return nil
	}
	return errors.Join(err, file.Close(), j.fs.Remove(file.Name()))
}

// needed returns the end of the chain that may hold records after the LSN after,
// and makes spares of the other files.
func (j *Journal) needed(chain []*logFile, after uint64) []*logFile {
	first := 0
	for i := len(chain) - 1; i > 0; i-- {
		if chain[i].header.prevLast <= after || chain[i].header.first <= after+1 {
			first = i
			break
		}
	}
	j.files.sealed = chain[first:]
	for _, f := range chain[:first] {
		// An obsolete file's header stays valid until the file is used again; it
		// is as obsolete at the next start.
		if err := j.reuse(f.file); err != nil {
			j.opts.Logger.Warn("obsolete journal file not removed", "file", f.file.Name(), "error", err)
		}
	}
	return j.files.sealed
}

// scan reads one file's batches and replays their records. next is the file
// after it, nil if there is none.
func (j *Journal) scan(f, next *logFile, after uint64, replay func(lsn uint64, record []byte) error) error {
	if next != nil && next.header.sequence != f.header.sequence+1 {
		return damage(f, 0, fmt.Sprintf("the journal file after it, with sequence %d, is missing", f.header.sequence+1))
	}
	content, err := readAll(f.file)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	for {
		if next != nil && f.end == int64(next.header.prevEnd) {
			break
		}
		h, records, ok := decodeBatch(content[min(f.end, int64(len(content))):], f.header.salt)
		if !ok || h.first != f.last+1 {
			break
		}
		wellFormed, err := eachRecord(h, records, func(lsn uint64, record []byte) error {
			if lsn <= after {
				return nil
			}
			return replay(lsn, record)
		})
		if err != nil {
			return err
		}
		if !wellFormed {
			return damage(f, f.end, "the records of a batch do not fill it")
		}
		f.last += uint64(h.count)
		f.end += align(batchHeader + int64(h.length))
	}
	f.synced = f.end
	if next != nil {
		if f.end != int64(next.header.prevEnd) || f.last != next.header.prevLast {
			return damage(f, f.end, fmt.Sprintf("record %d should follow here, as the next file proves", f.last+1))
		}
		return nil
	}
	return j.checkEnd(f, content)
}

// checkEnd tells the torn last write of a crash from damage.
func (j *Journal) checkEnd(f *logFile, content []byte) error {
	if f.end >= int64(len(content)) {
		return nil
	}
	rest := content[f.end:]
	for at := alignment; at+batchHeader <= len(rest); at += alignment {
		h, _, ok := decodeBatch(rest[at:], f.header.salt)
		if ok && h.first > f.last {
			if int64(h.synced) > f.end {
				return damage(f, f.end, fmt.Sprintf("record %d should follow here, as the intact batch at byte %d proves", f.last+1, f.end+int64(at)))
			}
			j.opts.Logger.Warn("journal ends in batches that were not synced; dropped",
				"file", f.file.Name(), "offset", f.end, "lsn", f.last+1)
			return nil
		}
	}
	if h, torn := tornBatch(rest); torn && h.first == f.last+1 {
		j.opts.Logger.Warn("journal ends in a torn batch, which was never acknowledged; dropped",
			"file", f.file.Name(), "offset", f.end, "bytes", batchHeader+int64(h.length), "records", h.count, "lsn", h.first)
	}
	return nil
}

func readAll(file vfs.File) ([]byte, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	content := make([]byte, size)
	if _, err := file.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return content, nil
}

func damage(f *logFile, offset int64, reason string) error {
	return &store.CorruptionError{File: f.file.Name(), Offset: offset, Reason: reason}
}
