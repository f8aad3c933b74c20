package segment

import (
	"errors"
	"fmt"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// diskOf returns a file system with these bytes as the segment.
func diskOf(t testing.TB, number uint64, b []byte) *vfs.Mem {
	t.Helper()
	mem := newMem(t)
	put(t, mem, FileName(testDir, number), b)
	return mem
}

// Every byte is covered by a checksum, or means nothing.
func TestDamage_everyByte(t *testing.T) {
	m := small()
	mem := newMem(t)
	m.mustWrite(t, mem)
	whole := content(t, mem, FileName(testDir, 7))
	disk := diskOf(t, 7, whole)
	f, err := disk.OpenReadWrite(FileName(testDir, 7))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := range whole {
		for _, mask := range []byte{1, 0x80, 0xff} {
			if _, err := f.WriteAt([]byte{whole[at] ^ mask}, int64(at)); err != nil {
				t.Fatal(err)
			}
			wantDamage(t, m.check(disk), 7, int64(at))
		}
		if _, err := f.WriteAt(whole[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.check(disk); err != nil {
		t.Error(err)
	}
}

func TestDamage_truncation(t *testing.T) {
	m := small()
	mem := newMem(t)
	m.mustWrite(t, mem)
	whole := content(t, mem, FileName(testDir, 7))
	for n := range whole {
		wantDamage(t, m.check(diskOf(t, 7, whole[:n])), 7, int64(n))
	}
	wantDamage(t, m.check(diskOf(t, 7, append(whole, 0))), 7, int64(len(whole)))
}

// A lost page of zeros, wherever it is.
func TestDamage_zeros(t *testing.T) {
	m := &model{info: Info{Number: 1}}
	for i := range uint64(700) {
		m.streams = append(m.streams, stream{
			Entry{ID: i, Name: fmt.Sprintf("stream %d", i), Meta: noise(i, 100)}, [][]byte{noise(i, 20)},
		})
	}
	mem := newMem(t)
	info := m.mustWrite(t, mem)
	whole := content(t, mem, FileName(testDir, 1))
	for at := 0; at < len(whole); at += 512 {
		b := append([]byte(nil), whole...)
		clear(b[at:min(at+512, len(b))])
		wantDamage(t, m.check(diskOf(t, 1, b)), 1, int64(at)+511)
	}
	// All of the directory, and each frame of it.
	b := append([]byte(nil), whole...)
	clear(b[info.DataEnd:info.TableStart])
	wantDamage(t, m.check(diskOf(t, 1, b)), 1, info.DataEnd)
	for at := info.DataEnd; at < info.TableStart; {
		n := frameHead + int64(le.Uint32(whole[at:]))
		b := append([]byte(nil), whole...)
		clear(b[at : at+n])
		wantDamage(t, m.check(diskOf(t, 1, b)), 1, at)
		at += n
	}
}

// What has the right checksum is still not believed blindly.
func TestEntries_malformed(t *testing.T) {
	good, _ := appendEntry(nil, nil, &Entry{ID: 5, LSN: 6, Name: "n", Meta: []byte("m"), Extents: []Extent{{1, headerLen, 0}}})
	if e, ok := decodeEntry(&decoder{b: good}); !ok || e.ID != 5 {
		t.Fatal(e, ok)
	}
	at := func(i int, c byte) []byte {
		b := append([]byte(nil), good...)
		b[i] = c
		return b
	}
	for name, b := range map[string][]byte{
		"kind":              at(1, 2),
		"longer than it is": append(at(0, good[0]+1), 0),
		"cut short":         at(0, good[0]-1),
		"name":              at(4, 100),
		"extents":           at(8, 2),
		"many extents":      append(at(8, 0xff), 0xff, 0xff, 0xff),
		"empty":             {0},
	} {
		if e, ok := decodeEntry(&decoder{b: b}); ok {
			t.Errorf("%s: %+v", name, e)
		}
	}
	m := small()
	for name, change := range map[string]func(w *Writer){
		"entries":       func(w *Writer) { w.info.Entries++ },
		"tombstones":    func(w *Writer) { w.info.Tombstones-- },
		"missing frame": func(w *Writer) { w.frame = nil },
		"extent outside the data": func(w *Writer) {
			w.frame, w.entry = appendEntry(w.frame, nil, &Entry{ID: 1 << 60, Extents: []Extent{{Offset: 1 << 20, Len: 1}}})
		},
		"order": func(w *Writer) { w.frame, w.entry = appendEntry(w.frame, nil, &Entry{ID: 1}) },
	} {
		mem := newMem(t)
		w, err := NewWriter(mem, testDir, m.info)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.streams {
			w.Add(&Entry{ID: m.streams[i].entry.ID, Tombstone: i == 3})
		}
		change(w)
		if _, err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		r, err := Open(mem, testDir, 7)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Entries(func(*Entry) error { return nil }); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Damage to one block is none of the others'.
func TestRead_damagedBlock(t *testing.T) {
	m := &model{info: Info{Number: 1}, streams: []stream{{Entry{ID: 1}, [][]byte{noise(1, 4*BlockSize)}}}}
	mem := newMem(t)
	m.mustWrite(t, mem)
	b := content(t, mem, FileName(testDir, 1))
	b[2*BlockSize+5] ^= 1
	disk := diskOf(t, 1, b)
	r, err := Open(disk, testDir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	scratch := make([]byte, ScratchLen(4*BlockSize))
	for _, x := range []struct {
		off  int64
		n    int
		good bool
	}{
		{headerLen, 2*BlockSize - headerLen, true},
		{headerLen, 2*BlockSize - headerLen + 1, false},
		{2 * BlockSize, 1, false},
		{3*BlockSize - 1, 10, false},
		{3 * BlockSize, 100, true},
	} {
		_, err := r.Read(scratch, x.off, x.n)
		if x.good {
			if err != nil {
				t.Errorf("%d bytes from %d: %v", x.n, x.off, err)
			}
			continue
		}
		var damage *store.CorruptionError
		if !errors.As(err, &damage) || damage.Offset != 2*BlockSize {
			t.Errorf("%d bytes from %d: %v", x.n, x.off, err)
		}
	}
}

// Errors of the disk are not damage.
func TestReader_readFails(t *testing.T) {
	m := small()
	mem := newMem(t)
	m.mustWrite(t, mem)
	for n := int64(0); ; n++ {
		reads := 0
		fail := vfs.FailNth(n, vfs.ErrInjected)
		err := m.check(vfs.Inject(mem, vfs.OnKinds(func(op vfs.Op) error { reads++; return fail(op) }, vfs.OpReadAt, vfs.OpSize, vfs.OpOpen)))
		if int64(reads) <= n {
			if err != nil || n < 6 {
				t.Errorf("%d reads: %v", reads, err)
			}
			return
		}
		if !errors.Is(err, vfs.ErrInjected) || errors.Is(err, store.ErrCorrupt) {
			t.Errorf("read %d: %v", n, err)
		}
	}
}
