package disk

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// The encoding of a stream's state, the same in journal records, segment
// directories and the index: a version, flags, and the fields that are set.

const stateVersion = 1

const (
	flagClosed = 1 << iota
	flagClosedBy
	flagTTL
	flagExpiresAt
	flagInherited
	flagFork
	flagSeq
	flagDeleted
)

var errMalformed = errors.New("malformed record")

// encoder appends fields to b.
type encoder struct{ b []byte }

func (e *encoder) byte(v byte)      { e.b = append(e.b, v) }
func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)      { e.b = binary.AppendUvarint(e.b, uint64(v)) }
func (e *encoder) string(v string) {
	e.uvarint(uint64(len(v)))
	e.b = append(e.b, v...)
}

// time keeps an instant to the nanosecond. Seconds and nanoseconds apart, since
// an expiry may lie outside what 64 bits of nanoseconds reach.
func (e *encoder) time(v time.Time) {
	e.b = binary.AppendVarint(e.b, v.Unix())
	e.uvarint(uint64(v.Nanosecond()))
}

// decoder takes fields off the front of b. After a failure it returns zeros.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) fail() {
	d.failed, d.b = true, nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v := d.uvarint()
	if v > math.MaxInt64 {
		d.fail()
		return 0
	}
	return int64(v)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) time() time.Time {
	seconds, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return time.Time{}
	}
	d.b = d.b[n:]
	return time.Unix(seconds, int64(d.uvarint())).UTC()
}

func (e *encoder) state(s *protocol.State) {
	var flags uint64
	for _, f := range []struct {
		flag uint64
		set  bool
	}{
		{flagClosed, s.Closed},
		{flagClosedBy, s.ClosedBy != nil},
		{flagTTL, s.Expiry.HasTTL},
		{flagExpiresAt, !s.Expiry.At.IsZero()},
		{flagInherited, s.ExpiryInherited},
		{flagFork, s.Fork != nil},
		{flagSeq, s.Seq != ""},
		{flagDeleted, s.Deleted},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	e.byte(stateVersion)
	e.uvarint(flags)
	e.uvarint(s.ID)
	e.string(s.ContentType)
	e.int(int64(s.Tail))
	e.time(s.Accessed)
	e.int(int64(s.Forks))
	if flags&flagClosedBy != 0 {
		e.producer(s.ClosedBy)
	}
	if flags&flagTTL != 0 {
		e.int(int64(s.Expiry.TTL))
	}
	if flags&flagExpiresAt != 0 {
		e.time(s.Expiry.At)
	}
	if flags&flagFork != 0 {
		e.string(s.Fork.Source)
		e.uvarint(s.Fork.SourceID)
		e.int(int64(s.Fork.Offset))
		e.int(s.Fork.SubOffset)
		e.int(int64(s.Fork.At))
	}
	if flags&flagSeq != 0 {
		e.string(s.Seq)
	}
}

func (d *decoder) state() (s protocol.State) {
	if d.byte() != stateVersion {
		d.fail()
		return s
	}
	flags := d.uvarint()
	s.Closed = flags&flagClosed != 0
	s.Expiry.HasTTL = flags&flagTTL != 0
	s.ExpiryInherited = flags&flagInherited != 0
	s.Deleted = flags&flagDeleted != 0
	s.ID = d.uvarint()
	s.ContentType = d.string()
	s.Tail = protocol.Offset(d.int())
	s.Accessed = d.time()
	s.Forks = int(d.int())
	if flags&flagClosedBy != 0 {
		s.ClosedBy = d.producer()
	}
	if flags&flagTTL != 0 {
		s.Expiry.TTL = time.Duration(d.int())
	}
	if flags&flagExpiresAt != 0 {
		s.Expiry.At = d.time()
	}
	if flags&flagFork != 0 {
		s.Fork = &protocol.Fork{
			Source: d.string(), SourceID: d.uvarint(),
			Offset: protocol.Offset(d.int()), SubOffset: d.int(), At: protocol.Offset(d.int()),
		}
	}
	if flags&flagSeq != 0 {
		s.Seq = d.string()
	}
	return s
}

func (e *encoder) producer(p *protocol.Producer) {
	e.string(p.ID)
	e.int(p.Epoch)
	e.int(p.Seq)
}

func (d *decoder) producer() *protocol.Producer {
	return &protocol.Producer{ID: d.string(), Epoch: d.int(), Seq: d.int()}
}

// meta is what a segment's directory says of a stream besides its extents: its
// whole state, and those of its producers that changed since the last entry.
type meta struct {
	state     protocol.State
	producers []protocol.Producer
}

func (m *meta) encode() []byte {
	e := encoder{b: make([]byte, 0, 128)}
	e.state(&m.state)
	e.uvarint(uint64(len(m.producers)))
	for i := range m.producers {
		e.producer(&m.producers[i])
	}
	return e.b
}

func decodeMeta(b []byte) (m meta, err error) {
	d := decoder{b: b}
	m.state = d.state()
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		return m, errMalformed
	}
	for range n {
		m.producers = append(m.producers, *d.producer())
	}
	if d.failed || len(d.b) > 0 {
		return m, errMalformed
	}
	return m, nil
}
