package disk

import (
	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// A journal record is the whole effect of one request. Records name streams by
// name and ID: replay finds them by name, and skips what concerns an earlier
// stream of that name.
type recordKind byte

const (
	recordCreate recordKind = iota + 1
	recordAppend
	recordRemove
	recordTouch
	// recordMark changes nothing. It makes the journal sync.
	recordMark
)

// effect is what a record does to one stream.
type effect byte

const (
	// effectCreate begins the stream, with op.create as its state.
	effectCreate effect = iota + 1
	// effectAppend applies op.append.
	effectAppend
	// effectTouch renews the TTL.
	effectTouch
	// effectSoften deletes softly.
	effectSoften
	// effectPurge removes the stream for good.
	effectPurge
	// effectRetain counts one more fork.
	effectRetain
	// effectRelease counts one fork less.
	effectRelease
)

const (
	appendClose = 1 << iota
	appendSeq
	appendProducer
)

// encode writes the record of op, but for its body, into op.Head.
func (o *op) encode() {
	e := encoder{b: o.Head[:0]}
	e.byte(byte(o.kind))
	e.time(o.now)
	switch o.kind {
	case recordCreate:
		e.string(o.targets[0].slot.name)
		e.state(&o.create)
	case recordAppend:
		r := &o.append
		var flags byte
		if r.Close {
			flags |= appendClose
		}
		if r.Seq != "" {
			flags |= appendSeq
		}
		if r.Producer != nil {
			flags |= appendProducer
		}
		e.string(o.targets[0].slot.name)
		e.uvarint(o.targets[0].id)
		e.byte(flags)
		if r.Seq != "" {
			e.string(r.Seq)
		}
		if r.Producer != nil {
			e.producer(r.Producer)
		}
	case recordRemove, recordTouch:
		e.uvarint(uint64(len(o.targets)))
		for _, t := range o.targets {
			e.byte(byte(t.effect))
			e.string(t.slot.name)
			e.uvarint(t.id)
		}
	}
	o.Head = e.b
}

// recordTarget is a target of a record that was read back.
type recordTarget struct {
	name   string
	id     uint64
	effect effect
}

// decodeRecord reads a record back into o, which has no targets then, and
// returns what they are. o keeps parts of b.
func decodeRecord(o *op, b []byte) ([]recordTarget, error) {
	d := decoder{b: b}
	o.kind = recordKind(d.byte())
	o.now = d.time()
	var targets []recordTarget
	switch o.kind {
	case recordCreate:
		name := d.string()
		o.create = d.state()
		targets = append(targets, recordTarget{name: name, id: o.create.ID, effect: effectCreate})
		if f := o.create.Fork; f != nil {
			targets = append(targets, recordTarget{name: f.Source, id: f.SourceID, effect: effectRetain})
		}
		o.Body = d.b
	case recordAppend:
		targets = append(targets, recordTarget{name: d.string(), id: d.uvarint(), effect: effectAppend})
		flags := d.byte()
		o.append = protocol.AppendRequest{Close: flags&appendClose != 0, Now: o.now}
		if flags&appendSeq != 0 {
			o.append.Seq = d.string()
		}
		if flags&appendProducer != 0 {
			o.append.Producer = d.producer()
		}
		o.append.Body = d.b
		o.Body = d.b
	case recordRemove, recordTouch:
		n := d.uvarint()
		if n > uint64(len(d.b)) {
			return nil, errMalformed
		}
		for range n {
			targets = append(targets, recordTarget{effect: effect(d.byte()), name: d.string(), id: d.uvarint()})
		}
		if len(d.b) > 0 {
			return nil, errMalformed
		}
	case recordMark:
	default:
		return nil, errMalformed
	}
	if d.failed {
		return nil, errMalformed
	}
	return targets, nil
}
