package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

func TestWriter_roundTrip(t *testing.T) {
	many := &model{info: Info{Number: 2}}
	for i := range uint64(3000) {
		many.streams = append(many.streams, stream{
			Entry{ID: i, LSN: i * i, Name: fmt.Sprintf("app/room/%d/messages", i), Meta: noise(i, int(i%200))},
			[][]byte{noise(i+1, int(i%700))},
		})
	}
	borders := &model{info: Info{Number: 3}}
	for i := range uint64(40) { // extents end before, at and behind the ends of blocks
		borders.streams = append(borders.streams, stream{
			Entry{ID: i, Name: "border"},
			[][]byte{noise(i, BlockSize-headerLen/int(i%3+1)), noise(i, int(i))},
		})
	}
	large := &model{info: Info{Number: 4}, streams: []stream{
		{Entry{ID: 1, Name: "large", Meta: noise(0, 300<<10)}, [][]byte{noise(1, 5<<20+17)}},
		{Entry{ID: 2, Name: "larger than a frame", Meta: noise(3, 65<<10)}, [][]byte{noise(2, 3<<20)}},
		{Entry{ID: 3, Name: "small"}, [][]byte{[]byte("x")}},
	}}
	extents := &model{info: Info{Number: 5}, streams: []stream{{entry: Entry{ID: 9, Name: "extents"}}}}
	for i := range uint64(20000) {
		extents.streams[0].extents = append(extents.streams[0].extents, noise(i, int(i%5)))
	}
	for name, m := range map[string]*model{
		"small": small(), "many streams": many, "block borders": borders, "large": large, "many extents": extents,
		"no entries": {info: Info{Number: 6}},
		"only tombstones": {info: Info{Number: 1<<64 - 1}, streams: []stream{
			{Entry{ID: 3, Name: "x", Tombstone: true}, nil}, {Entry{ID: 4, Name: "y", Tombstone: true}, nil},
		}},
		"block exactly full": {info: Info{Number: 8}, streams: []stream{
			{Entry{ID: 1}, [][]byte{noise(0, BlockSize-headerLen)}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			mem := newMem(t)
			info := m.mustWrite(t, mem)
			want := m.info
			want.Entries = uint64(len(m.streams))
			for _, s := range m.streams {
				if s.entry.Tombstone {
					want.Tombstones++
				}
			}
			want.DataEnd, want.TableStart = headerLen+int64(len(m.data)), info.TableStart
			if !reflect.DeepEqual(info, want) {
				t.Errorf("Finish says %+v, want %+v", info, want)
			}
			for _, f := range []vfs.FS{mem, mem.CrashClone(nil, vfs.CrashOptions{})} {
				if got, err := ReadInfo(f, testDir, m.info.Number); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("ReadInfo says %+v, want %+v: %v", got, want, err)
				}
				if err := m.check(f); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestRead_anyRange(t *testing.T) {
	m := &model{info: Info{Number: 1}, streams: []stream{
		{Entry{ID: 1, Name: "x"}, [][]byte{noise(1, 5*BlockSize+1000)}},
	}}
	mem := newMem(t)
	info := m.mustWrite(t, mem)
	r, err := Open(mem, testDir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	check := func(off int64, n int) {
		t.Helper()
		got, err := r.Read(make([]byte, ScratchLen(n)), off, n)
		if err != nil || !bytes.Equal(got, m.data[off-headerLen:][:n]) {
			t.Fatalf("%d bytes from %d: %d bytes, %v", n, off, len(got), err)
		}
	}
	var edges []int64
	for block := range int64(6) {
		for d := int64(-2); d <= 2; d++ {
			if at := block*BlockSize + d; at >= headerLen {
				edges = append(edges, at)
			}
		}
	}
	edges = append(edges, headerLen, headerLen+1, info.DataEnd-1, info.DataEnd)
	for _, from := range edges {
		for _, to := range edges {
			if from <= to {
				check(from, int(to-from))
			}
		}
	}
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 500 {
		off := headerLen + rng.Int64N(info.DataEnd-headerLen+1)
		check(off, int(rng.Int64N(info.DataEnd-off+1)))
	}

	const most = 1<<63 - 1
	scratch := make([]byte, ScratchLen(1<<20))
	for _, x := range []Extent{
		{Offset: 0, Len: 1},
		{Offset: headerLen - 1, Len: 1},
		{Offset: headerLen, Len: info.DataEnd},
		{Offset: info.DataEnd, Len: 1},
		{Offset: info.DataEnd + 1},
		{Offset: -1, Len: 1},
		{Offset: headerLen, Len: -1},
		{Offset: most, Len: 1},
		{Offset: headerLen, Len: most},
		{Offset: most, Len: most},
		{Offset: -most - 1, Len: most},
	} {
		if b, err := r.Read(scratch, x.Offset, int(x.Len)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%d bytes from %d: %d bytes, %v", x.Len, x.Offset, len(b), err)
		}
	}
}

func TestEntries_stopsAtAnError(t *testing.T) {
	m := small()
	mem := newMem(t)
	m.mustWrite(t, mem)
	r, err := Open(mem, testDir, m.info.Number)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stop := errors.New("stop")
	n := 0
	err = r.Entries(func(*Entry) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	if n != 2 || err != stop {
		t.Errorf("%d entries: %v", n, err)
	}
}

func TestOpen_otherNumber(t *testing.T) {
	m := small()
	mem := newMem(t)
	m.mustWrite(t, mem)
	if err := mem.Rename(FileName(testDir, 7), FileName(testDir, 8)); err != nil {
		t.Fatal(err)
	}
	_, err := Open(mem, testDir, 8)
	wantDamage(t, err, 8, 1<<20)
	if _, err := Open(mem, testDir, 7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of a missing segment: %v", err)
	}
}

func TestList(t *testing.T) {
	mem := newMem(t)
	if numbers, leftovers, err := List(mem, testDir); len(numbers) != 0 || len(leftovers) != 0 || err != nil {
		t.Errorf("%v %v %v", numbers, leftovers, err)
	}
	for _, n := range []uint64{1<<64 - 1, 3, 0, 10, 0xabc} {
		put(t, mem, FileName(testDir, n), nil)
	}
	left := FileName(testDir, 11) + tmpSuffix
	put(t, mem, left, nil)
	for _, name := range []string{ // nobody's business
		"3.seg", "0000000000000ABC.seg", "00000000000000003.seg", "+000000000000003.seg", "notes.tmp", "0000000000000003",
		"0000000000000003.seg.bak", "x000000000000003.seg", ".seg", ".tmp", ".seg.tmp", "0000000000000003.tmp", "0000000000000003.seg.tmp.tmp",
	} {
		put(t, mem, filepath.Join(testDir, name), nil)
	}
	numbers, leftovers, err := List(mem, testDir)
	if err != nil || !slices.Equal(numbers, []uint64{0, 3, 10, 0xabc, 1<<64 - 1}) || !slices.Equal(leftovers, []string{left}) {
		t.Errorf("%v %v %v", numbers, leftovers, err)
	}
	if _, _, err := List(mem, "elsewhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list of a missing folder: %v", err)
	}
}
