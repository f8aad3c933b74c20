package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
)

// overwrite changes bytes of a file behind the journal's back.
func overwrite(t testing.TB, m *vfs.Mem, name string, off int64, p []byte) {
	t.Helper()
	f, err := m.OpenReadWrite(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(p, off)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, m *vfs.Mem, name string, off int64, n int) []byte {
	t.Helper()
	f, err := m.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// flip changes one bit or several of a byte.
func flip(t testing.TB, m *vfs.Mem, name string, off int64) {
	t.Helper()
	overwrite(t, m, name, off, []byte{read(t, m, name, off, 1)[0] ^ byte(1+off%255)})
}

// place is where a batch is.
type place struct {
	file       string
	start, end int64 // end without the padding
}

// damageLog writes a log of several files and says where its batches are.
func damageLog(t testing.TB, m *vfs.Mem) (batches []place, records [][]byte) {
	t.Helper()
	j, _ := mustOpen(t, m, testOptions(), 0)
	for i := range uint64(12) {
		r := content(0, i, 16001)
		mustAdd(t, j, r)
		end := j.files.current.end
		size := int64(batchHeader + recordLen + len(r))
		batches = append(batches, place{j.files.current.file.Name(), end - align(size), end - align(size) + size})
		records = append(records, r)
	}
	mustClose(t, j)
	if batches[0].file == batches[11].file || batches[0].file == batches[6].file {
		t.Fatal("too few files")
	}
	return batches, records
}

func TestDamage_flippedByteInABatch(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	batches, records := damageLog(t, m)
	for i, b := range batches {
		for off := b.start; off < b.end; off++ {
			if off == b.start+40 {
				off = b.end - 3 // header and length at every byte, the rest sampled
			}
			c := m.CrashClone(nil, vfs.CrashOptions{})
			flip(t, c, b.file, off)
			before := read(t, c, b.file, 0, testSize)
			var got replayed
			j, err := Open(c, testDir, testOptions(), 0, got.replay)
			if i < len(batches)-1 {
				wantDamage(t, err, b.file, b.start, b.start)
				if !bytes.Equal(read(t, c, b.file, 0, testSize), before) {
					t.Error("the damaged file was changed")
				}
				continue
			}
			if err != nil {
				t.Fatalf("byte %d of the last batch: %v", off-b.start, err)
			}
			got.want(t, 0, records[:i])
			mustClose(t, j)
		}
	}
}

func TestOpen_tornLastBatchIsDropped(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	batches, records := damageLog(t, m)
	last := batches[len(batches)-1]
	for _, cut := range []int64{0, 4, 8, 31, 32, 33, 512, 4096, last.end - last.start - 1} {
		c := m.CrashClone(nil, vfs.CrashOptions{})
		overwrite(t, c, last.file, last.start+cut, make([]byte, last.end-last.start-cut))
		var log bytes.Buffer
		opts := testOptions()
		opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		j, got := mustOpen(t, c, opts, 0)
		got.want(t, 0, records[:11])
		mustAdd(t, j, []byte("next"))
		mustClose(t, j)
		j, got = mustOpen(t, c, opts, 0)
		got.want(t, 0, append(records[:11:11], []byte("next")))
		mustClose(t, j)
		// With the batch's header, the warning gives sizes.
		want := fmt.Sprintf("file=%s offset=%d bytes=%d records=1 lsn=12", last.file, last.start, last.end-last.start)
		if text := log.String(); cut >= 32 && (!strings.Contains(text, want) || !strings.Contains(text, "level=WARN")) {
			t.Errorf("with %d bytes kept the log says %q, want %q", cut, text, want)
		}
	}
}

func TestDamage_flippedByteInAHeader(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	batches, records := damageLog(t, m)
	for _, file := range []string{batches[0].file, batches[4].file, batches[11].file} {
		for off := range int64(headerLen) {
			c := m.CrashClone(nil, vfs.CrashOptions{})
			for _, at := range []int64{off, headerCopy + off} { // one copy, then the other
				one := m.CrashClone(nil, vfs.CrashOptions{})
				flip(t, one, file, at)
				j, got := mustOpen(t, one, testOptions(), 0)
				got.want(t, 0, records)
				mustClose(t, j)
				flip(t, c, file, at)
			}
			_, err := Open(c, testDir, testOptions(), 0, new(replayed).replay)
			wantDamage(t, err, file, 0, 0)
		}
	}
	// What no checksum covers is not used.
	c := m.CrashClone(nil, vfs.CrashOptions{})
	for _, off := range []int64{headerLen, 511, headerCopy + headerLen, dataStart - 1, batches[0].end} {
		flip(t, c, batches[0].file, off)
	}
	j, got := mustOpen(t, c, testOptions(), 0)
	got.want(t, 0, records)
	mustClose(t, j)
}

func TestDamage_missingFile(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	batches, records := damageLog(t, m)
	var files []string
	for _, b := range batches {
		if len(files) == 0 || files[len(files)-1] != b.file {
			files = append(files, b.file)
		}
	}
	for i, file := range files {
		c := m.CrashClone(nil, vfs.CrashOptions{})
		if err := c.Remove(file); err != nil {
			t.Fatal(err)
		}
		names, err := c.List(testDir)
		if err != nil {
			t.Fatal(err)
		}
		var got replayed
		j, err := Open(c, testDir, testOptions(), 0, got.replay)
		switch i {
		case 0:
			wantDamage(t, err, files[1], 0, 0)
		case len(files) - 1: // nothing in the folder says that it was there
			if err != nil {
				t.Fatal(err)
			}
			if len(got.records) == 0 || len(got.records) >= len(records) {
				t.Errorf("%d records", len(got.records))
			}
			mustClose(t, j)
			continue
		default:
			wantDamage(t, err, files[i-1], 0, 0)
		}
		if after, err := c.List(testDir); err != nil || len(after) != len(names) {
			t.Errorf("files were %v, are %v: %v", names, after, err)
		}
	}
}

func TestDamage_fileCutShort(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	batches, _ := damageLog(t, m)
	for _, file := range []string{batches[0].file, batches[4].file, batches[11].file} {
		for _, size := range []int64{headerLen, 100, dataStart, 20000, testSize - 1} {
			c := m.CrashClone(nil, vfs.CrashOptions{})
			f, err := c.OpenReadWrite(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
				t.Fatal(err)
			}
			_, err = Open(c, testDir, testOptions(), 0, new(replayed).replay)
			wantDamage(t, err, file, size, size)
		}
	}
}

// A later program's files are neither used nor taken for empty ones.
func TestOpen_laterFormat(t *testing.T) {
	m := newMem(t, vfs.MemOptions{})
	batches, _ := damageLog(t, m)
	last := batches[11].file
	h, ok := decodeHeader(read(t, m, last, 0, dataStart))
	if !ok {
		t.Fatal("no header")
	}
	h.version++
	overwrite(t, m, last, 0, h.encode())
	before := read(t, m, last, 0, testSize)
	if _, err := Open(m, testDir, testOptions(), 0, new(replayed).replay); err == nil || !strings.Contains(err.Error(), last) {
		t.Errorf("open: %v", err)
	}
	if !bytes.Equal(read(t, m, last, 0, testSize), before) {
		t.Error("the file was changed")
	}
}

// forgery returns bytes that have the form of batches, as a client could store
// them that knows everything but the salt.
func forgery(salt uint64, lsn uint64, synced int64, n int) []byte {
	body := bytes.Repeat([]byte{'x'}, 100)
	var out []byte
	for len(out) < n {
		b := append(make([]byte, batchHeader), binary.LittleEndian.AppendUint32(nil, uint32(len(body)))...)
		b = append(b, body...)
		batch{length: uint32(len(b) - batchHeader), count: 1, first: lsn, synced: uint64(synced)}.seal(b, salt)
		out = append(out, b...)
		out = out[:align(int64(len(out)))]
	}
	return out
}

func TestOpen_storedBytesThatLookLikeBatches(t *testing.T) {
	for _, aligned := range []int{0, 4} { // the forgery begins where a batch may, or does not
		for _, salt := range []uint64{0, 1, 1 << 32} {
			m := newMem(t, vfs.MemOptions{})
			j, _ := mustOpen(t, m, testOptions(), 0)
			record := append(make([]byte, aligned), forgery(salt, 2, testSize, 14000)...)
			for range 3 {
				mustAdd(t, j, record)
			}
			f := j.files.current
			last := f.end
			mustAdd(t, j, record)
			if j.files.current != f {
				t.Fatal("rotated")
			}
			mustClose(t, j)
			if _, looks := tornBatch(record[aligned:], f.header.salt); looks {
				t.Error("every forgery costs a checksum")
			}
			overwrite(t, m, f.file.Name(), last, []byte{0}) // torn
			j, got := mustOpen(t, m, testOptions(), 0)
			got.want(t, 0, [][]byte{record, record, record})
			mustClose(t, j)
		}
	}
}
