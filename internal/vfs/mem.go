package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// MemOptions configures a [Mem].
type MemOptions struct {
	// Capacity is the space for file contents in bytes, rounded down to pages of
	// 4 KiB. 0 means without limit.
	Capacity int64
}

// Mem is a file system in memory that knows what a crash would take away; see
// [Mem.CrashClone]. It is safe for concurrent use. Paths are relative to its
// root with or without a leading separator.
//
// Every byte and name is in two images: what calls see, and what is on stable
// storage. [File.Sync] and [FS.SyncDir] copy from the first to the second, and
// nothing else does.
//
// Space is charged in pages of 4 KiB when a page is first written, and given
// back when it is cut off, or its file has neither a name nor an open handle.
// So overwriting what was written before never finds the disk full, growing a
// file with Truncate costs nothing, and a write that does not fit stores the
// pages that do and returns the bytes in them with ENOSPC. Names are free. A
// crash that brings removed files back can leave more in use than there is.
type Mem struct {
	mu       sync.RWMutex
	root     *memNode
	pending  []nameOp // in the order in which they were done
	lastID   uint64
	capacity int64 // pages
	used     int64 // pages
}

// NewMem returns an empty file system.
func NewMem(opts MemOptions) *Mem {
	m := &Mem{}
	m.root = m.newDir()
	m.SetCapacity(opts.Capacity)
	return m
}

// SetCapacity changes [MemOptions.Capacity]. With less than what is used, files
// keep what they have, and cannot get more.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes / pageSize
	if bytes == 0 {
		m.capacity = math.MaxInt64 / pageSize
	}
}

// Used returns the space in use in bytes, a multiple of 4 KiB.
func (m *Mem) Used() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.used * pageSize
}

func (m *Mem) newDir() *memNode {
	m.lastID++
	return &memNode{id: m.lastID, names: map[string]*memNode{}, synced: map[string]*memNode{}}
}

// find returns the node at name, which is the root for an empty one.
func (m *Mem) find(name string) (*memNode, error) {
	n := m.root
	for part := range strings.SplitSeq(trimRoot(name), string(filepath.Separator)) {
		if part == "" {
			continue
		}
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		next, ok := n.names[part]
		if !ok {
			return nil, syscall.ENOENT
		}
		n = next
	}
	return n, nil
}

// trimRoot returns name relative to the root, empty for the root itself.
func trimRoot(name string) string {
	name = filepath.Clean(name)
	name = name[len(filepath.VolumeName(name)):]
	if name == "." {
		return ""
	}
	return strings.TrimLeft(name, string(filepath.Separator))
}

// place returns the directory that holds name, and the node that has the name
// or nil. The root is nobody's name: EINVAL.
func (m *Mem) place(name string) (place, *memNode, error) {
	trimmed := trimRoot(name)
	if trimmed == "" {
		return place{}, nil, syscall.EINVAL
	}
	dirName, base := filepath.Split(trimmed)
	dir, err := m.find(dirName)
	if err != nil {
		return place{}, nil, err
	}
	if !dir.isDir() {
		return place{}, nil, syscall.ENOTDIR
	}
	return place{dir, base}, dir.names[base], nil
}

// do makes a change of names and notes it as pending.
func (m *Mem) do(op nameOp) {
	op.apply(func(dir *memNode) map[string]*memNode { return dir.names })
	m.pending = append(m.pending, op)
}

// release gives back a file's space once nothing leads to it any more. Its
// content stays for as long as a crash could bring the name back.
func (m *Mem) release(n *memNode) {
	if !n.isDir() && n.links == 0 && n.handles == 0 {
		m.used -= n.data.pages
	}
}

// Create implements [FS].
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, old, err := m.place(name)
	if err == nil && old != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	return m.open(m.createAt(at), name, true), nil
}

func (m *Mem) createAt(at place) *memNode {
	m.lastID++
	n := &memNode{id: m.lastID, data: &memData{}, links: 1}
	m.do(nameOp{set: at, node: n})
	return n
}

func (m *Mem) open(n *memNode, name string, writable bool) *memFile {
	n.handles++
	return &memFile{m: m, node: n, name: name, writable: writable}
}

// Open implements [FS].
func (m *Mem) Open(name string) (File, error) { return m.openExisting(name, false) }

// OpenReadWrite implements [FS].
func (m *Mem) OpenReadWrite(name string) (File, error) { return m.openExisting(name, true) }

func (m *Mem) openExisting(name string, writable bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err == nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return m.open(n, name, writable), nil
}

// Remove implements [FS].
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, n, err := m.place(name)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case n.isDir() && len(n.names) > 0:
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	op := nameOp{cleared: at, node: n}
	if n.isDir() {
		op.emptied = n
	} else {
		n.links--
	}
	m.do(op)
	m.release(n)
	return nil
}

// Rename implements [FS].
func (m *Mem) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, n, err := m.place(oldname)
	if err == nil && n == nil {
		err = syscall.ENOENT
	}
	var (
		to       place
		replaced *memNode
	)
	if err == nil {
		to, replaced, err = m.place(newname)
	}
	switch {
	case err != nil:
	case n == replaced:
		return nil // as POSIX has it, also for two names of one file
	case replaced != nil && replaced.isDir():
		err = syscall.EEXIST
	case replaced != nil && n.isDir():
		err = syscall.ENOTDIR
	case n.isDir() && within(n, to.dir):
		err = syscall.EINVAL
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	m.do(nameOp{set: to, cleared: from, node: n})
	if replaced != nil {
		replaced.links--
		m.release(replaced)
	}
	return nil
}

// within reports whether dir is top or somewhere below it.
func within(top, dir *memNode) bool {
	if top == dir {
		return true
	}
	for _, n := range top.names {
		if n.isDir() && within(n, dir) {
			return true
		}
	}
	return false
}

// MkdirAll implements [FS].
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.root
	for part := range strings.SplitSeq(trimRoot(dir), string(filepath.Separator)) {
		if part == "" {
			continue
		}
		next, ok := at.names[part]
		if !ok {
			next = m.newDir()
			m.do(nameOp{set: place{at, part}, node: next})
		}
		if !next.isDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		at = next
	}
	return nil
}

// directory returns the directory at name, as the object of op.
func (m *Mem) directory(op, name string) (*memNode, error) {
	n, err := m.find(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// List implements [FS].
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.directory("list", dir)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

// Stat implements [FS].
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if n.isDir() {
		return Info{IsDir: true}, nil
	}
	return Info{Size: n.data.size}, nil
}

// SyncDir implements [FS].
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.directory("sync", dir)
	if err != nil {
		return err
	}
	m.pending = syncNames(m.pending, n)
	return nil
}

// FreeSpace implements [FS].
func (m *Mem) FreeSpace(dir string) (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.directory("free space", dir); err != nil {
		return 0, err
	}
	return uint64(m.free() * pageSize), nil
}

// free returns the number of pages that may still be taken.
func (m *Mem) free() int64 { return max(m.capacity-m.used, 0) }

// Lock implements [FS].
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, n, err := m.place(name)
	if err == nil && n != nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	if n == nil {
		n = m.createAt(at)
	}
	if n.locked {
		var text [20]byte
		return nil, &LockedError{Name: name, PID: parsePID(text[:n.data.read(text[:], 0)])}
	}
	n.locked = true
	f := m.open(n, name, true)
	// As on a real disk, a full one only costs the text.
	_, err = f.replace(fmt.Appendf(nil, "%d\n", os.Getpid()))
	if err != nil && !IsNoSpace(err) {
		return nil, errors.Join(err, f.close())
	}
	return &memLock{f}, nil
}

// memLock is a held lock.
type memLock struct{ f *memFile }

// Close releases the lock.
func (l *memLock) Close() error {
	l.f.m.mu.Lock()
	defer l.f.m.mu.Unlock()
	if err := l.f.close(); err != nil {
		return err
	}
	l.f.node.locked = false
	return nil
}
