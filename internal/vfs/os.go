package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// OS is the machine's file system. Files and directories are made for the
// process's user only (modes 0600 and 0700, less the umask).
var OS FS = osFS{}

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Open(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	// open(2) opens a directory for reading and fails only at the first read.
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

func (osFS) OpenReadWrite(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Remove(name string) error             { return os.Remove(name) }
func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }
func (osFS) MkdirAll(dir string) error            { return os.MkdirAll(dir, 0o700) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: info.Size(), IsDir: info.IsDir()}, nil
}

func (osFS) SyncDir(dir string) error { return syncDir(dir) }

func (osFS) FreeSpace(dir string) (uint64, error) {
	free, err := freeSpace(dir)
	if err != nil {
		return 0, &fs.PathError{Op: "free space", Path: dir, Err: err}
	}
	return free, nil
}

// errLockTaken is what tryLock returns when somebody holds the lock.
var errLockTaken = errors.New("lock taken")

func (osFS) Lock(name string) (io.Closer, error) {
	// The file is never removed: a process that has opened it and waits for its
	// turn at tryLock would then hold a lock on a file that nobody else can find.
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		if errors.Is(err, errLockTaken) {
			err = &LockedError{Name: name, PID: readPID(f)}
		} else {
			err = &fs.PathError{Op: "lock", Path: name, Err: err}
		}
		return nil, errors.Join(err, f.Close())
	}
	// A full disk must not keep a server from starting, since starting is how
	// space is given back. The lock holds without its text.
	if err := writePID(f); err != nil && !IsNoSpace(err) {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil // closing the descriptor releases the lock on every system
}

// writePID replaces the lock file's content by the process id, for people.
func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(io.NewOffsetWriter(f, 0), "%d\n", os.Getpid())
	return err
}

// readPID returns the process id in the lock file, or 0. The holder may be
// about to write it, so that nothing it finds is an error.
func readPID(f io.ReaderAt) int {
	var text [20]byte
	n, _ := f.ReadAt(text[:], 0)
	return parsePID(text[:n])
}

func parsePID(text []byte) int {
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// osFile does not embed *os.File: its cursor and its deadlines are not part of
// the seam and would be out of reach of [Inject].
type osFile struct {
	f *os.File
}

func (o osFile) Name() string                            { return o.f.Name() }
func (o osFile) Close() error                            { return o.f.Close() }
func (o osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }
func (o osFile) WriteAt(p []byte, off int64) (int, error) {
	return o.f.WriteAt(p, off)
}
func (o osFile) Truncate(size int64) error { return o.f.Truncate(size) }
func (o osFile) Sync() error               { return syncFile(o.f) }

func (o osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
