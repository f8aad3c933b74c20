package index

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
)

// passing are the errors of the operating system that say nothing about what is
// stored: they pass, or somebody has to do something, and a rebuild of the index
// would meet them too. EIO is not among them: what cannot be read is lost, and a
// rebuild writes it somewhere else.
var passing = []syscall.Errno{
	syscall.EACCES, syscall.EAGAIN, syscall.EBUSY, syscall.EDQUOT, syscall.EFBIG,
	syscall.EINTR, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC,
	syscall.ENOTDIR, syscall.EPERM, syscall.EROFS,
}

// classify turns an error of badger or of the file system into one that says
// whether the index in dir is damaged. Badger's errors come as text only (it drops
// the chain when it wraps), so the text is what can be looked at. What is not known
// to pass counts as damage: to rebuild a cache in vain costs time, to trust a
// damaged one costs data.
func classify(dir string, err error) error {
	var corrupt *CorruptionError
	var locked *LockedError
	if err == nil || errors.As(err, &corrupt) || errors.As(err, &locked) {
		return err
	}
	text := strings.ReplaceAll(err.Error(), dir, "")
	if strings.Contains(text, "Cannot acquire directory lock") {
		return &LockedError{Dir: dir, Err: err}
	}
	for _, e := range passing {
		if errors.Is(err, e) || strings.Contains(text, e.Error()) {
			return fmt.Errorf("index: %w", err)
		}
	}
	return &CorruptionError{Dir: dir, Err: err}
}

// panicError says what badger panicked with, as it does on some damage.
func panicError(dir string, p any) error {
	if e, ok := p.(runtime.Error); ok {
		return &CorruptionError{Dir: dir, Err: e}
	}
	return &CorruptionError{Dir: dir, Err: fmt.Errorf("badger panicked: %v", p)}
}
