package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
)

// Defaults of the options, in bytes.
const (
	defaultMaxFileHandles = 100
	defaultSegmentSize    = 256 << 20
	defaultMaxAppendSize  = 16 << 20
	defaultCheckpoint     = 64 << 20
	minJournalFile        = 64 << 20
)

// Options of a store. The zero value of each but Dir stands for a default.
type Options struct {
	// Dir is the folder that holds the store. It is created if it is missing.
	Dir string
	// MaxFileHandles bounds the segments that are kept open (100).
	MaxFileHandles int
	// SegmentSize is what merged segments grow to, in bytes (256 MiB).
	SegmentSize int64
	// MinFreeSpace is how many bytes the file system keeps free: below it,
	// creations and appends fail with store.ErrNoSpace (0, none).
	MinFreeSpace int64
	// MaxAppendSize is the largest body, in bytes, that the store must take
	// (16 MiB). It sizes the journal's files.
	MaxAppendSize int64
	// SyncInterval, if positive, acknowledges changes when they are written and
	// syncs them this often. A power loss takes back up to that much; a crash of
	// the process alone takes back nothing.
	SyncInterval time.Duration
	// Logger gets repairs as warnings and failures as errors (none).
	Logger *slog.Logger
	// Now is the clock that expiry goes by (time.Now).
	Now func() time.Time

	// ExpiryInterval is how often streams whose time is over are removed, in the
	// background (1 s). For clients they are gone at once.
	ExpiryInterval time.Duration
	// CheckpointSize is how many bytes of new data, bookkeeping included, are
	// held in memory before they are moved into a segment (64 MiB). Twice that
	// makes writers wait.
	CheckpointSize int64
	// JournalFileSize overrides the size of the journal's files, in bytes.
	JournalFileSize int64
	// FS is the file system (vfs.OS), OpenIndex opens the index in a folder of
	// it (index.OpenBadger). Tests replace both together.
	FS        vfs.FS
	OpenIndex func(dir string) (index.Index, error)
	// RemoveIndex removes the index's folder, so that it can be rebuilt.
	RemoveIndex func(dir string) error
	// Manual leaves checkpoints, merges and expiry to the caller: see
	// [Store.Checkpoint], [Store.Merge] and [Store.Expire].
	Manual bool
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("the store needs a folder")
	}
	setDefault(&o.MaxFileHandles, defaultMaxFileHandles)
	setDefault(&o.SegmentSize, defaultSegmentSize)
	setDefault(&o.MaxAppendSize, defaultMaxAppendSize)
	setDefault(&o.ExpiryInterval, time.Second)
	setDefault(&o.CheckpointSize, min(defaultCheckpoint, o.SegmentSize))
	// Flattening can make a JSON body half as large again, and the journal wants
	// a record to fit twice into a file.
	setDefault(&o.JournalFileSize, max(minJournalFile, 4*o.MaxAppendSize))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.OpenIndex == nil {
		o.OpenIndex = func(dir string) (index.Index, error) { return index.OpenBadger(dir, index.Options{}) }
	}
	if o.RemoveIndex == nil {
		o.RemoveIndex = removeAll
	}
	return o, nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Reconfigure applies options to a store that is open. MaxFileHandles,
// SegmentSize, MinFreeSpace and SyncInterval can change; for others it changes
// nothing and returns an error that names the option.
func (s *Store) Reconfigure(o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	switch {
	case o.Dir != s.opts.Dir:
		return fmt.Errorf("the folder of an open store cannot change from %s to %s", s.opts.Dir, o.Dir)
	case o.MaxAppendSize > s.opts.MaxAppendSize && o.JournalFileSize > s.opts.JournalFileSize:
		return fmt.Errorf("the largest append cannot grow from %d to %d bytes while the store is open; restart the server", s.opts.MaxAppendSize, o.MaxAppendSize)
	}
	s.pool.Resize(o.MaxFileHandles)
	s.segmentSize.Store(o.SegmentSize)
	s.room.setMinimum(o.MinFreeSpace)
	s.setInterval(o, s.journal)
	return nil
}
