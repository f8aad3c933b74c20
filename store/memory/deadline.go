package memory

import (
	"container/heap"
	"sync"
	"time"
)

// maxNap bounds how long the sweeper sleeps while a stream may expire. Deadlines
// are instants of the wall clock, which may be set or run on during a suspend,
// and a timer does not notice.
const maxNap = time.Second

// deadlines orders the streams that may expire by when they do. A renewal does
// not touch it: an entry whose time comes too early is pushed again.
type deadlines struct {
	mu   sync.Mutex
	heap deadlineHeap
	// earlier has a capacity of one and is filled when the earliest deadline
	// comes closer.
	earlier chan struct{}
}

type deadline struct {
	at     time.Time
	stream *stream
}

// add enters a stream under its deadline, if it has one. Nobody else has seen
// the stream yet.
func (d *deadlines) add(s *stream) {
	at, ok := s.state.Expiry.Deadline(s.state.Accessed)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	heap.Push(&d.heap, deadline{at: at, stream: s})
	if d.heap[0].stream != s {
		return
	}
	select {
	case d.earlier <- struct{}{}:
	default:
	}
}

// renew moves a stream's entry to its present deadline; one that has ended needs
// none. The stream's lock is held.
func (d *deadlines) renew(s *stream) {
	if s.removed || s.state.Deleted {
		d.remove(s)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.heapIndex != 0 {
		d.heap[s.heapIndex-1].at, _ = s.state.Expiry.Deadline(s.state.Accessed)
		heap.Fix(&d.heap, s.heapIndex-1)
	}
}

func (d *deadlines) remove(s *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.heapIndex != 0 {
		heap.Remove(&d.heap, s.heapIndex-1)
	}
}

// next returns a stream whose entry is due at now. If there is none it returns how
// long to wait for one; ok is false if there are no entries at all.
func (d *deadlines) next(now time.Time) (due *stream, wait time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.heap) == 0 {
		return nil, 0, false
	}
	first := d.heap[0]
	if wait := first.at.Sub(now); wait > 0 {
		return nil, wait, true
	}
	return first.stream, 0, true
}

// due reports whether some entry is due at now.
func (d *deadlines) due(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.heap) > 0 && !d.heap[0].at.After(now)
}

// sweep removes expired streams until the store is closed, so that their memory
// is freed even if nobody asks for them again.
func (m *Store) sweep() {
	defer close(m.swept)
	for {
		now := m.now()
		s, wait, ok := m.deadlines.next(now)
		if s != nil && !m.closed.Load() {
			m.tree.Lock()
			m.expire(s, now)
			m.tree.Unlock()
			continue
		}
		var nap <-chan time.Time
		if ok {
			nap = time.After(min(wait, maxNap))
		}
		select {
		case <-m.done:
			return
		case <-m.deadlines.earlier:
		case <-nap:
		}
	}
}

// deadlineHeap implements heap.Interface and tells streams their places.
type deadlineHeap []deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].stream.heapIndex, h[j].stream.heapIndex = i+1, j+1
}

func (h *deadlineHeap) Push(x any) {
	d := x.(deadline)
	*h = append(*h, d)
	d.stream.heapIndex = len(*h)
}

func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = deadline{}
	*h = (*h)[:last]
	d.stream.heapIndex = 0
	return d
}
