//go:build !windows

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// syncDir uses fsync(2), not fdatasync(2): a directory's entries are metadata,
// and it is left to each file system which of them the latter covers.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	info, err := d.Stat()
	switch {
	case err != nil:
	case !info.IsDir():
		err = &fs.PathError{Op: "sync", Path: dir, Err: syscall.ENOTDIR}
	default:
		err = d.Sync()
	}
	return errors.Join(err, d.Close())
}
