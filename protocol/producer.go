package protocol

// Limits of the producer headers (§5.2.1).
const (
	MaxProducerIDLen = 256       // bytes
	maxProducerInt   = 1<<53 - 1 // JavaScript's safe integers
)

// Producer identifies one request of an idempotent producer (§5.2.1).
type Producer struct {
	ID         string
	Epoch, Seq int64
}

// ProducerState is the last accepted request of a producer on one stream.
type ProducerState struct {
	Epoch, Seq int64
}

// parseProducer parses the three producer headers; nil if there are none.
func parseProducer(h Headers) (*Producer, *Refusal) {
	id, hasID, refusal := single(h, HeaderProducerID)
	if refusal != nil {
		return nil, refusal
	}
	epoch, hasEpoch, refusal := single(h, HeaderProducerEpoch)
	if refusal != nil {
		return nil, refusal
	}
	seq, hasSeq, refusal := single(h, HeaderProducerSeq)
	if refusal != nil {
		return nil, refusal
	}
	if !hasID && !hasEpoch && !hasSeq {
		return nil, nil
	}
	if !hasID || !hasEpoch || !hasSeq {
		return nil, refuse(Malformed, "send Producer-Id, Producer-Epoch and Producer-Seq together, or none of them")
	}
	if id == "" || len(id) > MaxProducerIDLen {
		return nil, refuse(Malformed, "Producer-Id must have 1 to %d bytes", MaxProducerIDLen)
	}
	p := &Producer{ID: id}
	var ok bool
	if p.Epoch, ok = parseDigits(epoch); !ok || p.Epoch > maxProducerInt {
		return nil, refuse(Malformed, "Producer-Epoch must be an integer from 0 to 2^53-1")
	}
	if p.Seq, ok = parseDigits(seq); !ok || p.Seq > maxProducerInt {
		return nil, refuse(Malformed, "Producer-Seq must be an integer from 0 to 2^53-1")
	}
	return p, nil
}

// checkProducer decides whether a producer's request is new, a duplicate or
// refused (§5.2.1, validation logic). known is false for a producer that this
// stream has not seen.
func checkProducer(last ProducerState, known bool, p *Producer) (duplicate bool, refusal *Refusal) {
	expected := int64(0)
	switch {
	case known && p.Epoch < last.Epoch:
		r := refuse(StaleEpoch, "the producer's epoch %d was replaced by %d; start again with a higher epoch", p.Epoch, last.Epoch)
		r.Epoch = last.Epoch
		return false, r
	case known && p.Epoch > last.Epoch:
		if p.Seq != 0 {
			return false, refuse(EpochStart, "a new epoch must start with Producer-Seq 0, not %d", p.Seq)
		}
		return false, nil
	case known:
		if p.Seq <= last.Seq {
			return true, nil
		}
		expected = last.Seq + 1
	}
	if p.Seq != expected {
		r := refuse(SequenceGap, "Producer-Seq %d arrived before %d; send it again after that one", p.Seq, expected)
		r.Expected, r.Received = expected, p.Seq
		return false, r
	}
	return false, nil
}
