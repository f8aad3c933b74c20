package index

import (
	"bytes"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
)

// Scan implements [Index].
func (x *badgerIndex) Scan(from, to []byte, fn func(key, value []byte) bool) (err error) {
	if err := x.begin(); err != nil {
		return err
	}
	defer x.end()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	calling := false // a panic of fn is not ours
	defer func() {
		if calling {
			return
		}
		if p := recover(); p != nil {
			err = panicError(x.dir, p)
		}
	}()

	txn, it := x.snapshot(from, to)
	defer txn.Discard()
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		item := it.Item()
		key := item.Key()
		if len(to) > 0 && bytes.Compare(key, to) >= 0 {
			return nil
		}
		if bytes.HasPrefix(key, ownPrefix) {
			continue
		}
		more := true
		err := item.Value(func(stored []byte) error {
			value, err := checkValue(key, stored)
			if err != nil {
				return x.damaged(key, err)
			}
			calling = true
			more = fn(key, value)
			calling = false
			return nil
		})
		if err != nil {
			return classify(x.dir, err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// snapshot returns an iterator over at least [from, to) as of the newest durable
// batch. The tables that it reads stay, in memory and on disk, until it is closed.
func (x *badgerIndex) snapshot(from, to []byte) (*badger.Txn, *badger.Iterator) {
	opts := badger.IteratorOptions{Prefix: commonPrefix(from, to)}
	x.snap.RLock()
	defer x.snap.RUnlock()
	txn := x.db.NewTransactionAt(x.visible, false)
	return txn, txn.NewIterator(opts)
}

// commonPrefix returns what every key in [from, to) begins with.
func commonPrefix(from, to []byte) []byte {
	n := 0
	for n < len(from) && n < len(to) && from[n] == to[n] {
		n++
	}
	return from[:n]
}
