package index

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// place is where a test keeps an index, so that it can be opened again.
type place interface {
	open(t *testing.T) Index
}

type badgerPlace struct{ dir string }

func (p *badgerPlace) open(t *testing.T) Index {
	t.Helper()
	x, err := OpenBadger(p.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

type memPlace struct{ m *Mem }

func (p *memPlace) open(*testing.T) Index {
	if p.m == nil {
		p.m = NewMem()
	} else {
		p.m = p.m.CrashClone(nil)
	}
	return p.m
}

func TestBadger(t *testing.T) {
	t.Parallel()
	testIndex(t, func(t *testing.T) place { return &badgerPlace{dir: t.TempDir()} })
}

func TestMem(t *testing.T) {
	t.Parallel()
	testIndex(t, func(*testing.T) place { return new(memPlace) })
}

// testIndex holds an implementation to what Index promises.
func testIndex(t *testing.T, newPlace func(t *testing.T) place) {
	tests := []struct {
		name string
		run  func(t *testing.T, p place)
	}{
		{"empty", testEmpty},
		{"order", testOrder},
		{"bounds", testBounds},
		{"overwriteAndDelete", testOverwriteAndDelete},
		{"lastOperationWins", testLastOperationWins},
		{"appendsToDst", testAppendsToDst},
		{"limits", testLimits},
		{"valueSizes", testValueSizes},
		{"bigBatch", testBigBatch},
		{"scanIsASnapshot", testScanIsASnapshot},
		{"scanPassesPanicsOn", testScanPanic},
		{"closed", testClosed},
		{"concurrent", testConcurrent},
		{"randomAgainstModel", testRandom},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newPlace(t)) })
	}
}

func testEmpty(t *testing.T, p place) {
	x := p.open(t)
	wantMissing(t, x, "a")
	wantMissing(t, x, "")
	wantAll(t, x, nil)
	if err := x.Apply(new(Batch)); err != nil {
		t.Fatal(err)
	}
	if err := x.Compact(); err != nil {
		t.Fatal(err)
	}
}

func testOrder(t *testing.T, p place) {
	x := p.open(t)
	want := map[string]string{}
	for _, k := range []string{"b", "a", "\x00", "\xff\xff", "a\x00", "\xff", "ab", "!", "!badger", "!index", "~"} {
		want[k] = "value of " + k
	}
	apply(t, x, want)
	wantAll(t, x, want)
	wantAll(t, reopen(t, p, x), want)
}

func testBounds(t *testing.T, p place) {
	x := p.open(t)
	all := []string{"a", "b", "ba", "bb", "c", "\xff", "\xff\xff"}
	for _, k := range all {
		apply(t, x, map[string]string{k: k})
	}
	bounds := append([]string{"", "aa", "bab", "d", "\xff\xff\xff"}, all...)
	for _, from := range bounds {
		for _, to := range bounds {
			var want []string
			for _, k := range all {
				if k >= from && (to == "" || k < to) {
					want = append(want, k)
				}
			}
			var got []string
			if err := x.Scan([]byte(from), []byte(to), func(k, v []byte) bool {
				got = append(got, string(k))
				return true
			}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("scan [%q, %q) = %q, want %q", from, to, got, want)
			}
		}
	}
	n := 0
	if err := x.Scan(nil, nil, func(_, _ []byte) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("stopped scan: %d keys, %v", n, err)
	}
}

func testOverwriteAndDelete(t *testing.T, p place) {
	x := p.open(t)
	want := map[string]string{}
	for round := range 5 {
		var b Batch
		for i := range 100 {
			k := fmt.Sprintf("key%03d", i)
			if i%5 == round {
				b.Delete([]byte(k))
				delete(want, k)
				continue
			}
			v := fmt.Sprintf("round %d", round)
			b.Set([]byte(k), []byte(v))
			want[k] = v
		}
		b.Delete([]byte("never there"))
		mustApply(t, x, &b)
		wantAll(t, x, want)
		if err := x.Compact(); err != nil {
			t.Fatal(err)
		}
		wantAll(t, x, want)
		x = reopen(t, p, x)
		wantAll(t, x, want)
	}
}

func testLastOperationWins(t *testing.T, p place) {
	x := p.open(t)
	var b Batch
	for _, v := range []string{"1", "2", "", "3"} {
		for _, k := range []string{"set", "deleted", "set again"} {
			b.Set([]byte(k), []byte(v))
		}
	}
	b.Delete([]byte("deleted"))
	b.Delete([]byte("set again"))
	b.Set([]byte("set again"), nil)
	mustApply(t, x, &b)
	want := map[string]string{"set": "3", "set again": ""}
	wantAll(t, x, want)
	wantAll(t, reopen(t, p, x), want)
}

func testAppendsToDst(t *testing.T, p place) {
	x := p.open(t)
	apply(t, x, map[string]string{"k": "value"})
	got, err := x.Get([]byte("so: "), []byte("k"))
	if err != nil || string(got) != "so: value" {
		t.Errorf("Get = %q, %v", got, err)
	}
	got, err = x.Get([]byte("so: "), []byte("none"))
	if !errors.Is(err, ErrNotFound) || string(got) != "so: " {
		t.Errorf("Get of a missing key = %q, %v", got, err)
	}
	// What Get returned is the caller's.
	got, err = x.Get(nil, []byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	wantAll(t, x, map[string]string{"k": "value"})
}

func testLimits(t *testing.T, p place) {
	x := p.open(t)
	long := strings.Repeat("k", MaxKeyLen)
	tests := []struct {
		name string
		fill func(b *Batch)
		want error
	}{
		{"empty key", func(b *Batch) { b.Set(nil, nil) }, ErrInvalidKey},
		{"empty key deleted", func(b *Batch) { b.Delete(nil) }, ErrInvalidKey},
		{"long key", func(b *Batch) { b.Set([]byte(long+"k"), nil) }, ErrInvalidKey},
		{"key of badger", func(b *Batch) { b.Set([]byte("!badger!txn"), nil) }, ErrInvalidKey},
		{"own key", func(b *Batch) { b.Delete(appliedKey) }, ErrInvalidKey},
		{"long value", func(b *Batch) { b.Set([]byte("k"), make([]byte, MaxValueLen+1)) }, ErrValueTooLarge},
	}
	for _, test := range tests {
		var b Batch
		b.Set([]byte("before"), nil)
		test.fill(&b)
		b.Set([]byte("after"), nil)
		if err := x.Apply(&b); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		b.Reset()
		mustApply(t, x, &b)
	}
	wantAll(t, x, nil)
	wantMissing(t, x, string(appliedKey))
	wantMissing(t, x, long+long+long+long+long)

	want := map[string]string{long: "longest"}
	apply(t, x, want)
	wantAll(t, x, want)
	wantAll(t, reopen(t, p, x), want)
}

func testValueSizes(t *testing.T, p place) {
	x := p.open(t)
	rng := rand.New(rand.NewPCG(uint64(1), 0))
	want := map[string]string{}
	for _, n := range []int{0, 1, 3, 4, 5, 4 << 10, 64 << 10, 1<<20 - 100, MaxValueLen - 1, MaxValueLen} {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(rng.Uint32())
		}
		want[fmt.Sprintf("%d bytes", n)] = string(v)
	}
	apply(t, x, want)
	wantAll(t, x, want)
	x = reopen(t, p, x)
	wantAll(t, x, want)
	for k := range want {
		v, err := x.Get(nil, []byte(k))
		if err != nil || string(v) != want[k] {
			t.Errorf("Get(%q): %d bytes, %v", k, len(v), err)
		}
	}
}

func testBigBatch(t *testing.T, p place) {
	x := p.open(t)
	const n = 100_000
	var b Batch
	for i := range n {
		b.Set(benchKey(i), benchValue(i))
	}
	if b.Len() != n || b.Bytes() != n*(len(benchKey(0))+len(benchValue(0))) {
		t.Fatalf("batch of %d operations, %d bytes", b.Len(), b.Bytes())
	}
	mustApply(t, x, &b)
	check := func(x Index) {
		t.Helper()
		i := 0
		if err := x.Scan(nil, nil, func(k, v []byte) bool {
			if !bytes.Equal(k, benchKey(i)) || !bytes.Equal(v, benchValue(i)) {
				t.Fatalf("key %d: %q", i, k)
			}
			i++
			return true
		}); err != nil || i != n {
			t.Fatalf("%d keys, %v", i, err)
		}
	}
	check(x)
	if size, err := x.Size(); err != nil || size < n*100 {
		t.Errorf("size %d, %v", size, err)
	}
	check(reopen(t, p, x))
}

func testScanIsASnapshot(t *testing.T, p place) {
	x := p.open(t)
	want := map[string]string{}
	for i := range 500 {
		want[string(benchKey(i))] = "old"
	}
	apply(t, x, want)
	got := map[string]string{}
	err := x.Scan(nil, nil, func(k, v []byte) bool {
		if len(got) == 0 {
			// A writer does not wait for us, nor we for it.
			var b Batch
			for i := range 1000 {
				b.Set(benchKey(i), []byte("new"))
			}
			b.Delete(benchKey(7))
			mustApply(t, x, &b)
			if v, err := x.Get(nil, benchKey(8)); string(v) != "new" || err != nil {
				t.Errorf("Get during the scan = %q, %v", v, err)
			}
			if err := x.Compact(); err != nil {
				t.Error(err)
			}
		}
		got[string(k)] = string(v)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("scan saw %d keys, and not all of them as they were", len(got))
	}
}

func testScanPanic(t *testing.T, p place) {
	x := p.open(t)
	apply(t, x, map[string]string{"k": "v"})
	defer func() {
		if got := recover(); got != "mine" {
			t.Errorf("recovered %v", got)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}()
	err := x.Scan(nil, nil, func(_, _ []byte) bool { panic("mine") })
	t.Errorf("Scan returned %v", err)
}

func testClosed(t *testing.T, p place) {
	x := p.open(t)
	apply(t, x, map[string]string{"k": "v"})
	for range 2 {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var b Batch
	b.Set([]byte("k"), nil)
	_, getErr := x.Get(nil, []byte("k"))
	_, sizeErr := x.Size()
	for name, err := range map[string]error{
		"Get": getErr, "Size": sizeErr, "Apply": x.Apply(&b), "Compact": x.Compact(),
		"Scan": x.Scan(nil, nil, func(_, _ []byte) bool { return true }),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

func testConcurrent(t *testing.T, p place) {
	x := p.open(t)
	const writers, rounds, keys = 4, 20, 50
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			var b Batch
			for r := range rounds {
				b.Reset()
				for k := range keys {
					b.Set(fmt.Appendf(nil, "%d/%d", w, k), fmt.Appendf(nil, "%d", r))
				}
				if err := x.Apply(&b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// A writer's batch is one transaction, so it is seen whole.
				seen := map[byte]string{}
				if err := x.Scan(nil, nil, func(k, v []byte) bool {
					if old, ok := seen[k[0]]; ok && old != string(v) {
						t.Errorf("%s = %s beside %s", k, v, old)
					}
					seen[k[0]] = string(v)
					return true
				}); err != nil {
					t.Error(err)
				}
				if _, err := x.Get(nil, []byte("0/0")); err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	if err := x.Compact(); err != nil {
		t.Error(err)
	}
	close(stop)
	reading.Wait()
	want := map[string]string{}
	for w := range writers {
		for k := range keys {
			want[fmt.Sprintf("%d/%d", w, k)] = fmt.Sprint(rounds - 1)
		}
	}
	wantAll(t, x, want)
	wantAll(t, reopen(t, p, x), want)
}

func testRandom(t *testing.T, p place) {
	seed := rand.Int64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	x := p.open(t)
	model := map[string]string{}
	var b Batch
	for range 60 {
		b.Reset()
		for range rng.IntN(200) {
			k := fmt.Sprintf("%x", rng.IntN(400))
			if rng.IntN(3) == 0 {
				b.Delete([]byte(k))
				delete(model, k)
				continue
			}
			v := make([]byte, rng.IntN(60))
			for i := range v {
				v[i] = byte(rng.Uint32())
			}
			b.Set([]byte(k), v)
			model[k] = string(v)
		}
		mustApply(t, x, &b)
		switch rng.IntN(10) {
		case 0:
			x = reopen(t, p, x)
		case 1:
			if err := x.Compact(); err != nil {
				t.Fatal(err)
			}
		}
		wantAll(t, x, model)
	}
}

func apply(t *testing.T, x Index, kv map[string]string) {
	t.Helper()
	var b Batch
	for k, v := range kv {
		b.Set([]byte(k), []byte(v))
	}
	mustApply(t, x, &b)
}

func mustApply(t *testing.T, x Index, b *Batch) {
	t.Helper()
	if err := x.Apply(b); err != nil {
		t.Fatal(err)
	}
}

func reopen(t *testing.T, p place, x Index) Index {
	t.Helper()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return p.open(t)
}

func wantMissing(t *testing.T, x Index, key string) {
	t.Helper()
	if v, err := x.Get(nil, []byte(key)); !errors.Is(err, ErrNotFound) || v != nil {
		t.Errorf("Get(%.40q) = %q, %v", key, v, err)
	}
}

// wantAll checks that x holds exactly want, by Scan and by Get.
func wantAll(t *testing.T, x Index, want map[string]string) {
	t.Helper()
	if err := compare(x, want); err != nil {
		t.Fatal(err)
	}
}

var errDiffers = errors.New("index differs")

// compare returns errDiffers, wrapped, when x gives something else than want.
func compare(x Index, want map[string]string) error {
	keys := slices.Sorted(maps.Keys(want))
	n := 0
	var differs error
	err := x.Scan(nil, nil, func(k, v []byte) bool {
		switch {
		case n >= len(keys) || string(k) != keys[n]:
			differs = fmt.Errorf("%w: scan: unexpected key %.40q at %d", errDiffers, k, n)
		case string(v) != want[keys[n]]:
			differs = fmt.Errorf("%w: scan: wrong value of %.40q", errDiffers, k)
		}
		n++
		return differs == nil
	})
	switch {
	case err != nil:
		return err
	case differs != nil:
		return differs
	case n != len(keys):
		return fmt.Errorf("%w: scan: %d keys, want %d", errDiffers, n, len(keys))
	}
	var buf []byte
	for _, k := range keys {
		buf, err = x.Get(buf[:0], []byte(k))
		if errors.Is(err, ErrNotFound) || err == nil && string(buf) != want[k] {
			return fmt.Errorf("%w: get %.40q: %v", errDiffers, k, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
