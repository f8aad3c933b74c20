//go:build !windows

package vfs

import (
	"errors"
	"syscall"
)

// IsNoSpace reports whether err says that a disk (ENOSPC) or a quota (EDQUOT) is
// full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
