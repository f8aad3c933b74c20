package vfs

import "slices"

const (
	// pageSize is the unit in which Mem stores bytes, tracks what is unsynced and
	// charges for space, as the page caches of real systems do.
	pageSize = 4096
	// sectorSize is the largest piece that a disk writes whole or not at all.
	sectorSize = 512
)

// page holds pageSize bytes. A nil page reads as zeros and takes no space.
type page [pageSize]byte

// slot is one page of a file in its two images.
type slot struct {
	// cur is what reads see, synced what a power loss is sure to leave.
	cur, synced *page
	// dirty is set while the slot's index is in memData.dirty.
	dirty bool
	// owned is set while nothing but cur points to the page, so that it may be
	// written in place. The synced image and every clone are such others.
	owned bool
	// lost is set when a sync has failed to write the page and the system has
	// forgotten that it should: later syncs do not cover it.
	lost bool
}

// memData is a file's content in two images, the volatile one and the one on
// stable storage. The caller holds Mem.mu.
type memData struct {
	// slots covers the longer of the two images. Both hold zeros past their size,
	// so that growing a file never shows old bytes.
	slots []slot
	// dirty holds the indexes of the slots whose images may differ, once each.
	dirty []int
	// size and syncedSize are the images' lengths in bytes.
	size, syncedSize int64
	// low is the shortest length since the last sync: what was cut off beyond it
	// cannot come back without the file getting its synced length back.
	low int64
	// pages counts the pages that cur points to, which is the space used.
	pages int64
}

// pagesFor returns how many pages hold size bytes.
func pagesFor(size int64) int {
	return int((size + pageSize - 1) / pageSize)
}

// missing returns how many pages the range lacks.
func (d *memData) missing(off, end int64) int64 {
	var n int64
	for i := int(off / pageSize); i < pagesFor(end); i++ {
		if i >= len(d.slots) || d.slots[i].cur == nil {
			n++
		}
	}
	return n
}

// fits returns where the range has to end so that it needs at most free new
// pages.
func (d *memData) fits(off, end, free int64) int64 {
	for i := int(off / pageSize); i < pagesFor(end); i++ {
		if i < len(d.slots) && d.slots[i].cur != nil {
			continue
		}
		if free == 0 {
			return max(off, int64(i)*pageSize)
		}
		free--
	}
	return end
}

// read copies the bytes at off and returns their number, less than len(p) at
// the end of the file.
func (d *memData) read(p []byte, off int64) int {
	if off >= d.size {
		return 0
	}
	p = p[:min(int64(len(p)), d.size-off)]
	for rest := p; len(rest) > 0; {
		i, at := int(off/pageSize), int(off%pageSize)
		var n int
		if cur := d.slots[i].cur; cur != nil {
			n = copy(rest, cur[at:])
		} else {
			n = min(len(rest), pageSize-at)
			clear(rest[:n])
		}
		rest, off = rest[n:], off+int64(n)
	}
	return len(p)
}

// write stores p, which is not empty, at off and returns by how many pages the
// file has grown.
func (d *memData) write(p []byte, off int64) int64 {
	before := d.pages
	end := off + int64(len(p))
	if n := pagesFor(end); n > len(d.slots) {
		d.slots = append(d.slots, make([]slot, n-len(d.slots))...)
	}
	for len(p) > 0 {
		i, at := int(off/pageSize), int(off%pageSize)
		n := min(len(p), pageSize-at)
		copy(d.writable(i, n == pageSize)[at:], p[:n])
		p, off = p[n:], off+int64(n)
	}
	d.size = max(d.size, end)
	return d.pages - before
}

// writable returns slot i's current page ready for writing in place. Its bytes
// may be anything if the caller overwrites all of them.
func (d *memData) writable(i int, whole bool) *page {
	s := &d.slots[i]
	s.lost = false
	if s.owned {
		return s.cur
	}
	next := new(page)
	if s.cur == nil {
		d.pages++
	} else if !whole {
		*next = *s.cur
	}
	d.markDirty(i)
	s.cur, s.owned = next, true
	return next
}

func (d *memData) markDirty(i int) {
	if !d.slots[i].dirty {
		d.slots[i].dirty = true
		d.dirty = append(d.dirty, i)
	}
}

// truncate sets the size and returns by how many pages the file has grown,
// which is never above 0.
func (d *memData) truncate(size int64) int64 {
	before := d.pages
	keep := pagesFor(size)
	if size < d.size {
		for i := keep; i < len(d.slots); i++ {
			if s := &d.slots[i]; s.cur != nil {
				d.markDirty(i)
				s.cur, s.owned, s.lost = nil, false, false
				d.pages--
			}
		}
		if at := size % pageSize; at != 0 && d.slots[keep-1].cur != nil {
			clear(d.writable(keep-1, false)[at:])
		}
		d.low = min(d.low, size)
	} else if keep > len(d.slots) {
		d.slots = append(d.slots, make([]slot, keep-len(d.slots))...)
	}
	d.size = size
	return d.pages - before
}

// sync makes the current image the synced one, but for the pages that an
// earlier failed sync has lost.
func (d *memData) sync() {
	kept := d.dirty[:0]
	for _, i := range d.dirty {
		s := &d.slots[i]
		if s.lost {
			kept = append(kept, i)
			continue
		}
		s.synced, s.dirty, s.owned = s.cur, false, false
	}
	d.dirty = kept
	d.syncedSize, d.low = d.size, d.size
	if len(kept) == 0 {
		d.slots = slices.Delete(d.slots, pagesFor(d.size), len(d.slots))
	}
}

// failSync does what Linux does when a page cannot be written: the page stays
// readable and is never written again unless it is changed again.
func (d *memData) failSync() {
	for _, i := range d.dirty {
		d.slots[i].lost = true
	}
}

// clone returns a copy with both images that shares the pages.
func (d *memData) clone() *memData {
	for _, i := range d.dirty {
		d.slots[i].owned = false
	}
	c := *d
	c.slots = slices.Clone(d.slots)
	c.dirty = slices.Clone(d.dirty)
	return &c
}
