package vfs

import (
	"io/fs"
	"os"
	"syscall"
)

// syncDir only checks that dir is a directory: Windows cannot flush one, and
// NTFS keeps its names in a journal of its own.
func syncDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "sync", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}
