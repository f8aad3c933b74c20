package vfs

import (
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks one byte far past the end: a locked range cannot be read by
// others on Windows, and the process id at the start is there to be read.
func tryLock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		at := windows.Overlapped{OffsetHigh: math.MaxInt32}
		lockErr = windows.LockFileEx(windows.Handle(fd),
			windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	})
	switch {
	case err != nil:
		return err
	case lockErr == windows.ERROR_LOCK_VIOLATION:
		return errLockTaken
	}
	return lockErr
}
