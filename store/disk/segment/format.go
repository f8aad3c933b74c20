package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caddy-durable-streams/caddy-durable-streams/internal/vfs"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const (
	magic      = "DSSEG001"
	headerLen  = 64
	trailerLen = 16
	// BlockSize is the unit of the data's checksums, in bytes. Blocks are counted
	// from the beginning of the file.
	BlockSize = 16 << 10
	frameSize = 64 << 10 // a frame is closed when it has grown to this
	frameHead = 8
	// maxFooter bounds what Open reads without knowing that it is a footer.
	maxFooter = 1 << 20

	suffix    = ".seg"
	tmpSuffix = ".tmp"
)

// The kinds of entries.
const (
	kindStream byte = iota
	kindTombstone
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// Info is a segment's footer: what it is and what it replaces.
type Info struct {
	// Number is the segment's identity in its folder.
	Number uint64
	// Checkpoint is the LSN up to which the checkpoint that wrote this segment
	// covers the journal; 0 for a merge.
	Checkpoint uint64
	// Sequence numbers checkpoints and merges in the order in which they began.
	Sequence uint64
	// Oldest and Newest are the range of checkpoints, by Sequence, whose entries
	// are here. For a checkpoint's own segment both are its Sequence.
	Oldest, Newest uint64
	// Replaces names the segments that this one makes superfluous.
	Replaces []uint64
	// LastID is the greatest stream ID that the store had given out.
	LastID uint64

	Entries, Tombstones uint64
	// DataEnd is where the data ends in the file, TableStart where the directory
	// ends and the block table begins.
	DataEnd, TableStart int64
}

// Extent is a range of one stream's bytes in a segment's data.
type Extent struct {
	Start  int64 // position in the stream
	Offset int64 // position in the file
	Len    int64
}

// Entry is what a segment's directory says of one stream.
type Entry struct {
	// Tombstone says that the stream with this ID was removed for good.
	Tombstone bool
	ID        uint64
	// LSN is that of the last record that the entry includes.
	LSN  uint64
	Name string
	// Meta is the stream's state in the engine's encoding.
	Meta    []byte
	Extents []Extent
}

// FileName returns a segment's path.
func FileName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, suffix))
}

// List returns the numbers of the segments in dir in ascending order, and the
// paths of leftovers of a crash. Other files are left out.
func List(fs vfs.FS, dir string) (numbers []uint64, leftovers []string, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		whole := strings.TrimSuffix(name, tmpSuffix)
		number, err := strconv.ParseUint(strings.TrimSuffix(whole, suffix), 16, 64)
		switch {
		case err != nil || filepath.Base(FileName(dir, number)) != whole:
		case whole != name:
			leftovers = append(leftovers, filepath.Join(dir, name))
		default:
			numbers = append(numbers, number)
		}
	}
	return numbers, leftovers, nil
}

func corrupt(file string, offset int64, reason string) error {
	return &store.CorruptionError{File: file, Offset: offset, Reason: reason}
}

func (i *Info) encode() []byte {
	b := make([]byte, 0, 128)
	for _, v := range []uint64{
		i.Number, i.Checkpoint, i.Sequence, i.Oldest, i.Newest, i.LastID,
		i.Entries, i.Tombstones, uint64(i.DataEnd), uint64(i.TableStart), uint64(len(i.Replaces)),
	} {
		b = le.AppendUint64(b, v)
	}
	for _, n := range i.Replaces {
		b = le.AppendUint64(b, n)
	}
	return b
}

func decodeInfo(b []byte) (Info, bool) {
	const fixed = 11
	if len(b) < 8*fixed || len(b) > maxFooter || len(b)%8 != 0 {
		return Info{}, false
	}
	var v [fixed]uint64
	for i := range v {
		v[i] = le.Uint64(b[8*i:])
	}
	i := Info{
		Number: v[0], Checkpoint: v[1], Sequence: v[2], Oldest: v[3], Newest: v[4],
		LastID: v[5], Entries: v[6], Tombstones: v[7], DataEnd: int64(v[8]), TableStart: int64(v[9]),
	}
	b = b[8*fixed:]
	if v[10] != uint64(len(b)/8) || i.DataEnd < headerLen || i.TableStart < i.DataEnd {
		return Info{}, false
	}
	for ; len(b) > 0; b = b[8:] {
		i.Replaces = append(i.Replaces, le.Uint64(b))
	}
	return i, true
}

// appendEntry appends e to dst. body is a buffer for it, and is returned for the
// next one.
func appendEntry(dst, body []byte, e *Entry) (entry, buffer []byte) {
	body = body[:0]
	kind := kindStream
	if e.Tombstone {
		kind = kindTombstone
	}
	body = append(body, kind)
	body = binary.AppendUvarint(body, e.ID)
	body = binary.AppendUvarint(body, e.LSN)
	body = binary.AppendUvarint(body, uint64(len(e.Name)))
	body = append(body, e.Name...)
	body = binary.AppendUvarint(body, uint64(len(e.Meta)))
	body = append(body, e.Meta...)
	body = binary.AppendUvarint(body, uint64(len(e.Extents)))
	for _, x := range e.Extents {
		body = binary.AppendUvarint(body, uint64(x.Start))
		body = binary.AppendUvarint(body, uint64(x.Offset))
		body = binary.AppendUvarint(body, uint64(x.Len))
	}
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...), body
}

// decoder takes numbers and strings off the front of a slice. After a failure it
// only returns zeros.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.failed, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// decodeEntry takes one entry off d.
func decodeEntry(d *decoder) (e Entry, ok bool) {
	b := decoder{b: d.bytes()}
	if d.failed || len(b.b) == 0 || b.b[0] > kindTombstone {
		return e, false
	}
	e.Tombstone = b.b[0] == kindTombstone
	b.b = b.b[1:]
	e.ID = b.uvarint()
	e.LSN = b.uvarint()
	e.Name = string(b.bytes())
	e.Meta = b.bytes()
	n := b.uvarint()
	if b.failed || n > uint64(len(b.b))/3 { // an extent takes three bytes or more
		return e, false
	}
	if n > 0 {
		e.Extents = make([]Extent, n)
	}
	for i := range e.Extents {
		e.Extents[i] = Extent{Start: int64(b.uvarint()), Offset: int64(b.uvarint()), Len: int64(b.uvarint())}
	}
	return e, !b.failed && len(b.b) == 0
}

// within reports whether the extent lies in data that ends at dataEnd, and its
// numbers are those of a stream.
func (x Extent) within(dataEnd int64) bool {
	return x.Start >= 0 && x.Len >= 0 && x.Start <= math.MaxInt64-x.Len &&
		x.Offset >= headerLen && x.Offset <= dataEnd && x.Len <= dataEnd-x.Offset
}
