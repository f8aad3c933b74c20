package vfs

import (
	"fmt"
	"io"
)

// FS is a file system. All methods may be called concurrently. None of them
// makes anything durable but SyncDir; see the package comment.
type FS interface {
	// Create makes the file name and opens it for reading and writing. It fails
	// with fs.ErrExist if there is one: the engine never writes into a file that
	// it does not know, and a name chosen twice is a bug that must show. The file
	// is readable by its owner only.
	Create(name string) (File, error)

	// Open opens an existing file for reading. A directory is an error.
	Open(name string) (File, error)

	// OpenReadWrite opens an existing file for reading and writing.
	OpenReadWrite(name string) (File, error)

	// Remove removes a file or an empty directory. An open file keeps its bytes
	// and its space until the last Close; Windows refuses to remove it instead.
	Remove(name string) error

	// Rename gives oldname's file or directory the name newname, atomically, and
	// replaces a file that has it. A directory is never replaced.
	Rename(oldname, newname string) error

	// MkdirAll makes the directory dir and those above it that do not exist.
	MkdirAll(dir string) error

	// List returns the names in dir, without the path, sorted by byte value.
	List(dir string) ([]string, error)

	// Stat describes the file or directory name.
	Stat(name string) (Info, error)

	// SyncDir returns nil once every change of a name directly in dir is on stable
	// storage. Names in directories below and the files' contents are not covered.
	// On Windows, which offers no such call, it only checks that dir exists.
	SyncDir(dir string) error

	// Lock takes an exclusive lock on the file name, which it creates if need be,
	// and holds it until Close or the end of the process, kill -9 included. The
	// file stays behind and contains the holder's process id in decimal. If the
	// lock is taken, by this process too, the error is a *[LockedError]. The lock
	// is advisory: it keeps out only those that ask for it.
	Lock(name string) (io.Closer, error)

	// FreeSpace returns how many bytes a process without privileges may still
	// write to the file system that holds dir.
	FreeSpace(dir string) (uint64, error)
}

// File is an open file. Positions are explicit, there is no cursor, so all
// methods may be called concurrently; what overlapping reads and writes see of
// each other is undefined. After Close they fail with fs.ErrClosed.
type File interface {
	// ReadAt fills p from position off. It returns fewer than len(p) bytes only
	// with an error, which is io.EOF at the end of the file. A range that was
	// skipped by writes or by Truncate reads as zeros.
	io.ReaderAt

	// WriteAt writes p at position off and grows the file as needed. It returns
	// fewer than len(p) bytes only with an error; on a full disk the bytes before
	// the first that did not fit may have been written.
	io.WriterAt

	// Close releases the file. It does not sync.
	io.Closer

	// Name returns the path that the file was opened with, also after a rename.
	Name() string

	// Size returns the file's length in bytes.
	Size() (int64, error)

	// Truncate sets the file's length. A longer file reads as zeros past its old
	// end, but has no space reserved there: a later write can find the disk full.
	// Only bytes once written are known to have their space.
	Truncate(size int64) error

	// Sync returns nil once everything written before and the size are on stable
	// storage. After an error it must not be tried again; see the package comment.
	Sync() error
}

// Info describes a file or a directory.
type Info struct {
	// Size is a file's length in bytes; for a directory it has no meaning.
	Size int64
	// IsDir is true for a directory.
	IsDir bool
}

// LockedError is returned by [FS.Lock] when the lock is held already.
type LockedError struct {
	// Name is the lock file's path as given to Lock.
	Name string
	// PID is the holder's process id as it stands in the lock file, or 0 when the
	// file does not say. It is a hint for whoever reads the message: in a container
	// it may count in another namespace.
	PID int
}

// Error names the file and, when known, the process that holds the lock.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("lock %q: held already", e.Name)
	}
	return fmt.Sprintf("lock %q: held by process %d", e.Name, e.PID)
}
