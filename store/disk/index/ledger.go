package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// ledger finds out when a compaction loses a table. Badger v4.9.6 forgets the error
// when a compaction cannot create one of the tables that it writes (for want of a file
// handle, say), records the others in the manifest, and deletes the tables that it
// read: the keys between are gone, without a word. What is left of it is a
// difference: for each table that a compaction fills it logs, at debug level, how many
// keys went there, and only the tables that exist become part of the manifest. The
// ledger counts both.
//
// It follows badger's log by the texts of its messages. TestBadger_compactionLosesATable
// fails when another version of badger changes them, or repairs the cause.
type ledger struct {
	dir  string
	z    *zap.Logger
	lost func(error) // called once, from one of badger's goroutines

	mu sync.Mutex
	// filled counts, by compactor, the tables filled by its compaction under way;
	// void is set when the manifest was rewritten meanwhile.
	filled map[any]int
	void   map[any]bool
	// expected are the tables filled by finished compactions, created those that
	// compactions recorded in the manifest: at least those of the finished ones.
	expected, created int
	manifest          *os.File // nil when it could not be opened; the next compaction tries again
	counted           int64    // how far the manifest is counted, in bytes
	done              bool
}

// What badger says about compactions.
const (
	sayFilled = "[%d] LOG Compact. Added %d keys."
	sayDone   = "[Compactor: %d] Compaction for level: %d DONE"
	sayFailed = "[Compactor: %d] LOG Compact FAILED"
)

func newLedger(dir string, z *zap.Logger, lost func(error)) *ledger {
	return &ledger{dir: dir, z: z, lost: lost, filled: map[any]int{}, void: map[any]bool{}}
}

// note takes a message of badger's log.
func (l *ledger) note(format string, args []any) {
	if len(args) < 2 || !strings.HasPrefix(format, "[") {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return
	}
	who := args[0]
	switch {
	case strings.HasPrefix(format, sayFilled):
		if keys, ok := args[1].(uint64); ok && keys > 0 {
			l.filled[who]++
		}
	case strings.HasPrefix(format, sayFailed):
		l.forget(who)
	case strings.HasPrefix(format, sayDone):
		if err := l.finish(who); err != nil {
			l.done = true
			l.lost(err)
		}
	}
}

func (l *ledger) forget(who any) {
	delete(l.filled, who)
	delete(l.void, who)
}

// finish compares, when a compaction is done.
func (l *ledger) finish(who any) error {
	defer l.forget(who)
	if err := l.count(); err != nil {
		// Not being able to look is no proof of anything. The next compaction is
		// compared again.
		l.z.Warn("index store's compaction could not be checked", zap.Error(errors.Join(err, l.restart())))
		return nil
	}
	if !l.void[who] {
		l.expected += l.filled[who]
	}
	if l.expected > l.created {
		return fmt.Errorf("a compaction could not create %d of the tables that it filled, and their keys are gone", l.expected-l.created)
	}
	return nil
}

// open begins to count. Badger has just opened the folder, and may compact already.
func (l *ledger) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.follow()
}

// restart forgets what was counted, and the compactions under way: what they recorded
// may come before what is counted next.
func (l *ledger) restart() error {
	for who := range l.filled {
		l.void[who] = true
	}
	l.expected, l.created = 0, 0
	f := l.manifest
	l.manifest = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// follow begins to count at the end of the manifest that is there now.
func (l *ledger) follow() error {
	if err := l.restart(); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(l.dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.manifest, l.counted = f, fi.Size()
	return nil
}

// count reads what was added to the manifest. Badger appends a record at a time, and
// rewrites the file when most of it is history.
func (l *ledger) count() error {
	if l.manifest == nil {
		return l.follow()
	}
	now, err := os.Stat(filepath.Join(l.dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	was, err := l.manifest.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, was) {
		return l.follow()
	}
	added, err := io.ReadAll(io.NewSectionReader(l.manifest, l.counted, math.MaxInt64-l.counted))
	if err != nil {
		return err
	}
	const head = 8 // length of the record, and a checksum
	for len(added) >= head {
		n := head + int64(binary.BigEndian.Uint32(added))
		if int64(len(added)) < n {
			break // being written; not by the compaction that is done
		}
		var set pb.ManifestChangeSet
		if err := proto.Unmarshal(added[head:n], &set); err != nil {
			return err
		}
		l.created += createdByCompaction(&set)
		l.counted += n
		added = added[n:]
	}
	return nil
}

// createdByCompaction returns how many tables a record adds, when it removes some as
// well: a compaction's does, a flushed memtable's does not.
func createdByCompaction(set *pb.ManifestChangeSet) int {
	created, deleted := 0, 0
	for _, c := range set.Changes {
		if c.Op == pb.ManifestChange_DELETE {
			deleted++
		} else {
			created++
		}
	}
	if deleted == 0 {
		return 0
	}
	return created
}

// close ends the watch.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	if l.manifest == nil {
		return nil
	}
	return l.manifest.Close()
}
