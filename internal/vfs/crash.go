package vfs

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
)

// CrashMode says what happens in a crash to what was not synced.
type CrashMode int

const (
	// CrashLoseAll is a power loss before the system has written anything back:
	// everything that was not synced is gone.
	CrashLoseAll CrashMode = iota
	// CrashKeepAll is the death of the process alone (kill -9): everything is
	// kept. What was not synced still is not: a later power loss can take it away
	// from under a successor that believes what it reads.
	CrashKeepAll
	// CrashRandom is a power loss at some moment of the system's writing back: of
	// what was not synced, some is kept, some is lost and some is torn.
	CrashRandom
)

// CrashOptions configures [Mem.CrashClone].
type CrashOptions struct {
	// Mode is CrashLoseAll by default.
	Mode CrashMode
}

// CrashClone returns the file system as it might be found after a crash at this
// moment: independent of m, with the same capacity, without open files and
// locks. After a power loss all of it is durable; see [CrashKeepAll] for the
// other case. m is not changed, and clones share its pages until one of them
// writes, so that a clone costs a few words per page.
//
// rng decides in CrashRandom and may be nil in the other modes. The result
// depends on nothing but its numbers and the operations done before. The model:
//
//   - Bytes. Each 4 KiB page written since the last sync is kept, lost or torn,
//     whatever becomes of the others and in whatever order they were written. A
//     torn page has a prefix of its 512-byte sectors new and the rest old. Of
//     several writes to one page only the last state is considered. Where an old
//     page did not exist the bytes are zeros; stale bytes of other files, which
//     only misconfigured file systems show, are not considered.
//   - Size. A file that has grown has its old size, its new one, or one between
//     them that ends a page, whatever becomes of the pages: a grown file can have
//     zeros in place of data, and written data be cut off by an old size.
//   - Truncation. If the file was cut below its synced size, then either that is
//     lost as a whole (old size; from the cut on the old bytes, and nothing of
//     what was written there later), or what was cut off never comes back.
//   - Names. Each creation, removal and rename since the last SyncDir is kept or
//     lost as a whole, together with what it depends on: it is kept only if the
//     pending ones before it that touch the same names are. The removal of a
//     directory depends on the changes inside it, the move of a directory to
//     another one on everything before. Apart from that, order means nothing: a
//     later removal can be kept and an earlier creation lost. A file moved to
//     another directory of which only the new one was synced can have both names.
//
// Each file, and the names together, get a disposition first (nearly all kept,
// nearly all lost, even chances), because independent even chances alone would
// hardly ever leave a large write nearly complete.
func (m *Mem) CrashClone(rng *rand.Rand, opts CrashOptions) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()

	if opts.Mode == CrashKeepAll {
		return m.cloneAll()
	}
	keep := func() bool { return false }
	if opts.Mode == CrashRandom {
		keep = disposition(rng)
	}
	c := &cloner{to: m.emptyClone(), nodes: map[*memNode]*memNode{}}
	c.namesOf = crashNames(m.pending, keep)
	c.to.root = c.node(m.root)
	// In the order of creation, since maps were walked in none.
	slices.SortFunc(c.files, func(a, b clonedFile) int { return cmp.Compare(a.to.id, b.to.id) })
	for _, f := range c.files {
		if opts.Mode == CrashRandom {
			f.to.data = f.from.data.crash(rng)
		} else {
			f.to.data = f.from.data.afterLoss()
		}
		c.to.used += f.to.data.pages
	}
	return c.to
}

// disposition returns a coin with a randomly chosen bias.
func disposition(rng *rand.Rand) func() bool {
	p := [...]float64{0.03, 0.5, 0.97}[rng.IntN(3)]
	return func() bool { return rng.Float64() < p }
}

// afterLoss returns the synced image.
func (d *memData) afterLoss() *memData {
	return d.image(d.syncedSize, func(i int) *page { return d.slots[i].synced })
}

// crash returns an image that the system may have come to on its way from the
// synced to the current one.
func (d *memData) crash(rng *rand.Rand) *memData {
	if len(d.dirty) == 0 && d.size == d.syncedSize && d.low == d.size {
		return d.image(d.size, nil)
	}
	keep := disposition(rng)
	written := func(i int, old *page) *page {
		kept := keep()
		if rng.IntN(8) == 0 {
			return torn(d.slots[i].cur, old, 1+rng.IntN(pageSize/sectorSize-1))
		}
		if kept {
			return d.slots[i].cur
		}
		return old
	}

	if d.low < d.syncedSize && !keep() {
		return d.image(d.syncedSize, func(i int) *page {
			old := d.slots[i].synced
			if int64(i+1)*pageSize > d.low {
				return old
			}
			return written(i, old)
		})
	}
	size := d.low
	if grown := d.size - d.low; grown > 0 {
		switch {
		case keep():
			size = d.size
		case rng.IntN(4) == 0:
			size = max(d.low, (d.low+rng.Int64N(grown))/pageSize*pageSize)
		}
	}
	return d.image(size, func(i int) *page {
		old := d.slots[i].synced
		if start := int64(i) * pageSize; start >= d.low {
			old = nil
		} else {
			old = cut(old, d.low-start)
		}
		return written(i, old)
	})
}

// torn returns a page with the first sectors of cur and the rest of old.
func torn(cur, old *page, sectors int) *page {
	p := new(page)
	if old != nil {
		*p = *old
	}
	if cur != nil {
		copy(p[:sectors*sectorSize], cur[:])
	} else {
		clear(p[:sectors*sectorSize])
	}
	return p
}

// zeros is what a nil page reads as. It is never written.
var zeros page

// cut returns p with zeros from position at on, which is p itself where nothing
// has to change.
func cut(p *page, at int64) *page {
	if p == nil || at >= pageSize || bytes.Equal(p[at:], zeros[at:]) {
		return p
	}
	q := new(page)
	copy(q[:at], p[:at])
	return q
}

// image returns a file of the given size, all of it durable, in which written
// chooses the pages whose images may differ.
func (d *memData) image(size int64, written func(i int) *page) *memData {
	img := &memData{size: size, syncedSize: size, low: size}
	img.slots = make([]slot, pagesFor(size))
	for i := range min(len(img.slots), len(d.slots)) {
		img.slots[i].cur = d.slots[i].cur
	}
	for _, i := range d.dirty {
		d.slots[i].owned = false // the image may hold it from now on
		if i < len(img.slots) {
			img.slots[i].cur = written(i)
		}
	}
	if n := len(img.slots); n > 0 {
		last := &img.slots[n-1]
		last.cur = cut(last.cur, size-int64(n-1)*pageSize)
	}
	for i := range img.slots {
		s := &img.slots[i]
		s.synced = s.cur
		if s.cur != nil {
			img.pages++
		}
	}
	return img
}
