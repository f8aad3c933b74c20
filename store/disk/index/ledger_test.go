package index

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// ledgerTest is a ledger and the manifest that it watches.
type ledgerTest struct {
	*testing.T
	*ledger
	path string
	lost int
}

func newLedgerTest(t *testing.T) *ledgerTest {
	lt := &ledgerTest{T: t, path: filepath.Join(t.TempDir(), badger.ManifestFilename)}
	lt.ledger = newLedger(filepath.Dir(lt.path), zap.NewNop(), func(error) { lt.lost++ })
	lt.rewrite()
	if err := lt.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lt.close() })
	return lt
}

// rewrite replaces the manifest, as badger does.
func (lt *ledgerTest) rewrite() {
	lt.Helper()
	tmp := lt.path + "-REWRITE"
	if err := os.WriteFile(tmp, []byte("Bdgr\x00\x00\x00\x08"), 0o600); err != nil {
		lt.Fatal(err)
	}
	if err := os.Rename(tmp, lt.path); err != nil {
		lt.Fatal(err)
	}
}

func (lt *ledgerTest) record(created, deleted int) {
	lt.Helper()
	var set pb.ManifestChangeSet
	for range created {
		set.Changes = append(set.Changes, &pb.ManifestChange{Op: pb.ManifestChange_CREATE})
	}
	for range deleted {
		set.Changes = append(set.Changes, &pb.ManifestChange{Op: pb.ManifestChange_DELETE})
	}
	body, err := proto.Marshal(&set)
	if err != nil {
		lt.Fatal(err)
	}
	f, err := os.OpenFile(lt.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		lt.Fatal(err)
	}
	rec := append(binary.BigEndian.AppendUint64(nil, uint64(len(body))<<32), body...)
	if _, err := f.Write(rec); err != nil {
		lt.Fatal(err)
	}
	if err := f.Close(); err != nil {
		lt.Fatal(err)
	}
}

func (lt *ledgerTest) fill(who int, keys ...uint64) {
	for _, n := range keys {
		lt.note("[%d] LOG Compact. Added %d keys. Skipped %d keys. Iteration took: %v", []any{who, n})
	}
}

func (lt *ledgerTest) finished(who int) {
	lt.note("[Compactor: %d] Compaction for level: %d DONE", []any{who, 1})
}

func (lt *ledgerTest) failed(who int) {
	lt.note("[Compactor: %d] LOG Compact FAILED with error: %+v: %+v", []any{who, nil})
}

func TestLedger(t *testing.T) {
	tests := []struct {
		name string
		run  func(lt *ledgerTest)
		lost int
	}{
		{"whole", func(lt *ledgerTest) {
			lt.fill(0, 10, 20)
			lt.record(2, 3)
			lt.finished(0)
		}, 0},
		{"a table short", func(lt *ledgerTest) {
			lt.fill(0, 10, 20)
			lt.record(1, 3)
			lt.finished(0)
		}, 1},
		{"all tables gone", func(lt *ledgerTest) {
			lt.fill(0, 10)
			lt.record(0, 3)
			lt.finished(0)
		}, 1},
		{"nothing left to write", func(lt *ledgerTest) {
			lt.fill(0, 0)
			lt.record(0, 3)
			lt.finished(0)
		}, 0},
		{"a flush does not make up for it", func(lt *ledgerTest) {
			lt.fill(0, 10)
			lt.record(1, 0)
			lt.record(0, 3)
			lt.finished(0)
		}, 1},
		{"failed, and said so", func(lt *ledgerTest) {
			lt.fill(0, 10, 20)
			lt.failed(0)
			lt.fill(0, 10)
			lt.record(1, 3)
			lt.finished(0)
		}, 0},
		{"two at once", func(lt *ledgerTest) {
			lt.fill(0, 1, 2)
			lt.fill(1, 3)
			lt.record(1, 1)
			lt.finished(1)
			lt.record(1, 1)
			lt.finished(0)
			lt.finished(0)
		}, 1},
		{"manifest rewritten by this compaction", func(lt *ledgerTest) {
			lt.fill(0, 10, 20)
			lt.fill(1, 30)
			lt.rewrite()
			lt.finished(0)
			lt.record(1, 1)
			lt.finished(1)
			lt.fill(0, 10)
			lt.record(1, 1)
			lt.finished(0)
		}, 0},
		{"manifest could not be read for a while", func(lt *ledgerTest) {
			lt.fill(0, 10)
			if err := os.Rename(lt.path, lt.path+".away"); err != nil {
				lt.Fatal(err)
			}
			lt.finished(0)
			lt.rewrite()
			lt.fill(0, 10, 20)
			lt.record(1, 1)
			lt.finished(0) // begins to look again
			lt.fill(0, 10)
			lt.record(0, 1)
			lt.finished(0)
		}, 1},
		{"a table short after a rewrite", func(lt *ledgerTest) {
			lt.fill(0, 10)
			lt.rewrite()
			lt.finished(0)
			lt.fill(0, 10, 20)
			lt.record(1, 1)
			lt.finished(0)
		}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lt := newLedgerTest(t)
			test.run(lt)
			if lt.lost != test.lost {
				t.Errorf("lost %d, want %d", lt.lost, test.lost)
			}
		})
	}
}
