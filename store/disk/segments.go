package disk

import (
	"slices"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/segment"
)

// segments are the store's segment files: how full of living data they are, and
// how many readers need them.
type segments struct {
	mu   sync.Mutex
	stat map[uint64]*segmentStat
	refs map[uint64]int // readers that hold parts of a segment
	// dropped segments are superseded; their files go when refs allows.
	dropped map[uint64]bool
	// removable is called, without the lock, when a dropped segment loses its
	// last reader.
	removable func()
}

func (g *segments) init(removable func()) {
	g.stat = make(map[uint64]*segmentStat)
	g.refs = make(map[uint64]int)
	g.dropped = make(map[uint64]bool)
	g.removable = removable
}

func (g *segments) ref(parts []part) {
	if !slices.ContainsFunc(parts, part.stored) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range parts {
		if p.stored() {
			g.refs[p.segment]++
		}
	}
}

func (g *segments) unref(parts []part) {
	if !slices.ContainsFunc(parts, part.stored) {
		return
	}
	wake := false
	g.mu.Lock()
	for _, p := range parts {
		if !p.stored() {
			continue
		}
		if g.refs[p.segment]--; g.refs[p.segment] == 0 {
			delete(g.refs, p.segment)
			wake = wake || g.dropped[p.segment]
		}
	}
	g.mu.Unlock()
	if wake {
		g.removable()
	}
}

func (p part) stored() bool { return p.memory == nil && p.len > 0 }

// dead counts bytes that no stream has any more.
func (g *segments) dead(extents []extent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range extents {
		if st := g.stat[x.segment]; st != nil {
			st.live -= x.len
		}
	}
}

// setLive replaces all counts of living bytes.
func (g *segments) setLive(live map[uint64]int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, st := range g.stat {
		st.live = live[n]
	}
}

func (g *segments) spoil(number uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if st := g.stat[number]; st != nil {
		st.spoiled = true
	}
}

// kill is segments.dead for a copy of what they are.
func kill(stats []segmentStat, extents []extent) {
	for _, x := range extents {
		for i := range stats {
			if stats[i].number == x.segment {
				stats[i].live -= x.len
				break
			}
		}
	}
}

func (g *segments) add(st segmentStat) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stat[st.number] = &st
}

// drop takes segments out of use.
func (g *segments) drop(numbers []uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range numbers {
		delete(g.stat, n)
		g.dropped[n] = true
	}
}

// list returns what is known of all segments in use, by number, and the dropped
// ones that still have a file.
func (g *segments) list() (stats []segmentStat, dropped []uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, st := range g.stat {
		stats = append(stats, *st)
	}
	slices.SortFunc(stats, func(a, b segmentStat) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	for n := range g.dropped {
		dropped = append(dropped, n)
	}
	slices.Sort(dropped)
	return stats, dropped
}

// collectable returns the dropped segments without readers.
func (g *segments) collectable() (numbers []uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := range g.dropped {
		if g.refs[n] == 0 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func (g *segments) gone(number uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.dropped, number)
}

func statOf(i segment.Info, live int64) segmentStat {
	return segmentStat{
		number: i.Number, size: i.DataEnd, live: live, oldest: i.Oldest, newest: i.Newest,
		tombstones: i.Tombstones, checkpoint: i.Checkpoint,
	}
}
