package vfs

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// syncFile uses fdatasync(2), which skips the times but not the size: metadata
// that is needed to read the data back is part of its promise. For a file that
// only has its old bytes overwritten it saves the file system's own journal
// write, which is most of the cost of a sync.
func syncFile(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	var syncErr error
	// Control holds the descriptor open, so that a concurrent Close cannot hand
	// its number to another file in the middle.
	err = conn.Control(func(fd uintptr) {
		for {
			syncErr = unix.Fdatasync(int(fd))
			if syncErr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		// The one way to fail is a closed file, and the error of package poll that
		// says so answers to no name.
		err = fs.ErrClosed
	} else {
		err = syncErr
	}
	if err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}
