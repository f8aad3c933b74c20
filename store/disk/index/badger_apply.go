package index

import (
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"
)

// maxTxnEntries bounds a transaction, beside the limit on its bytes that badger
// derives from the memtable's size (2.4 MB). Badger makes several allocations for
// an entry, and holds them all until the commit.
const maxTxnEntries = 4096

// Apply implements [Index]. Badger bounds a transaction, so a batch becomes
// several, each with a timestamp of its own, each synced before the next.
func (x *badgerIndex) Apply(b *Batch) error {
	if err := x.begin(); err != nil {
		return err
	}
	defer x.end()
	x.applying.Lock()
	defer x.applying.Unlock()
	switch {
	case b.err != nil:
		return b.err
	case x.failed != nil:
		return fmt.Errorf("%w: %w", ErrFailed, x.failed)
	case b.Len() == 0:
		return nil
	}
	ts, err := x.write(b)
	if err == nil {
		err = x.publish(ts)
	}
	if err != nil {
		x.failed = err
		return fmt.Errorf("index: apply: %w", err)
	}
	return nil
}

// write commits the batch and returns the timestamp of its last transaction.
func (x *badgerIndex) write(b *Batch) (uint64, error) {
	ts := x.visible
	for i := 0; i < b.Len(); {
		ts++
		n, err := x.writeSome(b, i, ts)
		if err != nil {
			return 0, err
		}
		i += n
	}
	return ts, nil
}

// writeSome commits as many operations from i on as fit a transaction, after the
// package's own record, and returns how many.
func (x *badgerIndex) writeSome(b *Batch, i int, ts uint64) (int, error) {
	txn := x.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	if err := txn.Set(appliedKey, appliedRecord(ts)); err != nil {
		return 0, err
	}
	left := min(b.Len()-i, maxTxnEntries)
	if cap(x.entries) < left {
		x.entries = make([]badger.Entry, left)
	}
	entries := x.entries[:left]
	defer clear(entries)

	n := 0
	for ; n < left; n++ {
		key, stored := b.at(i + n)
		var err error
		if stored == nil {
			err = txn.Delete(key)
		} else {
			entries[n].Key, entries[n].Value = key, stored
			err = txn.SetEntry(&entries[n])
		}
		if errors.Is(err, badger.ErrTxnTooBig) && n > 0 {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return n, txn.CommitAt(ts, nil)
}

// publish makes a committed batch what a Scan sees.
func (x *badgerIndex) publish(ts uint64) error {
	// A commit may have begun a new log, whose name is not durable yet.
	if err := syncFolder(x.lock); err != nil {
		return err
	}
	if err := x.applied.set(ts); err != nil {
		return err
	}
	x.snap.Lock()
	defer x.snap.Unlock()
	x.visible = ts
	x.db.SetDiscardTs(ts)
	return nil
}
