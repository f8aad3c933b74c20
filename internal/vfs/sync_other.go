//go:build !linux

package vfs

import "os"

// syncFile relies on os.File.Sync, which is F_FULLFSYNC on Darwin (fsync(2)
// leaves the bytes in the drive's cache there), FlushFileBuffers on Windows and
// fsync(2) elsewhere.
func syncFile(f *os.File) error { return f.Sync() }
