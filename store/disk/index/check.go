package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
)

// What badger does with a damaged folder, when nobody looked before: without a
// manifest it deletes the tables and is empty; a damaged end of a table ends the
// process (log.Fatal, or a panic in a goroutine of its own); a damaged log loses
// what follows. So the folder is checked here before badger sees it.

// discardName is the file where badger counts what may be dropped from the value log.
const discardName = "DISCARD"

// folder is what an index's folder holds.
type folder struct {
	manifest bool
	tables   int      // in the manifest
	logs     []uint64 // numbers of the write-ahead logs, ascending
	useless  []string // files that hold nothing and are better made anew
}

// checkFolder reads dir and reports damage as a *CorruptionError. It changes
// nothing.
func checkFolder(dir string, opts Options) (folder, error) {
	var found folder
	files, err := os.ReadDir(dir)
	if err != nil {
		return found, err
	}
	var others []string
	for _, f := range files {
		name := f.Name()
		base, ext, _ := strings.Cut(name, ".")
		switch {
		case name == badger.ManifestFilename:
			found.manifest = true
		case name == appliedName, name == "LOCK", name == "MANIFEST-REWRITE":
			// May be there before the manifest is, or say nothing.
		case name == discardName:
			found.useless = append(found.useless, name) // and may be there before, too
		case name == badger.KeyRegistryFileName, ext == "vlog":
			// The keys of an encrypted store, and the value log: nothing is encrypted,
			// and no value goes there.
			found.useless = append(found.useless, name)
			others = append(others, name)
		case ext == "mem":
			n, err := strconv.ParseUint(base, 10, 32)
			if err != nil {
				return found, &CorruptionError{Dir: dir, File: name, Err: errors.New("not the name of a log")}
			}
			found.logs = append(found.logs, n)
			others = append(others, name)
		default:
			others = append(others, name)
		}
	}
	slices.Sort(found.logs)
	if !found.manifest {
		if len(others) > 0 {
			return found, &CorruptionError{
				Dir: dir, File: badger.ManifestFilename,
				Err: fmt.Errorf("missing, though there are %d other files", len(others)),
			}
		}
		return found, nil
	}
	tables, newest, err := checkTables(dir, opts)
	if err != nil {
		return found, err
	}
	found.tables = tables
	stub, err := checkLogs(dir, found.logs, newest)
	if stub != "" {
		found.useless = append(found.useless, stub)
	}
	return found, err
}

// prepareFolder removes what holds nothing, and makes sure of what badger ends the
// process without: being able to create a file, and enough file handles.
func prepareFolder(dir string, found folder) error {
	for _, name := range found.useless {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	// Badger takes an empty file for a new one.
	if err := os.WriteFile(filepath.Join(dir, discardName), nil, 0o600); err != nil {
		return err
	}
	return probeHandles(dir, found.tables+16)
}

// viewFile calls fn with the bytes of a file, mapped, so that a large file does not
// become garbage. What fn finds damaged, what it panics with and a fault while it
// reads come back as a *CorruptionError.
func viewFile(dir, name string, fn func(data []byte) error) (err error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close() // only read
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	var data []byte
	if fi.Size() > 0 {
		if data, err = z.Mmap(f, false, fi.Size()); err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
		defer func() { err = errors.Join(err, z.Munmap(data)) }()
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &CorruptionError{Dir: dir, File: name, Err: fmt.Errorf("%v", p)}
		}
	}()
	if err := fn(data); err != nil {
		return &CorruptionError{Dir: dir, File: name, Err: err}
	}
	return nil
}

// probeHandles fails when n more files cannot be open at once.
func probeHandles(dir string, n int) (err error) {
	open := make([]*os.File, 0, n)
	defer func() {
		for _, f := range open {
			err = errors.Join(err, f.Close())
		}
	}()
	for range n {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		open = append(open, f)
	}
	return nil
}
