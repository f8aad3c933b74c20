package crash

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
)

// families are groups of three names, of which each may be a stream of its own or
// a fork of the one before it: they are created, forked, written to, closed and
// deleted at random.
type families struct {
	rng *rand.Rand
	mu  sync.Mutex
	n   int
	all []*family
	// touched were changed since the last check.
	touched []*family
}

type family struct {
	name  string
	state familyState
	// after is what the state is if a change without an answer has happened.
	after *familyState
	n     int
}

type familyState [3]member

type member struct {
	content
	forked bool // from the one before
}

// held reports whether member i has a fork that needs it.
func (s *familyState) held(i int) bool {
	return i+1 < len(s) && s[i+1].status != http.StatusNotFound && s[i+1].forked
}

// remove deletes member i, and with it what only it has held.
func (s *familyState) remove(i int) {
	if s.held(i) {
		s[i].content = content{status: http.StatusGone}
		return
	}
	forked := s[i].forked
	s[i] = member{content: content{status: http.StatusNotFound}}
	if forked && s[i-1].status == http.StatusGone && !s.held(i-1) {
		s.remove(i - 1)
	}
}

func (f *family) member(i int) string { return fmt.Sprintf("%s/%d", f.name, i) }

func (f *families) write(w *world, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for i := range 3 {
		rng := rand.New(rand.NewPCG(f.rng.Uint64(), uint64(i)))
		wg.Go(func() {
			for !stopped(stop) {
				one := f.pick(rng)
				for n := 2 + rng.IntN(10); n > 0 && !stopped(stop) && one.after == nil; n-- {
					one.change(w, rng)
				}
			}
		})
	}
	wg.Wait()
}

// pick returns a new family. Old ones are left alone, so that they are found in
// segments and not only in memory; and now and then one of them is taken up again.
func (f *families) pick(rng *rand.Rand) *family {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) > 0 && rng.IntN(4) == 0 {
		i := rng.IntN(len(f.all))
		one := f.all[i]
		f.all[i] = f.all[len(f.all)-1]
		f.all = f.all[:len(f.all)-1]
		f.touched = append(f.touched, one)
		return one
	}
	f.n++
	one := &family{name: fmt.Sprintf("family/%d", f.n)}
	for i := range one.state {
		one.state[i].status = http.StatusNotFound
	}
	f.touched = append(f.touched, one)
	return one
}

// change makes one random change.
func (f *family) change(w *world, rng *rand.Rand) {
	i := rng.IntN(len(f.state))
	name := f.member(i)
	after := f.state
	m := &after[i]
	f.n++
	body := payload(typeText, fmt.Sprintf("%s.%d", f.name, f.n), 1+rng.IntN(400))
	var r reply
	var o outcome
	want := http.StatusNoContent
	switch action := rng.IntN(10); {
	case m.status == http.StatusNotFound && i > 0 && f.state[i-1].status == http.StatusOK && action < 7:
		source := f.state[i-1].bytes
		at := rng.IntN(len(source) + 1)
		*m = member{content{http.StatusOK, false, source[:at] + string(body)}, true}
		r, o = w.change("PUT", name, body, "Stream-Forked-From: /v1/stream/"+f.member(i-1), "Stream-Fork-Offset: "+offset(int64(at)))
		want = http.StatusCreated
	case m.status == http.StatusNotFound:
		*m = member{content: content{http.StatusOK, false, string(body)}}
		r, o = w.change("PUT", name, body)
		want = http.StatusCreated
	case m.status == http.StatusGone && action < 5:
		r, o = w.change("PUT", name, body) // the name is blocked
		want = http.StatusConflict
	case m.status == http.StatusGone:
		r, o = w.change("POST", name, body)
		want = http.StatusGone
	case action < 3:
		after.remove(i)
		r, o = w.change("DELETE", name, nil)
	case m.closed:
		r, o = w.change("POST", name, body)
		want = http.StatusConflict
	case action < 5:
		if action == 3 {
			body = nil
		}
		m.closed, m.bytes = true, m.bytes+string(body)
		r, o = w.change("POST", name, body, "Stream-Closed: true")
	default:
		m.bytes += string(body)
		r, o = w.change("POST", name, body)
	}
	switch {
	case o == unsent:
	case o == unknown:
		f.after = &after
	case r.status != want:
		w.t.Errorf("%s: status %d, want %d: %s", name, r.status, want, short(r.body))
		f.after = &after // leave it alone
	case o == acknowledged && m.status == http.StatusOK && r.next() != int64(len(m.bytes)):
		w.t.Errorf("%s: acknowledged at %d, want %d", name, r.next(), len(m.bytes))
	case o == acknowledged:
		f.state = after
	}
}

// now reads the whole family.
func (f *family) now(w *world) (s [3]content) {
	for i := range s {
		s[i] = w.srv.read(w.t, f.member(i))
	}
	return s
}

func (s *familyState) contents() (c [3]content) {
	for i := range s {
		c[i] = s[i].content
	}
	return c
}

func (f *family) check(w *world) {
	w.t.Helper()
	now := f.now(w)
	switch {
	case now == f.state.contents():
	case f.after != nil && now == f.after.contents():
		f.state = *f.after
		w.count("changes without an answer that happened", 1)
	default:
		w.t.Fatalf("%s:\n%s\nwant\n%s\nor, if not nil,\n%v", f.name, now, f.state.contents(), f.after)
	}
	f.after = nil
}

func (f *families) check(w *world) {
	for _, one := range f.touched {
		one.check(w)
	}
	f.all = append(f.all, f.touched...)
	f.touched = nil
	for range min(20, len(f.all)) {
		f.all[f.rng.IntN(len(f.all))].check(w)
	}
}

func (f *families) checkAll(w *world) {
	for _, one := range f.all {
		one.check(w)
	}
}
