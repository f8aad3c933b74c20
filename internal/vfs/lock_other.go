//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package vfs

import (
	"errors"
	"os"
)

// tryLock refuses: an engine without a lock would let a second server destroy
// its files.
func tryLock(*os.File) error { return errors.ErrUnsupported }
