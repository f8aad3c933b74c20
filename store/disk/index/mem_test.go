package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

var errInjected = errors.New("injected")

func TestMem_crashKeepsDurableBatches(t *testing.T) {
	m := NewMem()
	want := map[string]string{"a": "1", "b": "2"}
	apply(t, m, want)
	clone := m.CrashClone(rand.New(rand.NewPCG(uint64(1), 0)))
	wantAll(t, clone, want)
	apply(t, m, map[string]string{"a": "other"})
	apply(t, clone, map[string]string{"c": "3"})
	wantAll(t, m, map[string]string{"a": "other", "b": "2"})
	wantAll(t, clone, map[string]string{"a": "1", "b": "2", "c": "3"})
}

// A crash within a batch leaves any part of it, and every part is seen in some run.
func TestMem_crashWithinABatch(t *testing.T) {
	for at := range 3 {
		outcomes := map[string]bool{}
		for seed := range int64(100) {
			m := NewMem()
			apply(t, m, map[string]string{"old": "kept"})
			var clone *Mem
			m.BeforeEach = func(i int) error {
				if i == at {
					clone = m.CrashClone(rand.New(rand.NewPCG(uint64(seed), 0)))
				}
				return nil
			}
			var b Batch
			for i := range 3 {
				b.Set(fmt.Appendf(nil, "new%d", i), []byte("x"))
			}
			mustApply(t, m, &b)
			var keys string
			if err := clone.Scan(nil, nil, func(k, _ []byte) bool {
				keys += string(k) + " "
				return true
			}); err != nil {
				t.Fatal(err)
			}
			outcomes[keys] = true
		}
		if len(outcomes) != 1<<at {
			t.Errorf("crash before operation %d: %d outcomes: %v", at, len(outcomes), outcomes)
		}
	}
}

func TestMem_failedBatch(t *testing.T) {
	m := NewMem()
	m.BeforeEach = func(i int) error {
		if i == 1 {
			return errInjected
		}
		return nil
	}
	var b Batch
	b.Set([]byte("first"), nil)
	b.Set([]byte("second"), nil)
	if err := m.Apply(&b); !errors.Is(err, errInjected) {
		t.Fatalf("Apply = %v", err)
	}
	if _, err := m.Get(nil, []byte("first")); err != nil {
		t.Errorf("Get of what was written: %v", err)
	}
	wantAll(t, m, nil)
	wantAll(t, m.CrashClone(nil), nil)
	m.BeforeEach = nil
	if err := m.Apply(&b); !errors.Is(err, ErrFailed) || !errors.Is(err, errInjected) {
		t.Errorf("Apply after a failure = %v", err)
	}
	mustApply(t, m.CrashClone(nil), &b)
}

func TestMem_failNext(t *testing.T) {
	m := NewMem()
	apply(t, m, map[string]string{"k": "v"})
	for op := range numOps {
		m.FailNext(op, errInjected)
	}
	_, getErr := m.Get(nil, []byte("k"))
	_, sizeErr := m.Size()
	var b Batch
	b.Set([]byte("other"), nil)
	for name, err := range map[string]error{
		"Get": getErr, "Size": sizeErr, "Apply": m.Apply(&b), "Compact": m.Compact(),
		"Scan":  m.Scan(nil, nil, func(_, _ []byte) bool { return true }),
		"Close": m.CrashClone(nil).Close(),
	} {
		if want := name != "Close"; errors.Is(err, errInjected) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantAll(t, m, map[string]string{"k": "v"})
	if err := m.Close(); !errors.Is(err, errInjected) {
		t.Errorf("Close: %v", err)
	}
}

func TestMem_damage(t *testing.T) {
	m := NewMem()
	apply(t, m, map[string]string{"a": "", "b": "2", "c": "3"})
	if m.Damage([]byte("none")) || !m.Damage([]byte("b")) {
		t.Fatal("Damage")
	}
	for _, x := range []*Mem{m, m.CrashClone(nil)} {
		var ce *CorruptionError
		if _, err := x.Get(nil, []byte("b")); !errors.Is(err, ErrCorrupt) || !errors.As(err, &ce) || string(ce.Key) != "b" {
			t.Errorf("Get = %v", err)
		}
		n := 0
		err := x.Scan(nil, nil, func(_, _ []byte) bool { n++; return true })
		if !errors.Is(err, ErrCorrupt) || n != 1 {
			t.Errorf("Scan: %d keys, %v", n, err)
		}
		if _, err := x.Get(nil, []byte("c")); err != nil {
			t.Error(err)
		}
	}
}

func TestMem_size(t *testing.T) {
	m := NewMem()
	apply(t, m, map[string]string{"a": "12345", "bb": ""})
	apply(t, m, map[string]string{"a": "123"})
	if n, err := m.Size(); err != nil || n != 1+3+2+2*checksumLen {
		t.Errorf("Size = %d, %v", n, err)
	}
}
