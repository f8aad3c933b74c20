package journal

import (
	"fmt"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// scan reads one file's batches, replays their records, and returns the file's
// content. next is the file after it, nil if there is none.
func (j *Journal) scan(f, next *logFile, after uint64, replay func(lsn uint64, record []byte) error) ([]byte, error) {
	if next != nil && next.header.sequence != f.header.sequence+1 {
		return nil, damage(f, 0, fmt.Sprintf("the journal file after it, with sequence %d, is missing", f.header.sequence+1))
	}
	content, err := readAll(f.file, f.size)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	for next == nil || f.end != int64(next.header.prevEnd) {
		h, records, ok := decodeBatch(rest(content, f.end), f.header.salt)
		if !ok {
			break
		}
		if h.first != f.last+1 || h.synced < dataStart || h.synced > uint64(f.end) {
			return nil, damage(f, f.end, fmt.Sprintf("the batch here does not continue the log at record %d", f.last+1))
		}
		wellFormed, err := eachRecord(h, records, func(lsn uint64, record []byte) error {
			if lsn <= after {
				return nil
			}
			return replay(lsn, record)
		})
		if err != nil {
			return nil, err
		}
		if !wellFormed {
			return nil, damage(f, f.end, "the records of a batch do not fill it")
		}
		f.last += uint64(h.count)
		f.end += align(batchHeader + int64(h.length))
		f.synced = int64(h.synced)
	}
	if next == nil {
		return content, j.checkEnd(f, content)
	}
	if f.end != int64(next.header.prevEnd) || f.last != next.header.prevLast {
		return nil, damage(f, f.end, fmt.Sprintf("record %d should follow here, as the next file proves", f.last+1))
	}
	return nil, nil
}

// rest returns what is at position from and behind it.
func rest(content []byte, from int64) []byte {
	return content[min(from, int64(len(content))):]
}

// checkEnd tells the torn last write of a crash from damage. The first batch
// that is not intact is at f.end.
func (j *Journal) checkEnd(f *logFile, content []byte) error {
	end := rest(content, f.end)
	// One intact batch that proves nothing does not end the search: in interval
	// mode several may follow before one that was written after a sync.
	for at := int64(0); at+batchHeader <= int64(len(end)); {
		h, _, ok := decodeBatch(end[at:], f.header.salt)
		if !ok {
			at += alignment
			continue
		}
		if h.synced > uint64(f.end) {
			return damage(f, f.end, fmt.Sprintf("record %d should follow here, as the intact batch at byte %d proves", f.last+1, f.end+at))
		}
		f.stale = true
		at += align(batchHeader + int64(h.length))
	}
	h, torn := tornBatch(end, f.header.salt)
	switch {
	case f.stale:
		j.opts.Logger.Warn("journal ends in batches that were not synced; dropped",
			"file", f.file.Name(), "offset", f.end, "lsn", f.last+1)
	case torn:
		j.opts.Logger.Warn("journal ends in a torn batch, which was never acknowledged; dropped",
			"file", f.file.Name(), "offset", f.end, "bytes", batchHeader+int64(h.length), "records", h.count, "lsn", f.last+1)
	}
	return nil
}

func readAll(file vfs.File, size int64) ([]byte, error) {
	content := make([]byte, size)
	if n, err := file.ReadAt(content, 0); n < len(content) {
		return nil, err
	}
	return content, nil
}

func damage(f *logFile, offset int64, reason string) error {
	return &store.CorruptionError{File: f.file.Name(), Offset: offset, Reason: reason}
}
