package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
)

// The keys of the index:
//
//	m                             manifest
//	n <name>                      stream: LSN, state, extents
//	p <id, 8 bytes> <producer id> producer: epoch, seq
//	x <deadline, 8 bytes> <name>  a stream that may expire then
//
// Numbers in keys are big endian, so that they sort.
const (
	keyManifest = 'm'
	keyStream   = 'n'
	keyProducer = 'p'
	keyExpiry   = 'x'
)

// catalog reads and writes the index in the engine's terms.
type catalog struct {
	mu    sync.RWMutex // held for writing while the index is exchanged
	index index.Index  // nil while it could not be opened again
	// failed says that a change failed, after which an index takes no more of them
	// until it is opened again. Guarded by Store.maintenance.
	failed bool
}

// errNoIndex is met by reads of what is not in memory, until the index could be
// opened again.
var errNoIndex = errors.New("the index could not be opened again after an error")

func (c *catalog) get(key []byte) ([]byte, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.index == nil {
		return nil, errNoIndex
	}
	return c.index.Get(nil, key)
}

// scan is [index.Index.Scan]. fn must not use the catalog.
func (c *catalog) scan(from, to []byte, fn func(key, value []byte) bool) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.index == nil {
		return errNoIndex
	}
	return c.index.Scan(from, to, fn)
}

func (c *catalog) apply(b *index.Batch) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.index == nil {
		return errNoIndex
	}
	return c.index.Apply(b)
}

// reopen exchanges the index for a newly opened one if a change of it has failed.
func (c *catalog) reopen(open func() (index.Index, error)) (err error) {
	if !c.failed {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index != nil {
		err = c.index.Close()
		c.index = nil
	}
	next, openErr := open()
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	c.index, c.failed = next, false
	return nil
}

func (c *catalog) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index == nil {
		return nil
	}
	return c.index.Close()
}

// streamRecord is what the index says of a stream: its state as of the last
// checkpoint.
type streamRecord struct {
	// sequence is that of the checkpoint that wrote the state.
	sequence uint64
	lsn      uint64
	state    protocol.State
	extents  []extent
}

func streamKey(name string) []byte { return append([]byte{keyStream}, name...) }

func producerKey(id uint64, producer string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{keyProducer}, id), producer...)
}

// deadlineKey returns the key under which a stream's end is found, nil if it has
// none. Its time is the latest that the stored state allows for.
func deadlineKey(name string, s *protocol.State) []byte {
	if s.Deleted {
		return nil
	}
	at, ok := s.Expiry.Deadline(s.Accessed.Add(s.Expiry.RenewalSlack()))
	if !ok {
		return nil
	}
	return append(deadlinePrefix(at), name...)
}

func deadlinePrefix(at time.Time) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyExpiry}, uint64(max(at.UnixMilli(), 0)))
}

func (c *catalog) stream(name string) (streamRecord, error) {
	value, err := c.get(streamKey(name))
	if err != nil {
		return streamRecord{}, err
	}
	return decodeStream(name, value)
}

func decodeStream(name string, value []byte) (r streamRecord, err error) {
	d := decoder{b: value}
	r.sequence, r.lsn = d.uvarint(), d.uvarint()
	r.state = d.state()
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		return r, fmt.Errorf("index record of %q: %w: %w", name, index.ErrCorrupt, errMalformed)
	}
	r.extents = make([]extent, n)
	for i := range r.extents {
		r.extents[i] = extent{start: protocol.Offset(d.int()), len: d.int(), segment: d.uvarint(), offset: d.int()}
	}
	if d.failed || len(d.b) > 0 {
		return r, fmt.Errorf("index record of %q: %w: %w", name, index.ErrCorrupt, errMalformed)
	}
	return r, nil
}

func (r *streamRecord) encode() []byte {
	e := encoder{b: make([]byte, 0, 128+16*len(r.extents))}
	e.uvarint(r.sequence)
	e.uvarint(r.lsn)
	e.state(&r.state)
	e.uvarint(uint64(len(r.extents)))
	for _, x := range r.extents {
		e.int(int64(x.start))
		e.int(x.len)
		e.uvarint(x.segment)
		e.int(x.offset)
	}
	return e.b
}

func (c *catalog) producer(id uint64, producer string) (protocol.ProducerState, error) {
	value, err := c.get(producerKey(id, producer))
	if err != nil {
		return protocol.ProducerState{}, err
	}
	d := decoder{b: value}
	p := protocol.ProducerState{Epoch: d.int(), Seq: d.int()}
	if d.failed || len(d.b) > 0 {
		return p, fmt.Errorf("index record of a producer: %w: %w", index.ErrCorrupt, errMalformed)
	}
	return p, nil
}

// expired calls fn with the names of streams whose stored deadline is at or
// before now, and the keys that say so, until it returns false.
func (c *catalog) expired(now time.Time, fn func(name string, key []byte) bool) error {
	to := append(deadlinePrefix(now), 0xff)
	return c.scan([]byte{keyExpiry}, to, func(key, _ []byte) bool {
		return fn(string(key[9:]), key)
	})
}

// names calls fn with the streams whose names begin with prefix and are greater
// than after, in order.
func (c *catalog) names(prefix, after string, fn func(name string) bool) error {
	from, to := streamKey(prefix), prefixEnd(streamKey(prefix))
	if k := append(streamKey(after), 0); after != "" && bytes.Compare(k, from) > 0 {
		from = k
	}
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	return c.scan(from, to, func(key, _ []byte) bool { return fn(string(key[1:])) })
}

// prefixEnd returns the least key that is greater than all that begin with p.
func prefixEnd(p []byte) []byte {
	end := bytes.Clone(p)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < math.MaxUint8 {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// update gathers changes of the index and applies them in batches of bounded
// size.
type update struct {
	catalog *catalog
	batch   index.Batch
	err     error
}

const (
	updateBytes = 1 << 20
	updateLen   = 5000
)

func (u *update) set(key, value []byte) {
	u.batch.Set(key, value)
	u.flushIfFull()
}

func (u *update) delete(key []byte) {
	u.batch.Delete(key)
	u.flushIfFull()
}

func (u *update) flushIfFull() {
	if u.batch.Bytes() >= updateBytes || u.batch.Len() >= updateLen {
		u.flush()
	}
}

func (u *update) flush() {
	if u.err == nil && u.batch.Len() > 0 {
		u.err = u.catalog.apply(&u.batch)
	}
	u.batch.Reset()
}

// stream replaces a stream's record. old is the deadline key that it had.
func (u *update) stream(name string, r *streamRecord, old []byte) (deadline []byte) {
	u.set(streamKey(name), r.encode())
	deadline = deadlineKey(name, &r.state)
	if !bytes.Equal(old, deadline) {
		if old != nil {
			u.delete(old)
		}
		if deadline != nil {
			u.set(deadline, nil)
		}
	}
	return deadline
}

func (u *update) producer(id uint64, p *protocol.Producer) {
	var e encoder
	e.int(p.Epoch)
	e.int(p.Seq)
	u.set(producerKey(id, p.ID), e.b)
}

// removeStream removes a stream's record.
func (u *update) removeStream(name string, deadline []byte) {
	u.delete(streamKey(name))
	if deadline != nil {
		u.delete(deadline)
	}
}

// removeProducers removes the producers of a stream that is gone.
func (u *update) removeProducers(id uint64) {
	from := producerKey(id, "")
	err := u.catalog.scan(from, prefixEnd(from), func(key, _ []byte) bool {
		u.batch.Delete(key)
		return true
	})
	if u.err == nil {
		u.err = err
	}
	u.flushIfFull()
}

// manifest says what the index is complete for. It is written last.
type manifest struct {
	// checkpoint is the LSN up to which the index and the segments cover the
	// journal.
	checkpoint uint64
	lastID     uint64 // greatest stream ID given out
	sequence   uint64 // of the last checkpoint or merge
	// clean says that the store was closed after this, so that the index knows
	// all times of last access exactly.
	clean    bool
	segments []segmentStat
	// dropped segments are superseded; their files go when nobody reads them.
	dropped []uint64
}

// segmentStat is what is kept of each segment in memory.
type segmentStat struct {
	number uint64
	size   int64 // of the data, in bytes
	// live estimates how many bytes of the data belong to streams that exist.
	live           int64
	oldest, newest uint64 // see segment.Info
	tombstones     uint64
	checkpoint     uint64
	// spoiled segments are damaged, as far as this process has noticed.
	spoiled bool
}

func (c *catalog) manifest() (m manifest, err error) {
	value, err := c.get([]byte{keyManifest})
	if err != nil {
		return m, err
	}
	d := decoder{b: value}
	m.checkpoint, m.lastID, m.sequence = d.uvarint(), d.uvarint(), d.uvarint()
	m.clean = d.byte() == 1
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		return m, errors.Join(index.ErrCorrupt, errMalformed)
	}
	for range n {
		m.segments = append(m.segments, segmentStat{
			number: d.uvarint(), size: d.int(), live: d.int(), oldest: d.uvarint(), newest: d.uvarint(),
			tombstones: d.uvarint(), checkpoint: d.uvarint(),
		})
	}
	n = d.uvarint()
	if n > uint64(len(d.b)) {
		return m, errors.Join(index.ErrCorrupt, errMalformed)
	}
	for range n {
		m.dropped = append(m.dropped, d.uvarint())
	}
	if d.failed || len(d.b) > 0 {
		return m, errors.Join(index.ErrCorrupt, errMalformed)
	}
	return m, nil
}

// commit writes the manifest: all changes before it count from now on.
func (u *update) commit(m *manifest) error {
	u.flush()
	if u.err != nil {
		return u.err
	}
	var e encoder
	e.uvarint(m.checkpoint)
	e.uvarint(m.lastID)
	e.uvarint(m.sequence)
	if m.clean {
		e.byte(1)
	} else {
		e.byte(0)
	}
	e.uvarint(uint64(len(m.segments)))
	for _, s := range m.segments {
		e.uvarint(s.number)
		e.int(s.size)
		e.int(max(s.live, 0))
		e.uvarint(s.oldest)
		e.uvarint(s.newest)
		e.uvarint(s.tombstones)
		e.uvarint(s.checkpoint)
	}
	e.uvarint(uint64(len(m.dropped)))
	for _, n := range m.dropped {
		e.uvarint(n)
	}
	u.batch.Set([]byte{keyManifest}, e.b)
	u.flush()
	return u.err
}
