//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock uses flock(2) and not fcntl(2): its lock belongs to the open file, so
// that it also keeps out the process itself, and closing another descriptor of
// the same file does not drop it.
func tryLock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		for {
			lockErr = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB)
			if lockErr != unix.EINTR {
				return
			}
		}
	})
	switch {
	case err != nil:
		return err
	case lockErr == unix.EWOULDBLOCK:
		return errLockTaken
	}
	return lockErr
}
