package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const appliedName = "APPLIED"

// appliedKey is the key of the package's own record in the store: the timestamp of
// the transaction that wrote it. Every transaction writes it.
var appliedKey = append(append([]byte{}, ownPrefix...), "applied"...)

// appliedFile remembers, beside the store, the timestamp of the last transaction
// that became durable. Badger drops without a word what it cannot read at the end
// of a log or of its manifest, since that is what a crash leaves; but a store whose
// own record is older than this file has lost what was durable.
//
// The file is rewritten in place, after a batch is durable, and not synced: after a
// power loss it may be older than the store, never newer, so it accuses no intact
// store.
//
//	+--------------------------+----------------------------------------+
//	| timestamp, big endian 8B | CRC32C of appliedKey and timestamp, 4B |
//	+--------------------------+----------------------------------------+
type appliedFile struct {
	f  *os.File
	ts uint64
}

// openApplied opens the file in dir. With create, for an index without a manifest, it
// makes one with timestamp 0 whose name is durable when openApplied returns, unless
// there is one that knows of transactions.
func openApplied(dir string, create bool) (*appliedFile, error) {
	path := filepath.Join(dir, appliedName)
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &CorruptionError{Dir: dir, File: appliedName, Err: errors.New("missing")}
	}
	if err != nil {
		return nil, err
	}
	a := &appliedFile{f: f}
	err = a.load(dir)
	if create && err == nil && a.ts > 0 {
		err = &CorruptionError{Dir: dir, Err: fmt.Errorf("empty, after %d transactions", a.ts)}
	} else if create && a.ts == 0 {
		err = a.create(dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return a, nil
}

func (a *appliedFile) create(dir string) error {
	if err := a.set(0); err != nil {
		return err
	}
	if err := a.f.Sync(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (a *appliedFile) load(dir string) error {
	var buf [8 + checksumLen]byte
	_, err := a.f.ReadAt(buf[:], 0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	} else if err == nil {
		a.ts, err = parseApplied(buf[:])
	}
	if err != nil {
		return &CorruptionError{Dir: dir, File: appliedName, Err: err}
	}
	return nil
}

// set writes ts.
func (a *appliedFile) set(ts uint64) error {
	if _, err := a.f.WriteAt(appliedRecord(ts), 0); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	a.ts = ts
	return nil
}

// close syncs the file, so that a clean stop leaves the exact timestamp.
func (a *appliedFile) close() error {
	return errors.Join(a.f.Sync(), a.f.Close())
}

func appliedRecord(ts uint64) []byte {
	kv := binary.BigEndian.AppendUint64(append([]byte{}, appliedKey...), ts)
	return appendChecksum(kv, kv)[len(appliedKey):]
}

func parseApplied(stored []byte) (uint64, error) {
	v, err := checkValue(appliedKey, stored)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, errShortValue
	}
	return binary.BigEndian.Uint64(v), nil
}

// checkApplied compares the store's own record with the file.
func (x *badgerIndex) checkApplied() error {
	v, err := x.get(nil, appliedKey)
	var ts uint64
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return err
	case len(v) != 8:
		return x.damaged(appliedKey, errShortValue)
	default:
		ts = binary.BigEndian.Uint64(v)
	}
	if ts < x.applied.ts {
		return &CorruptionError{Dir: x.dir, Err: fmt.Errorf("durable transactions are missing: the newest is %d, was %d", ts, x.applied.ts)}
	}
	return nil
}
