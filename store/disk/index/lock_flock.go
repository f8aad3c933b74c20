//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package index

import (
	"errors"
	"os"
	"syscall"
)

// locksFolders says that lockFolder keeps others out.
const locksFolders = true

// lockFolder takes the lock on dir that badger itself would take, so that badger's
// own tools keep out as well. The lock ends when the file is closed, and with the
// process. It fails with a *LockedError when somebody else has it.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			err = &LockedError{Dir: dir, Err: err}
		default:
			err = &os.PathError{Op: "flock", Path: dir, Err: err}
		}
		return nil, errors.Join(err, f.Close())
	}
}

// diskBytes returns what a file takes on disk, which for badger's mapped files is
// far less than their length.
func diskBytes(fi os.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return fi.Size()
}
