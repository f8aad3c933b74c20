package index

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// badgerIndex is an Index in a folder of its own, kept by badger v4 in managed
// mode: this package gives every transaction its timestamp. In badger's normal
// mode a reader that begins while a batch is being synced waits for that sync; with
// timestamps of our own it does not.
type badgerIndex struct {
	dir  string
	db   *badger.DB
	lock *os.File // the folder, locked

	// calls counts the calls under way; gate makes sure that none begins once closed
	// is set, so that badger is never used after its Close.
	gate   sync.RWMutex
	closed bool
	calls  sync.WaitGroup

	// applying is held by Apply from beginning to end, for the fields below.
	applying sync.Mutex
	applied  *appliedFile
	entries  []badger.Entry // scratch of Apply
	failed   error          // why Apply failed; it takes no more batches

	// visible is the timestamp of the newest batch that is wholly durable: what a
	// Scan reads at. Badger may discard versions that are older than another one at
	// or below it, so a Scan holds snap from reading visible until its iterator has
	// pinned the tables.
	snap    sync.RWMutex
	visible uint64

	compacting sync.Mutex

	ledger *ledger
	// broken is why the index is damaged, once the ledger has found out. Calls then
	// fail with it.
	broken atomic.Pointer[CorruptionError]
}

var _ Index = (*badgerIndex)(nil)

// OpenBadger opens the index in dir, and creates it when dir does not exist or is
// empty. The folder is for the index alone.
//
// It fails with a [*LockedError] when the index is open already, with an error that
// is [ErrCorrupt] when it is damaged (the caller then removes the folder, opens it
// again and fills it anew), and otherwise with what the operating system said.
//
// Some of badger's habits cannot be changed from outside. Its files are mapped and
// sparse, so a disk that fills up ends the process with SIGBUS: keep some space free.
// While it cannot write a memtable to a table it tries again each second, for ever,
// and Apply and Close wait for it. It holds a file handle for each table, of some 4 MiB.
func OpenBadger(dir string, opts Options) (idx Index, err error) {
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, classify(dir, err)
	}
	x := &badgerIndex{dir: dir, lock: lock}
	x.ledger = newLedger(dir, opts.logger(), x.breakDown)
	defer func() {
		if p := recover(); p != nil {
			err = panicError(dir, p)
		}
		if err != nil {
			idx, err = nil, errors.Join(classify(dir, err), x.release())
		}
	}()
	if err := x.open(opts); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *badgerIndex) open(opts Options) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	found, err := checkFolder(x.dir, opts)
	if err != nil {
		return err
	}
	if err := prepareFolder(x.dir, found); err != nil {
		return err
	}
	applied, err := openApplied(x.dir, !found.manifest)
	if err != nil {
		return err
	}
	x.applied = applied
	db, err := badger.OpenManaged(badgerOptions(x.dir, x.ledger))
	if err != nil {
		return err // db is not nil then, but cannot be closed
	}
	x.db = db
	if err := x.ledger.open(); err != nil {
		return err
	}
	if err := x.checkApplied(); err != nil {
		return err
	}
	x.visible = x.db.MaxVersion()
	x.db.SetDiscardTs(x.visible)
	return syncFolder(x.lock)
}

// release gives back what open took.
func (x *badgerIndex) release() error {
	var errs []error
	if x.db != nil {
		if err := x.db.Close(); err != nil {
			errs = append(errs, fmt.Errorf("index: close: %w", err))
		}
	}
	errs = append(errs, x.ledger.close())
	if x.applied != nil {
		errs = append(errs, x.applied.close())
	}
	if x.db != nil {
		errs = append(errs, syncFolder(x.lock))
	}
	return errors.Join(append(errs, x.lock.Close())...)
}

// Close implements [Index].
func (x *badgerIndex) Close() error {
	x.gate.Lock()
	if x.closed {
		x.gate.Unlock()
		return nil
	}
	x.closed = true
	x.gate.Unlock()
	x.calls.Wait()
	return x.release()
}

// begin admits a call; end must follow unless it fails.
func (x *badgerIndex) begin() error {
	x.gate.RLock()
	defer x.gate.RUnlock()
	if x.closed {
		return ErrClosed
	}
	if err := x.broken.Load(); err != nil {
		return err
	}
	x.calls.Add(1)
	return nil
}

func (x *badgerIndex) end() { x.calls.Done() }

// breakDown makes every later call fail, and the next open too: it removes the file
// without which an index does not open. It runs while badger waits, so it takes no
// lock that a call under way may hold.
func (x *badgerIndex) breakDown(err error) {
	err = errors.Join(err, os.Remove(filepath.Join(x.dir, appliedName)), x.lock.Sync())
	x.broken.Store(&CorruptionError{Dir: x.dir, Err: err})
}

// Get implements [Index]. It reads the newest version, durable or not.
func (x *badgerIndex) Get(dst, key []byte) (value []byte, err error) {
	if err := x.begin(); err != nil {
		return dst, err
	}
	defer x.end()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			value, err = dst, panicError(x.dir, p)
		}
	}()
	if len(key) == 0 || bytes.HasPrefix(key, badgerPrefix) || bytes.HasPrefix(key, ownPrefix) {
		return dst, ErrNotFound
	}
	return x.get(dst, key)
}

// get is Get for any key of at least a byte.
func (x *badgerIndex) get(dst, key []byte) ([]byte, error) {
	txn := x.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return dst, ErrNotFound
	}
	if err != nil {
		return dst, classify(x.dir, err)
	}
	value := dst
	err = item.Value(func(stored []byte) error {
		v, err := checkValue(key, stored)
		if err != nil {
			return x.damaged(key, err)
		}
		value = append(dst, v...)
		return nil
	})
	if err != nil {
		return dst, classify(x.dir, err)
	}
	return value, nil
}

func (x *badgerIndex) damaged(key []byte, err error) error {
	return &CorruptionError{Dir: x.dir, Key: append([]byte{}, key...), Err: err}
}

// Compact implements [Index]. It merges all levels of tables into one. What is in
// memory, and what is in level 0 while there is no other level (up to five memtables'
// worth), stays as it is.
func (x *badgerIndex) Compact() (err error) {
	if err := x.begin(); err != nil {
		return err
	}
	defer x.end()
	x.compacting.Lock()
	defer x.compacting.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = panicError(x.dir, p)
		}
	}()
	if err := x.db.Flatten(1); err != nil && !strings.Contains(err.Error(), nothingToCompact) {
		return fmt.Errorf("index: compact: %w", err)
	}
	if err := x.broken.Load(); err != nil {
		return err
	}
	return nil
}

// nothingToCompact is what badger says when no table is left that it could merge.
const nothingToCompact = "Unable to fill tables"

// Size implements [Index].
func (x *badgerIndex) Size() (int64, error) {
	if err := x.begin(); err != nil {
		return 0, err
	}
	defer x.end()
	files, err := os.ReadDir(x.dir)
	if err != nil {
		return 0, fmt.Errorf("index: size: %w", err)
	}
	var sum int64
	for _, f := range files {
		fi, err := f.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed by a compaction meanwhile
		}
		if err != nil {
			return 0, fmt.Errorf("index: size: %w", err)
		}
		sum += diskBytes(fi)
	}
	return sum, nil
}

// syncFolder makes the entries of a folder durable. Badger syncs a table's or a
// log's bytes, but not always the name that it has.
func syncFolder(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("index: sync folder: %w", err)
	}
	return nil
}
