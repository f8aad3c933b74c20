// Package vfs is the seam between the storage engine and the file system.
//
// The engine's promises are promises about what a disk holds after a power
// loss, a failed write or a full disk. None of these can be produced at will on
// a real disk, so the engine reaches files only through [FS], which has three
// implementations:
//
//   - [OS] is the machine's file system.
//   - [Mem] keeps files in memory, knows what has been synced, and can produce
//     the disk as a crash at this moment might leave it ([Mem.CrashClone]).
//   - [Inject] wraps either and lets a test fail, cut short or observe every
//     single operation.
//
// # What is durable when
//
// The interface promises no more than POSIX does, and [Mem] takes away
// everything that is not promised:
//
//   - A file's bytes and size are durable once [File.Sync] has returned nil.
//   - A name (of a new file, a removed file, either side of a rename) is durable
//     once [FS.SyncDir] of the directory that holds the name has returned nil.
//     Syncing a file says nothing about its name: a new file needs both.
//   - MkdirAll makes names too. A directory is durable when the names of all
//     directories on the way to it are.
//   - A rename is atomic: no crash leaves the file under neither name.
//   - A write is not: a crash keeps any part of what was not synced.
//   - After Sync has failed, nothing is known about what was written since the
//     last one that succeeded. A later Sync that returns nil does not change
//     this, because a system may drop the pages that it could not write.
//
// # Paths and errors
//
// Paths are those of package path/filepath. Errors name operation and path (as
// *fs.PathError, *os.LinkError or *[LockedError]) and answer errors.Is for
// fs.ErrExist, fs.ErrNotExist and fs.ErrClosed; [IsNoSpace] tells a full disk.
//
// Unix systems and Windows are supported. On systems without flock(2) or
// LockFileEx, and on those without a way to ask for free space, Lock and
// FreeSpace fail with errors.ErrUnsupported.
package vfs
