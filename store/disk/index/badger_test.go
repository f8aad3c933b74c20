package index

import (
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"go.uber.org/zap"
)

// Badger forgets the error when a compaction cannot create a table; the ledger
// notices. The cause is brought about by a file that has the next table's name.
func TestBadger_compactionLosesATable(t *testing.T) {
	t.Parallel()
	p := &badgerPlace{dir: t.TempDir()}
	x, want := twoLevels(t, p)
	b := x.(*badgerIndex)
	var last uint64
	for _, ti := range b.db.Tables() {
		last = max(last, ti.ID)
	}
	for id := last + 1; id < last+20; id++ {
		if err := os.WriteFile(table.NewFilename(id, p.dir), []byte("in the way"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Compact(); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("Compact = %v; keys lost: %v", err, compare(x, want))
	}
	if _, err := x.Get(nil, benchKey(1)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Get = %v", err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := verdict(t, p.dir, want); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened again: %v", err)
	}
}

// The ledger has nothing to say about compactions that work, and they give space back.
func TestBadger_compact(t *testing.T) {
	t.Parallel()
	p := &badgerPlace{dir: t.TempDir()}
	x, want := twoLevels(t, p)
	var batch Batch
	for k := range maps.Clone(want) {
		if k[len(k)-10]%4 != 0 {
			batch.Delete([]byte(k))
			delete(want, k)
		}
	}
	mustApply(t, x, &batch)
	x = reopen(t, p, x) // a memtable becomes a table
	before := tableBytesOn(t, p.dir)
	if err := x.Compact(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, x, want)
	x = reopen(t, p, x)
	wantAll(t, x, want)
	if after := tableBytesOn(t, p.dir); after > before/2 {
		t.Errorf("%d bytes of tables before, %d after", before, after)
	}
}

// twoLevels returns an index with tables in two levels.
func twoLevels(t *testing.T, p *badgerPlace) (Index, map[string]string) {
	t.Helper()
	x := p.open(t)
	want := map[string]string{}
	for round := range 8 {
		kv := map[string]string{}
		for i := range 1000 {
			kv[string(benchKey(i*8+round))] = string(benchValue(i))
		}
		maps.Copy(want, kv)
		apply(t, x, kv)
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if round == 5 {
			moveDown(t, p.dir)
		}
		x = p.open(t)
	}
	return x, want
}

// moveDown has badger move the tables of level 0 to the last one.
func moveDown(t *testing.T, dir string) {
	t.Helper()
	opts := badgerOptions(dir, newLedger(dir, zap.NewNop(), func(err error) { t.Error(err) }))
	db, err := badger.OpenManaged(opts.WithCompactL0OnClose(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func tableBytesOn(t *testing.T, dir string) (sum int) {
	t.Helper()
	for name, data := range readFiles(t, dir) {
		if strings.HasSuffix(name, ".sst") {
			sum += len(data)
		}
	}
	return sum
}
