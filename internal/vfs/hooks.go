package vfs

import (
	"slices"
	"sync/atomic"
)

// FailNth returns a hook that fails the operation with the number n, counted
// from 0, and no other. A test that fails each operation once looks like this:
//
//	for i := int64(0); ; i++ {
//		var n atomic.Int64
//		fsys := vfs.Inject(mem, vfs.All(vfs.Count(&n), vfs.FailNth(i, vfs.ErrInjected)))
//		…
//		if n.Load() <= i {
//			break // there was no operation i
//		}
//	}
//
// It ends by the count and not by the first run without an error, since code may
// rightly survive the failure of an operation.
func FailNth(n int64, err error) Hook {
	var next atomic.Int64
	return func(Op) error {
		if next.Add(1)-1 == n {
			return err
		}
		return nil
	}
}

// FailFrom returns a hook that fails the operation with the number n, counted
// from 0, and all after it, as a disk that is gone does.
func FailFrom(n int64, err error) Hook {
	var next atomic.Int64
	return func(Op) error {
		if next.Add(1)-1 >= n {
			return err
		}
		return nil
	}
}

// Count returns a hook that adds 1 to n for each operation.
func Count(n *atomic.Int64) Hook {
	return func(Op) error {
		n.Add(1)
		return nil
	}
}

// All returns a hook that calls the hooks in turn up to the first that fails.
func All(hooks ...Hook) Hook {
	return func(op Op) error {
		for _, hook := range hooks {
			if err := hook(op); err != nil {
				return err
			}
		}
		return nil
	}
}

// OnKinds returns a hook that calls hook for operations of these kinds only.
func OnKinds(hook Hook, kinds ...OpKind) Hook {
	return Matching(hook, func(op Op) bool { return slices.Contains(kinds, op.Kind) })
}

// OnWrites returns a hook that calls hook only for operations of kinds that
// write; see [OpKind.Writes].
func OnWrites(hook Hook) Hook {
	return Matching(hook, func(op Op) bool { return op.Kind.Writes() })
}

// Matching returns a hook that calls hook only for operations for which match
// returns true.
func Matching(hook Hook, match func(Op) bool) Hook {
	return func(op Op) error {
		if match(op) {
			return hook(op)
		}
		return nil
	}
}
