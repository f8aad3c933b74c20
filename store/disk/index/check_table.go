package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// checkTables checks every table that the manifest in dir names, and returns their
// number and the timestamp of the newest transaction in them. Every transaction sets
// appliedKey, and its newest version is never dropped, so that timestamp is exact.
func checkTables(dir string, opts Options) (n int, newest uint64, err error) {
	ids, err := readManifest(dir)
	if err != nil {
		return 0, 0, err
	}
	work := make(chan uint64, len(ids))
	for _, id := range ids {
		work <- id
	}
	close(work)
	const readers = 2
	var wg sync.WaitGroup
	var errs [readers]error
	var versions [readers]uint64
	for i := range readers {
		wg.Go(func() {
			for id := range work {
				name := filepath.Base(table.NewFilename(id, dir))
				errs[i] = viewFile(dir, name, func(data []byte) error {
					version, err := checkTable(data, !opts.TrustTables)
					versions[i] = max(versions[i], version)
					return err
				})
				if errors.Is(errs[i], os.ErrNotExist) {
					errs[i] = &CorruptionError{Dir: dir, File: name, Err: errors.New("missing")}
				}
				if errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return len(ids), slices.Max(versions[:]), errors.Join(errs[:]...)
}

// readManifest returns the numbers of the tables that are part of the store.
func readManifest(dir string) (ids []uint64, err error) {
	damaged := func(err error) error {
		return &CorruptionError{Dir: dir, File: badger.ManifestFilename, Err: err}
	}
	defer func() {
		if p := recover(); p != nil {
			err = damaged(fmt.Errorf("%v", p))
		}
	}()
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil, damaged(err)
	}
	for id, t := range m.Tables {
		if t.KeyID != 0 || t.Compression != 0 {
			return nil, damaged(fmt.Errorf("table %d is encrypted or compressed", id))
		}
		ids = append(ids, id)
	}
	return ids, nil
}

var errTableShort = errors.New("table is shorter than it says")

// checkTable checks a table's index and, with all, its blocks, else the first and
// the last, which badger reads when it opens the table. It returns the largest
// timestamp of its keys. A table's layout, and a block's within it:
//
//	+--------+-----+-------+--------------+----------+--------------+
//	| blocks | ... | index | its length 4 | checksum | its length 4 |
//	+--------+-----+-------+--------------+----------+--------------+
//	+---------+---------------+-----------+----------+--------------+
//	| entries | their offsets | how many 4| checksum | its length 4 |
//	+---------+---------------+-----------+----------+--------------+
func checkTable(data []byte, all bool) (newest uint64, err error) {
	rest, sum, err := cutChecksum(data)
	if err != nil {
		return 0, err
	}
	rest, n, err := cutUint32(rest)
	if err != nil {
		return 0, err
	}
	if uint64(n) > uint64(len(rest)) {
		return 0, errTableShort
	}
	raw := rest[len(rest)-int(n):]
	blocks := rest[:len(rest)-int(n)]
	if err := y.VerifyChecksum(raw, sum); err != nil {
		return 0, fmt.Errorf("table index: %w", err)
	}
	idx := fb.GetRootAsTableIndex(raw, 0)
	last := idx.OffsetsLength() - 1
	if last < 0 {
		return 0, errors.New("table has no blocks")
	}
	for i := 0; i <= last; i++ {
		if !all && i != 0 && i != last {
			continue
		}
		var at fb.BlockOffset
		if !idx.Offsets(&at, i) {
			return 0, errTableShort
		}
		from, to := uint64(at.Offset()), uint64(at.Offset())+uint64(at.Len())
		if to > uint64(len(blocks)) {
			return 0, errTableShort
		}
		block, sum, err := cutChecksum(blocks[from:to])
		if err == nil {
			err = y.VerifyChecksum(block, sum)
		}
		if err != nil {
			return 0, fmt.Errorf("block %d at %d: %w", i, from, err)
		}
	}
	return idx.MaxVersion(), nil
}

// cutChecksum cuts a checksum and its length off the end of data.
func cutChecksum(data []byte) ([]byte, *pb.Checksum, error) {
	rest, n, err := cutUint32(data)
	if err != nil {
		return nil, nil, err
	}
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, errTableShort
	}
	sum := new(pb.Checksum)
	if err := proto.Unmarshal(rest[len(rest)-int(n):], sum); err != nil {
		return nil, nil, fmt.Errorf("checksum: %w", err)
	}
	return rest[:len(rest)-int(n)], sum, nil
}

func cutUint32(data []byte) ([]byte, uint32, error) {
	n := len(data) - 4
	if n < 0 {
		return nil, 0, errTableShort
	}
	return data[:n], binary.BigEndian.Uint32(data[n:]), nil
}
