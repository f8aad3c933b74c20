package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is a server under load.
type world struct {
	t   *testing.T
	srv *server

	mu     sync.Mutex
	counts map[string]int
}

// count adds to what the test reports at its end.
func (w *world) count(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what] += n
}

// change asks for a change, and rests a little if the server is not there.
func (w *world) change(method, name string, body []byte, headers ...string) (reply, outcome) {
	r, o := w.srv.change(method, name, body, headers...)
	switch o {
	case acknowledged:
		w.count("changes acknowledged", 1)
	case unknown:
		w.count("changes with an unknown outcome", 1)
		rest()
	case unsent:
		rest()
	}
	return r, o
}

// rest lets others run when there is nothing to do but to try again.
func rest() { time.Sleep(time.Millisecond) }

// A writer changes streams of its own.
type writer interface {
	// write uses the server until stop is closed. The server may end meanwhile.
	write(w *world, stop <-chan struct{})
	// check compares the streams with what was acknowledged and with what was
	// there before. The server runs, and nobody writes.
	check(w *world)
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// series is a line of streams that a writer uses one after the other: each is
// closed and replaced when it is long, and deleted some time later.
type series struct {
	kind, contentType string
	limit             int // bytes after which a stream is replaced
	number            int
	old               []archived // closed, oldest first
	gone              []string   // deleted
}

type archived struct {
	name string
	content
}

// kept is how many closed streams of a series are not yet deleted.
const kept = 3

func (s *series) name() string { return fmt.Sprintf("%s/%d", s.kind, s.number) }

// replace goes on to the next stream. The one before is closed and holds now.
func (s *series) replace(w *world, now []byte) {
	s.old = append(s.old, archived{s.name(), content{http.StatusOK, true, string(now)}})
	if len(s.old) > kept {
		w.srv.must(w.t, http.StatusNoContent, "DELETE", s.old[0].name, nil)
		s.gone = append(s.gone, s.old[0].name)
		s.old = s.old[1:]
	}
	s.number++
	s.create(w)
}

func (s *series) create(w *world) {
	w.srv.must(w.t, http.StatusCreated, "PUT", s.name(), nil, "Content-Type: "+s.contentType)
}

// checkOld checks streams that were closed or deleted: all of them, or else one.
func (s *series) checkOld(w *world, rng *rand.Rand, all bool) {
	w.t.Helper()
	for i, a := range s.old {
		if all || i == rng.IntN(len(s.old)) {
			w.expect(a.name, a.content)
		}
	}
	for i, name := range s.gone {
		if all || i >= len(s.gone)-2 {
			w.expect(name, content{status: http.StatusNotFound})
		}
	}
}

func (w *world) expect(name string, want content) {
	w.t.Helper()
	if got := w.srv.read(w.t, name); got != want {
		w.t.Fatalf("%s: %s\nwant %s\n%s", name, got, want, difference([]byte(got.bytes), []byte(want.bytes)))
	}
}

// present reads the current stream, which is open and begins with before.
func (s *series) present(w *world, before []byte) []byte {
	w.t.Helper()
	got := w.srv.read(w.t, s.name())
	if got.status != http.StatusOK || got.closed {
		w.t.Fatalf("%s: %s", s.name(), got)
	}
	now := []byte(got.bytes)
	if !bytes.HasPrefix(now, before) {
		w.t.Fatalf("%s: what was there has changed: %s", s.name(), difference(now, before))
	}
	return now
}

// soloist is the only writer of a stream. Its requests carry a Stream-Seq or not;
// with one, it repeats what has no answer.
type soloist struct {
	series
	seq      bool
	min, max int // bytes of an append

	rng     *rand.Rand
	n       int
	now     []byte // acknowledged or seen
	pending []byte // has no answer
	// applied says that pending was found, and is in now.
	applied bool
}

func (s *soloist) write(w *world, stop <-chan struct{}) {
	if s.pending != nil && !s.seq {
		return // only check can tell
	}
	for !stopped(stop) {
		if s.pending == nil {
			s.n++
			s.pending = payload(s.contentType, fmt.Sprintf("%s.%d", s.kind, s.n), s.min+s.rng.IntN(s.max-s.min))
			s.applied = false
		}
		headers := []string{"Content-Type: " + s.contentType}
		if s.seq {
			headers = append(headers, fmt.Sprintf("Stream-Seq: %09d", s.n))
		}
		r, o := w.change("POST", s.name(), s.pending, headers...)
		switch {
		case o == acknowledged && !s.applied:
			s.now = append(s.now, s.pending...)
			if r.next() != int64(len(s.now)) {
				w.t.Errorf("%s: append %d was acknowledged at %d, want %d", s.name(), s.n, r.next(), len(s.now))
				return
			}
		case o == refused && r.status == http.StatusConflict && s.seq:
			// It happened, and the answer was lost.
			if !s.applied {
				s.now = append(s.now, s.pending...)
			}
			w.count("repeated Stream-Seq refused", 1)
		case o == unsent, o == unknown && s.seq:
			if s.seq {
				continue // the same again
			}
		case o == unknown:
			return
		default:
			w.t.Errorf("%s: append %d, applied before %t: status %d: %s", s.name(), s.n, s.applied, r.status, short(r.body))
			return
		}
		s.pending = nil
	}
}

func (s *soloist) check(w *world) {
	now := s.present(w, s.now)
	switch tail := now[len(s.now):]; {
	case len(tail) == 0:
	case s.pending != nil && !s.applied && bytes.Equal(tail, s.pending):
		s.now, s.applied = now, true
		w.count("changes without an answer that happened", 1)
	default:
		w.t.Fatalf("%s: %s", s.name(), difference(now, append(s.now, s.pending...)))
	}
	if !s.seq {
		s.pending = nil // at most once
	}
	s.checkOld(w, s.rng, false)
	if len(s.now) > s.limit && s.pending == nil {
		w.srv.must(w.t, http.StatusNoContent, "POST", s.name(), nil, "Stream-Closed: true")
		s.replace(w, s.now)
		s.now = nil
	}
}

func (s *soloist) known() []byte { return s.now }

// crowd is several clients that write to one stream: bytes or JSON batches, with
// or without an expected offset.
type crowd struct {
	series
	writers int
	compare bool // append only at the offset that the client believes is the tail

	rng *rand.Rand
	mu  sync.Mutex
	n   int
	now []byte // at the last check
	// records are those that check has not seen yet, by id.
	records map[string]record
}

// record is an append that was sent.
type record struct {
	bytes []byte
	// begin is where it must be, end where the acknowledgement says that it ends;
	// -1 if unknown.
	begin, end int64
}

func (c *crowd) write(w *world, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for i := range c.writers {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), uint64(i)))
		wg.Go(func() { c.writeOne(w, rng, stop) })
	}
	wg.Wait()
}

func (c *crowd) writeOne(w *world, rng *rand.Rand, stop <-chan struct{}) {
	tail := int64(len(c.now))
	for !stopped(stop) {
		c.mu.Lock()
		c.n++
		id := fmt.Sprintf("%s.%d", c.kind, c.n)
		c.mu.Unlock()
		var body, stored []byte
		if c.contentType == typeJSON {
			body, stored = batch(id, 1+rng.IntN(5), 1+rng.IntN(500))
		} else {
			body = payload(c.contentType, id, 1+rng.IntN(2000))
			stored = body
		}
		rec := record{bytes: stored, begin: -1, end: -1}
		headers := []string{"Content-Type: " + c.contentType}
		if c.compare {
			rec.begin = tail
			headers = append(headers, `If-Match: "`+offset(tail)+`"`)
		}
		r, o := w.change("POST", c.name(), body, headers...)
		switch {
		case o == unsent:
			continue
		case o == unknown:
		case o == acknowledged:
			rec.end = r.next()
			if rec.end < int64(len(stored)) {
				w.t.Errorf("%s: %s was acknowledged at %d", c.name(), id, rec.end)
			}
			tail = rec.end
		case r.status == http.StatusPreconditionFailed && c.compare && r.next() != tail:
			tail = r.next()
			continue
		default:
			w.t.Errorf("%s: %s: status %d: %s", c.name(), id, r.status, short(r.body))
			return
		}
		c.mu.Lock()
		c.records[id] = rec
		c.mu.Unlock()
	}
}

func (c *crowd) check(w *world) {
	now := c.present(w, c.now)
	idAt := idOf
	if c.contentType == typeJSON {
		idAt = idOfBatch
	}
	for at := len(c.now); at < len(now); {
		id := idAt(now[at:])
		rec, sent := c.records[id]
		begin, end := int64(at), int64(at+len(rec.bytes))
		switch {
		case !sent:
			w.t.Fatalf("%s: at byte %d is what was never sent, or is there already, or should have been lost: %q", c.name(), at, id)
		case !bytes.HasPrefix(now[at:], rec.bytes):
			w.t.Fatalf("%s: %s at byte %d: %s", c.name(), id, at, difference(now[at:min(len(now), int(end))], rec.bytes))
		case rec.begin >= 0 && rec.begin != begin:
			w.t.Fatalf("%s: %s begins at %d and insisted on %d", c.name(), id, begin, rec.begin)
		case rec.end >= 0 && rec.end != end:
			w.t.Fatalf("%s: %s ends at %d and was acknowledged at %d", c.name(), id, end, rec.end)
		case rec.end < 0:
			w.count("changes without an answer that happened", 1)
		}
		delete(c.records, id)
		at = int(end)
	}
	for id, rec := range c.records {
		if rec.end >= 0 {
			w.t.Fatalf("%s: %s was acknowledged at %d and is not there; the stream has %d bytes", c.name(), id, rec.end, len(now))
		}
	}
	clear(c.records) // those without an answer were lost for good
	c.now = now
	c.checkOld(w, c.rng, false)
	if len(c.now) > c.limit {
		// Whoever closes says the last word.
		last, stored := []byte("the end"), []byte("the end")
		if c.contentType == typeJSON {
			last, stored = []byte(` "the end" `), []byte("\"the end\",\n")
		}
		w.srv.must(w.t, http.StatusNoContent, "POST", c.name(), last, "Stream-Closed: true", "Content-Type: "+c.contentType)
		w.srv.must(w.t, http.StatusConflict, "POST", c.name(), last, "Content-Type: "+c.contentType)
		c.replace(w, append(c.now, stored...))
		c.now = nil
	}
}

func (c *crowd) known() []byte { return c.now }

// creator makes small streams and does not come back to them before the check.
type creator struct {
	rng *rand.Rand
	mu  sync.Mutex
	n   int
	// made are what acknowledged creations made, open what may be there or not.
	made, maybe []archived
}

func (c *creator) write(w *world, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for i := range 2 {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), uint64(i)))
		wg.Go(func() {
			for !stopped(stop) {
				c.mu.Lock()
				c.n++
				name := fmt.Sprintf("create/%d/%s", c.n, strings.Repeat("x", rng.IntN(50)))
				c.mu.Unlock()
				a := archived{name, content{http.StatusOK, rng.IntN(2) == 0, string(payload(typeText, name, rng.IntN(600)))}}
				r, o := w.change("PUT", name, []byte(a.bytes), fmt.Sprintf("Stream-Closed: %t", a.closed))
				c.mu.Lock()
				switch {
				case o == unknown:
					c.maybe = append(c.maybe, a)
				case r.status == http.StatusCreated && r.next() == int64(len(a.bytes)):
					c.made = append(c.made, a)
				case o != unsent:
					w.t.Errorf("PUT %s: status %d, next offset %d: %s", name, r.status, r.next(), short(r.body))
				}
				c.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func (c *creator) check(w *world) {
	for _, a := range c.maybe {
		if got := w.srv.read(w.t, a.name); got.status == http.StatusNotFound {
			continue
		} else if got != a.content {
			w.t.Fatalf("%s, whose creation had no answer: %s\nwant %s", a.name, got, a.content)
		}
		// Asked again, it is as it was.
		w.srv.must(w.t, http.StatusOK, "PUT", a.name, []byte(a.bytes), fmt.Sprintf("Stream-Closed: %t", a.closed))
		w.count("changes without an answer that happened", 1)
		c.made = append(c.made, a)
	}
	c.maybe = nil
	sample := c.made[max(0, len(c.made)-50):]
	for _, a := range sample {
		w.expect(a.name, a.content)
	}
	for range min(50, len(c.made)) {
		a := c.made[c.rng.IntN(len(c.made))]
		w.expect(a.name, a.content)
	}
}
