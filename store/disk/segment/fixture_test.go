package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const testDir = "segments"

func newMem(t testing.TB) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem(vfs.MemOptions{})
	if err := errors.Join(m.MkdirAll(testDir), m.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	return m
}

// noise returns bytes that a checksum or a comparison can tell from any others.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// stream is what a segment is to hold of one stream.
type stream struct {
	entry   Entry    // without the extents' places
	extents [][]byte // bytes of each extent
}

// model is what a segment is to hold.
type model struct {
	info    Info
	streams []stream
	data    []byte // from position headerLen of the file on
}

// write writes the model's segment and fills in where everything is.
func (m *model) write(fs vfs.FS) (Info, error) {
	w, err := NewWriter(fs, testDir, m.info)
	if err != nil {
		return Info{}, err
	}
	m.data = nil
	for i := range m.streams {
		s := &m.streams[i]
		s.entry.Extents = nil
		start := int64(s.entry.ID) * 1000
		for _, b := range s.extents {
			s.entry.Extents = append(s.entry.Extents, Extent{Start: start, Offset: w.Offset(), Len: int64(len(b))})
			start += int64(len(b))
			for rest := b; len(rest) > 0; { // in pieces of any size
				n := min(len(rest), 1+len(rest)*2/3)
				if _, err := w.Write(rest[:n]); err != nil {
					return Info{}, errors.Join(err, w.Abort())
				}
				rest = rest[n:]
			}
			m.data = append(m.data, b...)
		}
		w.Add(&s.entry)
	}
	return w.Finish()
}

func (m *model) mustWrite(t testing.TB, fs vfs.FS) Info {
	t.Helper()
	info, err := m.write(fs)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// check compares the whole segment with the model.
func (m *model) check(fs vfs.FS) error {
	r, err := Open(fs, testDir, m.info.Number)
	if err != nil {
		return err
	}
	return errors.Join(m.checkReader(r), r.Close())
}

func (m *model) checkReader(r *Reader) error {
	i := 0
	err := r.Entries(func(e *Entry) error {
		if i == len(m.streams) {
			return fmt.Errorf("entry %d of %d", i, len(m.streams))
		}
		s := &m.streams[i]
		i++
		if e.ID != s.entry.ID || e.LSN != s.entry.LSN || e.Name != s.entry.Name || e.Tombstone != s.entry.Tombstone ||
			!bytes.Equal(e.Meta, s.entry.Meta) || len(e.Extents) != len(s.extents) {
			return fmt.Errorf("entry %+v, want %+v", e, s.entry)
		}
		for k, x := range e.Extents {
			if x != s.entry.Extents[k] {
				return fmt.Errorf("extent %+v, want %+v", x, s.entry.Extents[k])
			}
			got, err := r.Read(make([]byte, ScratchLen(int(x.Len))), x.Offset, int(x.Len))
			if err != nil {
				return err
			}
			if !bytes.Equal(got, s.extents[k]) {
				return fmt.Errorf("extent %+v has other bytes", x)
			}
		}
		return nil
	})
	if err == nil && i != len(m.streams) {
		return fmt.Errorf("%d entries, want %d", i, len(m.streams))
	}
	return err
}

// small is a segment of about a kilobyte with something of everything.
func small() *model {
	return &model{
		info: Info{
			Number: 7, Checkpoint: 1000, Sequence: 3, Oldest: 2, Newest: 3,
			Replaces: []uint64{4, 5}, LastID: 99,
		},
		streams: []stream{
			{Entry{ID: 1, LSN: 10, Name: "a", Meta: []byte("meta of a")}, [][]byte{noise(1, 100)}},
			{Entry{ID: 2, LSN: 1 << 40, Name: "no bytes", Meta: noise(2, 300)}, nil},
			{Entry{ID: 2, LSN: 3, Name: "same ID"}, [][]byte{noise(3, 1), {}, noise(4, 50)}},
			{Entry{ID: 1 << 60, LSN: 11, Name: "gone", Tombstone: true}, nil},
		},
	}
}

// wantDamage checks that err names the segment and a position at or before the
// damage.
func wantDamage(t testing.TB, err error, number uint64, before int64) {
	t.Helper()
	var damage *store.CorruptionError
	if !errors.As(err, &damage) || !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("damage at %d: error is %v, want a CorruptionError", before, err)
	}
	if damage.File != FileName(testDir, number) || damage.Offset < 0 || damage.Offset > before {
		t.Fatalf("damage at %d is said to be in %s at %d", before, damage.File, damage.Offset)
	}
}

// content returns a file's bytes.
func content(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// put makes a file.
func put(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
