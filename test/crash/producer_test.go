package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
)

// producer is an idempotent producer with several requests in flight. It sends
// everything until it is acknowledged, so in the end all of it is there once.
type producer struct {
	series
	rng *rand.Rand

	mu   sync.Mutex
	ends []int64 // where message i ends, as far as messages were made
	// base is the message with which the epoch began.
	epoch, base int
	acked       []bool
	todo        []int // made and neither acknowledged nor in flight, ascending
	// found is how many messages were there at the last check: only sending them
	// again can have an answer that they are duplicates.
	found int
	now   []byte
	// finish makes write return when nothing is left.
	finish bool
}

const (
	producerWindow = 16
	producerConns  = 6
)

// message returns message i, whenever it is asked for.
func (p *producer) message(i int) []byte {
	id := fmt.Sprintf("%s.%d", p.name(), i)
	return payload(p.contentType, id, 1+int(newRand(id).Uint64()%3000))
}

// take returns the next message to send, false if there is none now.
func (p *producer) take() (i int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.todo) > 0 {
		i, p.todo = p.todo[0], p.todo[1:]
		return i, true
	}
	oldest := slices.Index(p.acked, false)
	if p.finish || oldest >= 0 && len(p.ends)-oldest >= producerWindow {
		return 0, false
	}
	i = len(p.ends)
	p.make()
	return i, true
}

// make makes one more message.
func (p *producer) make() {
	var end int64
	if n := len(p.ends); n > 0 {
		end = p.ends[n-1]
	}
	p.ends = append(p.ends, end+int64(len(p.message(len(p.ends)))))
	p.acked = append(p.acked, false)
}

// put gives a message back that has no answer.
func (p *producer) put(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, _ := slices.BinarySearch(p.todo, i)
	p.todo = slices.Insert(p.todo, at, i)
}

func (p *producer) headers(i int) []string {
	return []string{
		"Content-Type: " + p.contentType, "Producer-Id: p", fmt.Sprintf("Producer-Epoch: %d", p.epoch),
		fmt.Sprintf("Producer-Seq: %d", i-p.base),
	}
}

func (p *producer) write(w *world, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for range producerConns {
		wg.Go(func() {
			for !stopped(stop) {
				i, ok := p.take()
				switch {
				case ok && !p.send(w, i):
					return
				case !ok && p.done():
					return
				case !ok:
					rest()
				}
			}
		})
	}
	wg.Wait()
}

// sent returns all messages that were made.
func (p *producer) sent() (all []byte) {
	for i := range p.ends {
		all = append(all, p.message(i)...)
	}
	return all
}

// done reports whether everything is acknowledged and nothing more will come.
func (p *producer) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.finish && !slices.Contains(p.acked, false)
}

// send sends message i and reports whether the producer can go on.
func (p *producer) send(w *world, i int) bool {
	r, o := w.change("POST", p.name(), p.message(i), p.headers(i)...)
	p.mu.Lock()
	end, found := p.ends[i], p.found
	p.mu.Unlock()
	switch {
	case o == unsent, o == unknown:
		p.put(i)
	case r.status == http.StatusConflict && r.header.Get("Producer-Expected-Seq") != "":
		// An earlier one is still on its way.
		w.count("producer's requests out of order", 1)
		p.put(i)
		rest()
	case r.status == http.StatusOK && i >= found && r.next() == end:
		p.ack(i)
	case r.status == http.StatusNoContent && r.next() >= end:
		w.count("producer's retries that were duplicates", 1)
		p.ack(i)
	default:
		w.t.Errorf("%s: message %d, which ends at %d, with %d messages found: status %d, next offset %d: %s",
			p.name(), i, end, found, r.status, r.next(), short(r.body))
		return false
	}
	return true
}

func (p *producer) ack(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked[i] = true
}

func (p *producer) check(w *world) {
	now := p.present(w, p.now)
	var want []byte
	n := 0
	for ; n < len(p.ends) && p.ends[n] <= int64(len(now)); n++ {
		want = append(want, p.message(n)...)
	}
	if !bytes.Equal(now, want) {
		w.t.Fatalf("%s: %d messages: %s", p.name(), n, difference(now, want))
	}
	if lost := slices.Index(p.acked[n:], true); lost >= 0 {
		w.t.Fatalf("%s: message %d was acknowledged, and the stream has %d", p.name(), n+lost, n)
	}
	p.now, p.found = now, n
	if n > p.base {
		// Once more, whether it was acknowledged or not.
		w.srv.must(w.t, http.StatusNoContent, "POST", p.name(), p.message(n-1), p.headers(n-1)...)
		w.count("producer's retries that were duplicates", 1)
	}
	p.checkOld(w, p.rng, false)
	if p.rng.IntN(2) == 0 {
		return // what has no answer is sent again while others write
	}
	p.finish = true
	p.write(w, nil)
	p.finish = false
	n = len(p.ends)
	now = w.srv.mustRead(w.t, p.name())
	if p.now = p.sent(); !bytes.Equal(now, p.now) {
		w.t.Fatalf("%s: %s", p.name(), difference(now, p.now))
	}
	p.found = n
	switch {
	case len(now) > p.limit:
		// The last message closes the stream; its retry is a duplicate as well.
		closing := append(p.headers(n), "Stream-Closed: true")
		p.make()
		last := p.message(n)
		w.srv.must(w.t, http.StatusOK, "POST", p.name(), last, closing...)
		w.srv.must(w.t, http.StatusNoContent, "POST", p.name(), last, closing...)
		p.replace(w, append(now, last...))
		p.ends, p.acked, p.now, p.found, p.epoch, p.base = nil, nil, nil, 0, 0, 0
	case n > p.base:
		// A new instance of the producer fences the old one off.
		old := p.headers(n)
		p.epoch, p.base = p.epoch+1, n
		p.make()
		r := w.srv.must(w.t, http.StatusOK, "POST", p.name(), p.message(n), p.headers(n)...)
		if r.next() != p.ends[n] {
			w.t.Fatalf("%s: the first message of epoch %d ends at %d, want %d", p.name(), p.epoch, r.next(), p.ends[n])
		}
		p.ack(n)
		w.srv.must(w.t, http.StatusForbidden, "POST", p.name(), p.message(n), old...)
		w.count("producer's epochs", 1)
	}
}

func (p *producer) known() []byte { return p.now }
