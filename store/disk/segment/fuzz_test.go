package segment

import (
	"bytes"
	"errors"
	"hash/crc32"
	"reflect"
	"runtime"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// allocated returns how many bytes fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzDecodeInfo(f *testing.F) {
	info := small().info
	info.DataEnd, info.TableStart = 100, 200
	f.Add(info.encode())
	f.Add(make([]byte, 13*8))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, ok := decodeInfo(b)
		if ok && !bytes.Equal(info.encode(), b) {
			t.Errorf("%+v does not become what it was", info)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	for _, s := range small().streams {
		s.entry.Extents = []Extent{{1, 2, 3}, {1 << 62, 1 << 61, 0}}
		b, _ := appendEntry(nil, nil, &s.entry)
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{b: b}
		var e Entry
		var ok bool
		if n := allocated(func() { e, ok = decodeEntry(&d) }); n > uint64(64<<10+16*len(b)) {
			t.Errorf("%d bytes allocate %d", len(b), n)
		}
		if !ok {
			return
		}
		again, _ := appendEntry(nil, nil, &e)
		d = decoder{b: again}
		if got, ok := decodeEntry(&d); !ok || !reflect.DeepEqual(got, e) {
			t.Errorf("%+v became %+v", e, got)
		}
	})
}

// sealed returns b with the checksums that it should have where its lengths say
// that something is, so that the fuzzer gets past them.
func sealed(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < headerLen+trailerLen {
		return b
	}
	trailer := b[len(b)-trailerLen:]
	copy(trailer[8:], magic)
	footerAt := len(b) - trailerLen - int(le.Uint32(trailer))
	if footerAt < headerLen {
		return b
	}
	footer := b[footerAt : len(b)-trailerLen]
	if len(footer) >= 8 {
		le.PutUint64(footer, 7)
	}
	info, ok := decodeInfo(footer)
	if ok && info.TableStart <= int64(footerAt-4) {
		table := b[info.TableStart : footerAt-4]
		for i := 0; i+4 <= len(table); i += 4 {
			from := min(i/4*BlockSize, int(info.DataEnd))
			le.PutUint32(table[i:], crc32.Checksum(b[from:min(from+BlockSize, int(info.DataEnd))], castagnoli))
		}
		le.PutUint32(b[footerAt-4:], crc32.Checksum(table, castagnoli))
		for at := info.DataEnd; at+frameHead <= info.TableStart; {
			n := int64(le.Uint32(b[at:]))
			if at+frameHead+n > info.TableStart {
				break
			}
			le.PutUint32(b[at+4:], crc32.Checksum(b[at+frameHead:][:n], castagnoli))
			at += frameHead + n
		}
	}
	le.PutUint32(trailer[4:], crc32.Checksum(footer, castagnoli))
	return b
}

func FuzzOpen(f *testing.F) {
	for _, m := range []*model{small(), {info: Info{Number: 7}}} {
		mem := vfs.NewMem(vfs.MemOptions{})
		if err := mem.MkdirAll(testDir); err != nil {
			f.Fatal(err)
		}
		m.mustWrite(f, mem)
		f.Add(content(f, mem, FileName(testDir, 7)), true)
	}
	f.Add([]byte("something else"), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if len(b) > 64<<10 {
			return
		}
		if seal {
			b = sealed(b)
		}
		disk := diskOf(t, 7, b)
		n := allocated(func() {
			r, err := Open(disk, testDir, 7)
			if err != nil {
				if !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("open: %v", err)
				}
				return
			}
			defer r.Close()
			scratch := make([]byte, ScratchLen(len(b)))
			err = r.Entries(func(e *Entry) error {
				for _, x := range e.Extents {
					got, err := r.Read(scratch, x.Offset, int(x.Len))
					if err == nil && !bytes.Equal(got, b[x.Offset:][:x.Len]) {
						t.Errorf("%+v has other bytes", x)
					}
					if err != nil && !errors.Is(err, store.ErrCorrupt) {
						t.Errorf("read: %v", err)
					}
				}
				return nil
			})
			if err != nil && !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("entries: %v", err)
			}
		})
		if n > uint64(256<<10+64*len(b)) {
			t.Errorf("%d bytes allocate %d", len(b), n)
		}
	})
}
