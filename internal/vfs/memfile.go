package vfs

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// memFile is an open file of a Mem. Methods in lower case want Mem.mu held.
type memFile struct {
	m        *Mem
	node     *memNode
	name     string
	writable bool
	closed   bool // guarded by m.mu
}

var errNegativeOffset = errors.New("negative offset")

func (f *memFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// usable returns the error of an operation on a closed file, or of one that
// writes on a file opened for reading.
func (f *memFile) usable(op string, writes bool) error {
	switch {
	case f.closed:
		return f.fail(op, fs.ErrClosed)
	case writes && !f.writable:
		return f.fail(op, syscall.EBADF)
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if err := f.usable("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, f.fail("read", errNegativeOffset)
	}
	n := f.node.data.read(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.writeAt(p, off)
}

func (f *memFile) writeAt(p []byte, off int64) (int, error) {
	if err := f.usable("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, f.fail("write", errNegativeOffset)
	}
	var (
		data = f.node.data
		end  = off + int64(len(p))
		full error
	)
	if free := f.m.free(); data.missing(off, end) > free {
		end = data.fits(off, end, free)
		full = f.fail("write", syscall.ENOSPC)
	}
	n := int(end - off)
	if n > 0 {
		f.m.used += data.write(p[:n], off)
	}
	return n, full
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if err := f.usable("stat", false); err != nil {
		return 0, err
	}
	return f.node.data.size, nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.truncate(size)
}

func (f *memFile) truncate(size int64) error {
	// ftruncate(2) says EINVAL for both.
	if size < 0 || !f.closed && !f.writable {
		return f.fail("truncate", syscall.EINVAL)
	}
	if err := f.usable("truncate", true); err != nil {
		return err
	}
	// The zeros behind the new end are written in place or into a page that
	// replaces its predecessor, so that a full disk does not matter.
	f.m.used += f.node.data.truncate(size)
	return nil
}

// replace makes p the file's content.
func (f *memFile) replace(p []byte) (int, error) {
	if err := f.truncate(0); err != nil {
		return 0, err
	}
	return f.writeAt(p, 0)
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable("sync", false); err != nil {
		return err
	}
	f.node.data.sync()
	return nil
}

// failSync is what [FailedSync] asks for.
func (f *memFile) failSync() {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.node.data.failSync()
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.close()
}

func (f *memFile) close() error {
	if err := f.usable("close", false); err != nil {
		return err
	}
	f.closed = true
	f.node.handles--
	f.m.release(f.node)
	return nil
}
