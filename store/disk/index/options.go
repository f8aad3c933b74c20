package index

import (
	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"
)

// Options are what a user of [OpenBadger] may choose. The zero value is a good
// choice.
type Options struct {
	// Logger gets badger's warnings and errors, and what it tells about its work at
	// debug level. Nil logs nothing.
	Logger *zap.Logger

	// TrustTables skips reading every block of every table when the index is opened,
	// which takes time in proportion to the index's size (about 0.1 s for a
	// million keys that are in the page cache). Without that check a damaged block
	// may answer "not found" for keys that are there, be dropped silently by badger's
	// background compaction, or end the process there.
	TrustTables bool
}

func (o Options) logger() *zap.Logger {
	if o.Logger == nil {
		return zap.NewNop()
	}
	return o.Logger
}

// Sizes that keep the resident memory low: badger holds up to numMemtables+1
// tables of memtableBytes in memory, maps each table file whole, and caches
// nothing itself beyond the page cache.
const (
	memtableBytes = 16 << 20
	numMemtables  = 2
	tableBytes    = 4 << 20
)

func badgerOptions(dir string, l *ledger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = logger{z: l.z, ledger: l}
	o.MetricsEnabled = false

	// Every transaction is synced before its commit returns. DB.Sync, the other way,
	// forgets the memtables that were rotated since.
	o.SyncWrites = true
	o.NumVersionsToKeep = 1
	o.DetectConflicts = false

	o.MemTableSize = memtableBytes
	o.NumMemtables = numMemtables
	o.BaseTableSize = tableBytes
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0
	o.Compression = options.None // a compressed block needs the cache
	o.ChecksumVerificationMode = options.NoVerification
	o.NumCompactors = 2 // the fewest that work
	o.NumGoroutines = 1

	// No value reaches the threshold (MaxValueLen), so the value log stays empty.
	o.ValueThreshold = 1 << 20
	o.ValueLogFileSize = 1 << 20 // the smallest allowed

	// OpenBadger locks the folder itself, before it looks into it.
	o.BypassLockGuard = locksFolders
	return o
}
