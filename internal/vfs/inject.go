package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// OpKind is the method of [FS] or [File] that an [Op] calls.
type OpKind int

// The methods of FS, then those of File.
const (
	OpCreate OpKind = iota
	OpOpen
	OpOpenReadWrite
	OpRemove
	OpRename
	OpMkdirAll
	OpList
	OpStat
	OpSyncDir
	OpLock
	OpFreeSpace
	OpReadAt
	OpWriteAt
	OpClose // of a file or of a lock
	OpSize
	OpTruncate
	OpSync
)

var opNames = [...]string{
	OpCreate: "create", OpOpen: "open", OpOpenReadWrite: "open read-write", OpRemove: "remove",
	OpRename: "rename", OpMkdirAll: "mkdir", OpList: "list", OpStat: "stat", OpSyncDir: "sync directory",
	OpLock: "lock", OpFreeSpace: "free space", OpReadAt: "read", OpWriteAt: "write", OpClose: "close",
	OpSize: "size", OpTruncate: "truncate", OpSync: "sync",
}

// String returns the method in words.
func (k OpKind) String() string {
	if k < 0 || int(k) >= len(opNames) {
		return fmt.Sprintf("OpKind(%d)", int(k))
	}
	return opNames[k]
}

// Writes reports whether operations of the kind can change what a disk holds or
// what of it is durable.
func (k OpKind) Writes() bool {
	switch k {
	case OpCreate, OpRemove, OpRename, OpMkdirAll, OpSyncDir, OpLock, OpWriteAt, OpTruncate, OpSync:
		return true
	}
	return false
}

// Op is an operation about to be done.
type Op struct {
	Kind OpKind
	// Path is the file or directory, as the caller gave it; of a rename the old
	// name.
	Path string
	// NewPath is the new name of a rename.
	NewPath string
	// Offset is the position in bytes of a read or a write, and the size that
	// Truncate asks for.
	Offset int64
	// Len is the number of bytes to read or write.
	Len int
}

// String describes the operation for a test's log.
func (op Op) String() string {
	switch op.Kind {
	case OpReadAt, OpWriteAt:
		return fmt.Sprintf("%v %s: %d bytes at %d", op.Kind, op.Path, op.Len, op.Offset)
	case OpTruncate:
		return fmt.Sprintf("%v %s to %d", op.Kind, op.Path, op.Offset)
	case OpRename:
		return fmt.Sprintf("%v %s to %s", op.Kind, op.Path, op.NewPath)
	}
	return fmt.Sprintf("%v %s", op.Kind, op.Path)
}

// Hook is called before an operation. An error that it returns becomes the
// operation's, inside an *fs.PathError, and the operation does not happen, with
// three exceptions: [*ShortWrite], [*FailedSync], and Close, which releases the
// file anyway as close(2) does.
//
// No lock is held during the call: the hook may use the wrapped file system,
// wait, or take a [Mem.CrashClone], which then is the disk as it is before op.
// Concurrent operations call it concurrently.
type Hook func(op Op) error

// ErrInjected is an error for hooks to return that nothing else returns.
var ErrInjected = errors.New("injected error")

// ShortWrite is what a [Hook] returns to make WriteAt write N bytes, at most
// those that there are, and then fail with the ShortWrite as the error. Other
// operations just fail.
type ShortWrite struct {
	// N is the number of bytes written.
	N int
	// Err is the reason, ErrInjected if nil.
	Err error
}

func (e *ShortWrite) Error() string {
	return fmt.Sprintf("short write of %d bytes: %v", e.N, e.Unwrap())
}

// Unwrap returns the reason.
func (e *ShortWrite) Unwrap() error { return orInjected(e.Err) }

// FailedSync is what a [Hook] returns to make Sync fail as it does on Linux when
// the disk cannot take a page: what was written since the last sync may be on
// stable storage or not, it still reads as if it were, and a later Sync returns
// nil without covering it, until it is written again. Over a file system other
// than [Mem], and for other operations, it is an error like any other.
type FailedSync struct {
	// Err is the reason, ErrInjected if nil.
	Err error
}

func (e *FailedSync) Error() string { return fmt.Sprintf("failed sync: %v", e.Unwrap()) }

// Unwrap returns the reason.
func (e *FailedSync) Unwrap() error { return orInjected(e.Err) }

func orInjected(err error) error {
	if err == nil {
		return ErrInjected
	}
	return err
}

// Inject returns a file system that does what fsys does, after asking hook.
func Inject(fsys FS, hook Hook) FS { return &injectFS{fsys, hook} }

type injectFS struct {
	fs   FS
	hook Hook
}

// ask calls the hook and says in its error which operation it is about.
func ask(hook Hook, op Op) error {
	if err := hook(op); err != nil {
		return &fs.PathError{Op: op.Kind.String(), Path: op.Path, Err: err}
	}
	return nil
}

func (i *injectFS) file(kind OpKind, name string, open func(string) (File, error)) (File, error) {
	if err := ask(i.hook, Op{Kind: kind, Path: name}); err != nil {
		return nil, err
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &injectFile{f, i.hook}, nil
}

func (i *injectFS) Create(name string) (File, error) { return i.file(OpCreate, name, i.fs.Create) }
func (i *injectFS) Open(name string) (File, error)   { return i.file(OpOpen, name, i.fs.Open) }
func (i *injectFS) OpenReadWrite(name string) (File, error) {
	return i.file(OpOpenReadWrite, name, i.fs.OpenReadWrite)
}

func (i *injectFS) Remove(name string) error {
	if err := ask(i.hook, Op{Kind: OpRemove, Path: name}); err != nil {
		return err
	}
	return i.fs.Remove(name)
}

func (i *injectFS) Rename(oldname, newname string) error {
	if err := ask(i.hook, Op{Kind: OpRename, Path: oldname, NewPath: newname}); err != nil {
		return err
	}
	return i.fs.Rename(oldname, newname)
}

func (i *injectFS) MkdirAll(dir string) error {
	if err := ask(i.hook, Op{Kind: OpMkdirAll, Path: dir}); err != nil {
		return err
	}
	return i.fs.MkdirAll(dir)
}

func (i *injectFS) List(dir string) ([]string, error) {
	if err := ask(i.hook, Op{Kind: OpList, Path: dir}); err != nil {
		return nil, err
	}
	return i.fs.List(dir)
}

func (i *injectFS) Stat(name string) (Info, error) {
	if err := ask(i.hook, Op{Kind: OpStat, Path: name}); err != nil {
		return Info{}, err
	}
	return i.fs.Stat(name)
}

func (i *injectFS) SyncDir(dir string) error {
	if err := ask(i.hook, Op{Kind: OpSyncDir, Path: dir}); err != nil {
		return err
	}
	return i.fs.SyncDir(dir)
}

func (i *injectFS) Lock(name string) (io.Closer, error) {
	if err := ask(i.hook, Op{Kind: OpLock, Path: name}); err != nil {
		return nil, err
	}
	l, err := i.fs.Lock(name)
	if err != nil {
		return nil, err
	}
	return &injectLock{l, name, i.hook}, nil
}

func (i *injectFS) FreeSpace(dir string) (uint64, error) {
	if err := ask(i.hook, Op{Kind: OpFreeSpace, Path: dir}); err != nil {
		return 0, err
	}
	return i.fs.FreeSpace(dir)
}

type injectLock struct {
	io.Closer
	name string
	hook Hook
}

func (l *injectLock) Close() error {
	return errors.Join(ask(l.hook, Op{Kind: OpClose, Path: l.name}), l.Closer.Close())
}

type injectFile struct {
	f    File
	hook Hook
}

func (i *injectFile) ask(kind OpKind, off int64, n int) error {
	return ask(i.hook, Op{Kind: kind, Path: i.f.Name(), Offset: off, Len: n})
}

func (i *injectFile) Name() string { return i.f.Name() }

func (i *injectFile) Close() error {
	return errors.Join(i.ask(OpClose, 0, 0), i.f.Close())
}

func (i *injectFile) ReadAt(p []byte, off int64) (int, error) {
	if err := i.ask(OpReadAt, off, len(p)); err != nil {
		return 0, err
	}
	return i.f.ReadAt(p, off)
}

func (i *injectFile) WriteAt(p []byte, off int64) (int, error) {
	err := i.ask(OpWriteAt, off, len(p))
	if err == nil {
		return i.f.WriteAt(p, off)
	}
	var short *ShortWrite
	if !errors.As(err, &short) {
		return 0, err
	}
	n, writeErr := i.f.WriteAt(p[:min(short.N, len(p))], off)
	if writeErr != nil {
		return n, writeErr
	}
	return n, err
}

func (i *injectFile) Size() (int64, error) {
	if err := i.ask(OpSize, 0, 0); err != nil {
		return 0, err
	}
	return i.f.Size()
}

func (i *injectFile) Truncate(size int64) error {
	if err := i.ask(OpTruncate, size, 0); err != nil {
		return err
	}
	return i.f.Truncate(size)
}

func (i *injectFile) Sync() error {
	err := i.ask(OpSync, 0, 0)
	if err == nil {
		return i.f.Sync()
	}
	var failed *FailedSync
	if f, ok := i.f.(interface{ failSync() }); ok && errors.As(err, &failed) {
		f.failSync()
	}
	return err
}

// failSync lets a FailedSync reach a Mem through several layers.
func (i *injectFile) failSync() {
	if f, ok := i.f.(interface{ failSync() }); ok {
		f.failSync()
	}
}
