package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
)

// everyOp calls each method once.
func everyOp(fsys FS) error {
	if err := fsys.MkdirAll("d"); err != nil {
		return err
	}
	lock, err := fsys.Lock("d/LOCK")
	if err != nil {
		return err
	}
	f, err := fsys.Create("d/f")
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	err = errors.Join(
		second(f.WriteAt([]byte("hello"), 3)), second(f.ReadAt(make([]byte, 4), 1)), f.Truncate(6),
		second(f.Size()), f.Sync(), f.Close(), fsys.Rename("d/f", "d/g"), fsys.SyncDir("d"),
		second(fsys.List("d")), second(fsys.Stat("d/g")), second(fsys.FreeSpace("d")))
	for _, open := range []func(string) (File, error){fsys.Open, fsys.OpenReadWrite} {
		f, openErr := open("d/g")
		if openErr == nil {
			openErr = f.Close()
		}
		err = errors.Join(err, openErr)
	}
	return errors.Join(err, fsys.Remove("d/g"), lock.Close())
}

func TestInject_asksBeforeEachOperation(t *testing.T) {
	var got []string
	must(t, everyOp(Inject(NewMem(MemOptions{}), func(op Op) error {
		got = append(got, op.String())
		return nil
	})))
	want := []string{
		"mkdir d", "lock d/LOCK", "create d/f", "write d/f: 5 bytes at 3", "read d/f: 4 bytes at 1",
		"truncate d/f to 6", "size d/f", "sync d/f", "close d/f", "rename d/f to d/g", "sync directory d",
		"list d", "stat d/g", "free space d", "open d/g", "close d/g", "open read-write d/g", "close d/g",
		"remove d/g", "close d/LOCK",
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked\n%q, want\n%q", got, want)
	}
}

func TestInject_failsEachOperation(t *testing.T) {
	var kinds []OpKind
	for i := int64(0); ; i++ {
		var n atomic.Int64
		var failed Op
		m := NewMem(MemOptions{})
		err := everyOp(Inject(m, All(func(op Op) error {
			if n.Load() == i {
				failed = op
			}
			return nil
		}, Count(&n), FailNth(i, ErrInjected))))
		if n.Load() <= i {
			must(t, err)
			break
		}
		kinds = append(kinds, failed.Kind)
		var pathErr *fs.PathError
		if !errors.Is(err, ErrInjected) || !errors.As(err, &pathErr) || pathErr.Path != failed.Path {
			t.Errorf("%v: error is %v", failed, err)
		}
		// A failed Close releases nevertheless.
		if lock, err := m.Lock("LOCK"); err != nil {
			t.Errorf("%v: %v", failed, err)
		} else {
			must(t, lock.Close())
		}
	}
	slices.Sort(kinds)
	if kinds = slices.Compact(kinds); len(kinds) != len(opNames) {
		t.Errorf("failed only %v", kinds)
	}
}

func TestInject_failedOperationDoesNotHappen(t *testing.T) {
	m := NewMem(MemOptions{})
	fail := false
	fsys := Inject(m, func(Op) error {
		if fail {
			return ErrInjected
		}
		return nil
	})
	must(t, fsys.MkdirAll("d"))
	must(t, fsys.SyncDir("/"))
	f := create(t, fsys, "d/f", "old")
	fail = true
	wantErr(t, second(f.WriteAt([]byte("new"), 0)), ErrInjected)
	wantErr(t, f.Truncate(0), ErrInjected)
	wantErr(t, f.Sync(), ErrInjected)
	wantErr(t, fsys.SyncDir("d"), ErrInjected)
	wantErr(t, fsys.Remove("d/f"), ErrInjected)
	wantErr(t, fsys.Rename("d/f", "d/g"), ErrInjected)
	wantErr(t, fsys.MkdirAll("e"), ErrInjected)
	wantErr(t, second(fsys.Create("d/g")), ErrInjected)
	wantErr(t, second(fsys.Lock("d/LOCK")), ErrInjected)
	wantList(t, m, "/", "d")
	wantList(t, m, "d", "f")
	wantContent(t, m, "d/f", "old")
	wantList(t, m.CrashClone(nil, CrashOptions{}), "d")
	fail = false
	must(t, fsys.SyncDir("d"))
	wantContent(t, m.CrashClone(nil, CrashOptions{}), "d/f", "")
}

func TestInject_shortWrite(t *testing.T) {
	for _, c := range []struct {
		err  ShortWrite
		want string
		is   error
	}{
		{ShortWrite{N: 0}, "old", ErrInjected},
		{ShortWrite{N: 2}, "ned", ErrInjected},
		{ShortWrite{N: 99, Err: syscall.ENOSPC}, "new", syscall.ENOSPC},
	} {
		m := NewMem(MemOptions{})
		f := create(t, m, "f", "old")
		must(t, f.Close())
		fsys := Inject(m, OnKinds(func(Op) error { return &c.err }, OpWriteAt, OpSync))
		f, err := fsys.OpenReadWrite("f")
		must(t, err)
		n, err := f.WriteAt([]byte("new"), 0)
		if n != min(c.err.N, 3) {
			t.Errorf("%v: wrote %d", &c.err, n)
		}
		wantErr(t, err, c.is)
		wantContent(t, fsys, "f", c.want)
		wantErr(t, f.Sync(), c.is)
		must(t, f.Close())
	}
}

func TestInject_failedSync(t *testing.T) {
	m := NewMem(MemOptions{})
	failing := true
	inner := Inject(m, OnKinds(func(Op) error {
		if failing {
			return &FailedSync{Err: syscall.EIO}
		}
		return nil
	}, OpSync))
	fsys := Inject(inner, func(Op) error { return nil })
	f := create(t, fsys, "f", "abc")
	must(t, fsys.SyncDir("/"))
	wantErr(t, f.Sync(), syscall.EIO)
	failing = false
	must(t, f.Sync())
	wantContent(t, fsys, "f", "abc")
	wantContent(t, m.CrashClone(nil, CrashOptions{}), "f", "\x00\x00\x00")
	writeAt(t, f, "xyz", 0)
	must(t, f.Sync())
	wantContent(t, m.CrashClone(nil, CrashOptions{}), "f", "xyz")
	must(t, f.Close())
}

func TestInject_failedSyncOverOuterHook(t *testing.T) {
	m := NewMem(MemOptions{})
	fsys := Inject(Inject(m, func(Op) error { return nil }), OnKinds(FailNth(0, &FailedSync{}), OpSync))
	f := create(t, fsys, "f", "abc")
	must(t, fsys.SyncDir("/"))
	wantErr(t, f.Sync(), ErrInjected)
	must(t, f.Sync())
	wantContent(t, m.CrashClone(nil, CrashOptions{}), "f", "\x00\x00\x00")
	must(t, f.Close())
}

// TestInject_hookMayCrash takes a clone before each operation, which would
// block for ever if a lock were held.
func TestInject_hookMayCrash(t *testing.T) {
	m := NewMem(MemOptions{})
	var clones []*Mem
	must(t, everyOp(Inject(m, OnWrites(func(Op) error {
		clones = append(clones, m.CrashClone(nil, CrashOptions{Mode: CrashKeepAll}))
		return nil
	}))))
	if len(clones) != 9 {
		t.Errorf("%d operations write, want 9", len(clones))
	}
	wantList(t, clones[0], "/")
	wantList(t, clones[3], "d", "LOCK", "f")
}

func TestHooks(t *testing.T) {
	for _, c := range []struct {
		name string
		hook Hook
		want string // 1 for each of five operations that fails
	}{
		{"nth", FailNth(2, ErrInjected), "00100"},
		{"from", FailFrom(3, ErrInjected), "00011"},
		{"all", All(FailNth(1, ErrInjected), FailNth(1, ErrInjected)), "01100"},
		{"kinds", OnKinds(FailNth(1, ErrInjected), OpSync), "00010"},
		{"writes", OnWrites(FailFrom(1, ErrInjected)), "00110"},
		{"matching", Matching(FailFrom(0, ErrInjected), func(op Op) bool { return op.Path == "b" }), "00101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			for _, op := range []Op{
				{Kind: OpReadAt, Path: "a"},
				{Kind: OpSync, Path: "a"},
				{Kind: OpWriteAt, Path: "b"},
				{Kind: OpSync, Path: "a"},
				{Kind: OpList, Path: "b"},
			} {
				if c.hook(op) == nil {
					got += "0"
				} else {
					got += "1"
				}
			}
			if got != c.want {
				t.Errorf("fails %s, want %s", got, c.want)
			}
		})
	}
}

func TestIsNoSpace(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{ErrInjected, false},
		{syscall.ENOSPC, true},
		{fmt.Errorf("append: %w", &fs.PathError{Op: "write", Err: syscall.ENOSPC}), true},
		{&ShortWrite{Err: syscall.ENOSPC}, true},
	} {
		if got := IsNoSpace(c.err); got != c.want {
			t.Errorf("IsNoSpace(%v) = %t", c.err, got)
		}
	}
}
