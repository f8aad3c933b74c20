package vfs

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// IsNoSpace reports whether err says that a disk or a quota is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) ||
		errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) ||
		// What Mem returns.
		errors.Is(err, syscall.ENOSPC)
}
