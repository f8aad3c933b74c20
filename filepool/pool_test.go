package filepool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// file is a value that knows whether it is open.
type file struct {
	key    string
	closed atomic.Bool
}

// disk opens files and notes what happens to them.
type disk struct {
	mu     sync.Mutex
	log    []string // "+key" for an open, "-key" for a close
	open   int
	broken map[string]error
}

func (d *disk) opened(key string) (*file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, "+"+key)
	if err := d.broken[key]; err != nil {
		return nil, err
	}
	d.open++
	return &file{key: key}, nil
}

func (d *disk) closed(f *file) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, "-"+f.key)
	d.open--
	if f.closed.Swap(true) {
		return fmt.Errorf("%s is closed already", f.key)
	}
	return d.broken["-"+f.key]
}

// want checks what was opened and closed since the last call.
func (d *disk) want(t *testing.T, log ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.log, log) {
		t.Errorf("did %q, want %q", d.log, log)
	}
	d.log = nil
}

func newPool(limit int) (*Pool[string, *file], *disk) {
	d := &disk{broken: map[string]error{}}
	return New(limit, d.opened, d.closed), d
}

func acquire(t *testing.T, p *Pool[string, *file], key string) Handle[string, *file] {
	t.Helper()
	h, err := p.Acquire(key)
	if err != nil {
		t.Fatalf("Acquire(%q): %v", key, err)
	}
	if f := h.Value(); f.key != key || f.closed.Load() {
		t.Fatalf("Acquire(%q) = %q, closed %t", key, f.key, f.closed.Load())
	}
	return h
}

func use(t *testing.T, p *Pool[string, *file], keys ...string) {
	t.Helper()
	for _, key := range keys {
		acquire(t, p, key).Release()
	}
}

func wantStats(t *testing.T, p *Pool[string, *file], want Stats) {
	t.Helper()
	if got := p.Stats(); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

func TestPool_evictsLeastRecentlyReleased(t *testing.T) {
	p, d := newPool(3)
	use(t, p, "a", "b", "c", "a")
	d.want(t, "+a", "+b", "+c")
	use(t, p, "d")
	d.want(t, "-b", "+d") // closed first, so that there are never four
	use(t, p, "a", "c", "e")
	d.want(t, "-d", "+e")
	wantStats(t, p, Stats{Open: 3, Hits: 3, Misses: 5, Evictions: 2})
}

func TestPool_keepsPinned(t *testing.T) {
	p, d := newPool(2)
	a, a2 := acquire(t, p, "a"), acquire(t, p, "a")
	use(t, p, "b", "c")
	d.want(t, "+a", "+b", "-b", "+c")
	a.Release()
	use(t, p, "d")
	d.want(t, "-c", "+d")
	wantStats(t, p, Stats{Open: 2, Pinned: 1, Hits: 1, Misses: 4, Evictions: 2})
	a2.Release()
	use(t, p, "e", "f")
	d.want(t, "-d", "+e", "-a", "+f")
}

func TestPool_exceedsTheBoundOnlyByPins(t *testing.T) {
	for _, limit := range []int{-1, 0, 1, 2} {
		t.Run(fmt.Sprintf("max=%d", limit), func(t *testing.T) {
			p, d := newPool(limit)
			var handles []Handle[string, *file]
			for _, key := range []string{"a", "b", "c"} {
				handles = append(handles, acquire(t, p, key))
			}
			wantStats(t, p, Stats{Open: 3, Pinned: 3, Misses: 3})
			for _, h := range handles {
				h.Release()
			}
			bound := max(limit, 0)
			wantStats(t, p, Stats{Open: bound, Misses: 3, Evictions: uint64(3 - bound)})
			d.want(t, []string{"+a", "+b", "+c", "-a", "-b", "-c"}[:6-bound]...)
		})
	}
}

func TestPool_opensOnce(t *testing.T) {
	for _, broken := range []error{nil, errors.New("broken")} {
		t.Run(fmt.Sprint(broken), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{broken: map[string]error{"a": broken}}
				proceed := make(chan struct{})
				p := New(2, func(key string) (*file, error) {
					if key == "a" {
						<-proceed
					}
					return d.opened(key)
				}, d.closed)
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						h, err := p.Acquire("a")
						if err != broken {
							t.Errorf("Acquire: %v, want %v", err, broken)
						}
						if err == nil {
							h.Release()
						}
					})
				}
				synctest.Wait()
				use(t, p, "b") // another key does not wait
				d.want(t, "+b")
				wantStats(t, p, Stats{Open: 2, Pinned: 1, Hits: 4, Misses: 2})
				close(proceed)
				wg.Wait()
				d.want(t, "+a")
				want := Stats{Open: 2, Hits: 4, Misses: 2}
				if broken != nil {
					want.Open = 1
				}
				wantStats(t, p, want)
			})
		})
	}
}

func TestPool_openErrorIsNotKept(t *testing.T) {
	p, d := newPool(1)
	broken := errors.New("broken")
	d.broken["a"] = broken
	for range 2 {
		if _, err := p.Acquire("a"); err != broken {
			t.Errorf("Acquire: %v, want %v", err, broken)
		}
	}
	delete(d.broken, "a")
	use(t, p, "a")
	d.want(t, "+a", "+a", "+a")
	wantStats(t, p, Stats{Open: 1, Misses: 3})
}

func TestPool_openPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		proceed, first := make(chan struct{}), true
		p := New(1, func(key string) (*file, error) {
			if first {
				first = false
				<-proceed
				panic("broken")
			}
			return d.opened(key)
		}, d.closed)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("Acquire has swallowed a panic")
				}
			}()
			h, err := p.Acquire("a")
			t.Errorf("Acquire = %v, %v", h, err)
		})
		synctest.Wait()
		wg.Go(func() {
			if _, err := p.Acquire("a"); err == nil {
				t.Error("Acquire succeeds without a value")
			}
		})
		synctest.Wait()
		close(proceed)
		wg.Wait()
		wantStats(t, p, Stats{Hits: 1, Misses: 1})
		use(t, p, "a")
	})
}

func TestPool_forget(t *testing.T) {
	p, d := newPool(3)
	p.Forget("a")
	use(t, p, "a")
	p.Forget("a")
	d.want(t, "+a", "-a")

	// Pinned: the old value lives on beside the new one.
	old := acquire(t, p, "a")
	p.Forget("a")
	p.Forget("a")
	fresh := acquire(t, p, "a")
	d.want(t, "+a", "+a")
	if old.Value() == fresh.Value() {
		t.Error("Acquire after Forget gives the old value")
	}
	wantStats(t, p, Stats{Open: 2, Pinned: 2, Misses: 3})
	fresh.Release()
	d.want(t)
	old.Release()
	d.want(t, "-a")
	if !old.entry.value.closed.Load() || fresh.entry.value.closed.Load() {
		t.Error("the new value was closed in place of the old one")
	}
	wantStats(t, p, Stats{Open: 1, Misses: 3})
}

func TestPool_forgetWhileOpening(t *testing.T) {
	for _, broken := range []error{nil, errors.New("broken")} {
		t.Run(fmt.Sprint(broken), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{}
				proceed, first := make(chan struct{}), true
				p := New(2, func(key string) (*file, error) {
					if first {
						first = false
						<-proceed
						if broken != nil {
							return nil, broken
						}
					}
					return d.opened(key)
				}, d.closed)
				done := make(chan struct{})
				go func() {
					defer close(done)
					h, err := p.Acquire("a")
					if err != broken {
						t.Errorf("Acquire: %v, want %v", err, broken)
					}
					if err == nil {
						h.Release()
					}
				}()
				synctest.Wait()
				p.Forget("a")
				fresh := acquire(t, p, "a")
				close(proceed)
				<-done
				if broken == nil {
					d.want(t, "+a", "+a", "-a")
				} else {
					d.want(t, "+a")
				}
				if fresh.Value().closed.Load() {
					t.Error("the new value was closed in place of the old one")
				}
				fresh.Release()
				use(t, p, "a")
				wantStats(t, p, Stats{Open: 1, Hits: 1, Misses: 2})
			})
		})
	}
}

func TestPool_resize(t *testing.T) {
	p, d := newPool(4)
	use(t, p, "a", "b", "c", "d")
	h := acquire(t, p, "b")
	p.Resize(2)
	d.want(t, "+a", "+b", "+c", "+d", "-c", "-a")
	p.Resize(0)
	d.want(t, "-d")
	p.Resize(1)
	h.Release()
	d.want(t)
	wantStats(t, p, Stats{Open: 1, Hits: 1, Misses: 4, Evictions: 3})
}

func TestPool_close(t *testing.T) {
	p, d := newPool(2)
	evicted, closed, released := errors.New("evicted"), errors.New("closed"), errors.New("released")
	d.broken["-e"], d.broken["-c"], d.broken["-r"] = evicted, closed, released
	use(t, p, "e", "c")
	h := acquire(t, p, "r")
	d.want(t, "+e", "+c", "-e", "+r")
	if err := p.Close(); !errors.Is(err, evicted) || !errors.Is(err, closed) || errors.Is(err, released) {
		t.Errorf("Close: %v", err)
	}
	d.want(t, "-c")
	if _, err := p.Acquire("r"); err != ErrClosed {
		t.Errorf("Acquire after Close: %v, want %v", err, ErrClosed)
	}
	if h.Value().closed.Load() {
		t.Error("Close has closed a pinned value")
	}
	h.Release()
	d.want(t, "-r")
	if err := p.Close(); !errors.Is(err, released) || errors.Is(err, closed) {
		t.Errorf("second Close: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("third Close: %v", err)
	}
	if s := p.Stats(); s.Open != 0 || s.Pinned != 0 || d.open != 0 {
		t.Errorf("%d values are left open: %+v", d.open, s)
	}
}

func TestHandle_releasedTwice(t *testing.T) {
	for _, name := range []string{"at once", "pinned by another", "place in use again"} {
		t.Run(name, func(t *testing.T) {
			p, _ := newPool(1)
			h := acquire(t, p, "a")
			if name == "pinned by another" {
				acquire(t, p, "a")
			}
			h.Release()
			if name == "place in use again" {
				acquire(t, p, "a")
			}
			before := p.Stats()
			defer func() {
				if recover() == nil {
					t.Error("a second Release does not panic")
				}
				wantStats(t, p, before)
			}()
			h.Release()
		})
	}
}

// TestPool_stress checks, under the race detector, that no value is closed while
// in use, that the bound holds up to the pins that there are, and that nothing is
// left open.
func TestPool_stress(t *testing.T) {
	const limit, users = 4, 6
	p, d := newPool(limit)
	d.broken["d"] = errors.New("broken")
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var wg sync.WaitGroup
	for id := range uint64(users) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(id, 0))
			for range 2000 {
				key := keys[rng.IntN(len(keys))]
				switch rng.IntN(20) {
				case 0:
					p.Forget(key)
				case 1:
					p.Resize(rng.IntN(limit + 1))
				default:
					h, err := p.Acquire(key)
					if (err != nil) != (key == "d") {
						t.Errorf("Acquire(%q): %v", key, err)
					}
					if err != nil {
						continue
					}
					if f := h.Value(); f.key != key || f.closed.Load() {
						t.Errorf("%q is closed or another file while in use", key)
					}
					if s := p.Stats(); s.Open > max(limit, s.Pinned) {
						t.Errorf("more are open than the bound and the pins allow: %+v", s)
					}
					h.Release()
				}
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Open != d.open || s.Open > limit || s.Pinned != 0 {
		t.Errorf("Stats = %+v with %d open", s, d.open)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if d.open != 0 {
		t.Errorf("%d values are left open", d.open)
	}
}

func TestPool_hitAllocatesNothing(t *testing.T) {
	p, _ := newPool(2)
	use(t, p, "a")
	if n := testing.AllocsPerRun(100, func() {
		h, err := p.Acquire("a")
		if err != nil {
			t.Fatal(err)
		}
		h.Release()
	}); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

func BenchmarkPool_hit(b *testing.B) {
	p := New(100, func(key int) (int, error) { return key, nil }, func(int) error { return nil })
	b.ReportAllocs()
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		key := int(next.Add(1))
		for pb.Next() {
			key++
			h, err := p.Acquire(key % 100)
			if err != nil {
				b.Fatal(err)
			}
			h.Release()
		}
	})
}

func BenchmarkPool_miss(b *testing.B) {
	p := New(100, func(key int) (int, error) { return key, nil }, func(int) error { return nil })
	b.ReportAllocs()
	var key int
	for b.Loop() {
		key++
		h, err := p.Acquire(key)
		if err != nil {
			b.Fatal(err)
		}
		h.Release()
	}
}
