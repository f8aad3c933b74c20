package protocol

import (
	"strings"
	"time"
)

// maxSeqLen bounds Stream-Seq, in bytes: it is kept with every stream.
const maxSeqLen = 1024

// AppendRequest is a POST (§5.2, §5.3).
type AppendRequest struct {
	// ContentType is the request's, empty if it has none.
	ContentType string
	// Body holds wire bytes. The engine may keep it: the caller must not change
	// it afterwards.
	Body []byte
	// typeRefusal is why ContentType is not acceptable. It counts only with a
	// body: without one nothing may be refused for its type (§5.2).
	typeRefusal *Refusal
	// BodyRefusal is why the body is not acceptable, if it is not. It is weighed
	// against the other reasons in PlanAppend.
	BodyRefusal *Refusal
	// Close ends the stream in the same step (§5.2, Stream-Closed).
	Close bool
	// Seq is the Stream-Seq, empty if there is none.
	Seq string
	// Producer is nil without producer headers.
	Producer *Producer
	// Expected is the tail that the append insists on, if HasExpected.
	Expected    Offset
	HasExpected bool
	// Now is when the server received the request.
	Now time.Time
}

// ParseAppend parses the headers of a POST. The caller reads the body and hands
// it to SetBody.
func ParseAppend(h Headers) (AppendRequest, *Refusal) {
	r := AppendRequest{Close: isClosed(h)}
	var refusal *Refusal
	r.ContentType, _, r.typeRefusal = single(h, headerContentType)
	if r.Producer, refusal = parseProducer(h); refusal != nil {
		return r, refusal
	}
	var hasSeq bool
	if r.Seq, hasSeq, refusal = single(h, HeaderSeq); refusal != nil {
		return r, refusal
	}
	if hasSeq && (r.Seq == "" || len(r.Seq) > maxSeqLen) {
		return r, refuse(Malformed, "Stream-Seq must have 1 to %d bytes", maxSeqLen)
	}
	if refusal := r.parseExpected(h); refusal != nil {
		return r, refusal
	}
	return r, nil
}

// parseExpected parses If-Match and its other spelling Stream-Expected-Offset.
func (r *AppendRequest) parseExpected(h Headers) *Refusal {
	match, hasMatch, refusal := single(h, headerIfMatch)
	if refusal != nil {
		return refusal
	}
	expected, hasExpected, refusal := single(h, HeaderExpectedOffset)
	if refusal != nil {
		return refusal
	}
	if !hasMatch && !hasExpected {
		return nil
	}
	if hasMatch && hasExpected && unquote(match) != unquote(expected) {
		return refuse(Malformed, "If-Match and Stream-Expected-Offset name different offsets; send one of them")
	}
	if !hasMatch {
		match = expected
	}
	if r.Producer != nil {
		return refuse(Malformed, "an expected offset cannot be combined with producer headers: a retry would fail although the append happened")
	}
	offset, refusal := ParseOffset(unquote(match))
	if refusal != nil {
		return refusal
	}
	r.Expected, r.HasExpected = offset, true
	return nil
}

func unquote(s string) string {
	if len(s) >= 2 && strings.HasPrefix(s, `"`) && strings.HasSuffix(s, `"`) {
		return s[1 : len(s)-1]
	}
	return s
}

// SetBody gives the request its body as the client sent it. It refuses what no
// stream would take; what depends on the stream is left to PlanAppend. For JSON
// the result is a new slice, for other types the request keeps body itself.
func (r *AppendRequest) SetBody(body []byte) *Refusal {
	if len(body) == 0 {
		if !r.Close {
			return refuse(Malformed, "the body is empty; send bytes to append, or Stream-Closed: true to close the stream")
		}
		return nil // §5.2: without a body the Content-Type is not looked at
	}
	if r.typeRefusal != nil {
		return r.typeRefusal
	}
	if r.ContentType == "" {
		return refuse(Malformed, "send the stream's Content-Type with the body")
	}
	if refusal := checkContentType(r.ContentType); refusal != nil {
		return refusal
	}
	if !IsJSON(r.ContentType) {
		r.Body = body
		return nil
	}
	wire, messages, refusal := FlattenJSON(make([]byte, 0, len(body)+2), body)
	if refusal == nil && messages == 0 {
		refusal = refuse(InvalidJSON, "an empty array appends nothing; send at least one message")
	}
	if refusal != nil {
		r.BodyRefusal = refusal
		return nil
	}
	r.Body = wire
	return nil
}

// closeOnly reports whether the request closes the stream without a body.
func (r *AppendRequest) closeOnly() bool {
	return r.Close && len(r.Body) == 0 && r.BodyRefusal == nil
}

// Outcome says what an accepted POST did.
type Outcome uint8

const (
	// Appended: the request changed the stream.
	Appended Outcome = iota + 1
	// Duplicate: the producer's request had happened before (§5.2.1).
	Duplicate
	// AlreadyClosed: a close-only request found the stream closed (§5.2).
	AlreadyClosed
)

// AppendPlan is the effect of an accepted POST. If Outcome is not Appended it
// has none.
type AppendPlan struct {
	Outcome Outcome
	// Producer is the producer's last accepted request after this one; nil
	// without producer headers.
	Producer *ProducerState
}

// PlanAppend decides a POST. last is what the stream knows of r.Producer, known
// whether it knows anything. The order of the checks is that of §5.2, with the
// expected offset after closure and before Stream-Seq.
func PlanAppend(s *State, last ProducerState, known bool, r *AppendRequest) (AppendPlan, *Refusal) {
	if refusal := Available(s, r.Now); refusal != nil {
		return AppendPlan{}, refusal
	}
	if s.Closed {
		return planClosed(s, r)
	}
	if !r.closeOnly() && !SameContentType(s.ContentType, r.ContentType) {
		return AppendPlan{}, refuse(ContentTypeMismatch, "the stream's content type is %q, the request's is %q", s.ContentType, r.ContentType)
	}
	if r.BodyRefusal != nil {
		return AppendPlan{}, r.BodyRefusal
	}
	if r.HasExpected && r.Expected != s.Tail {
		refusal := refuse(OffsetMismatch, "the stream's tail is %s, not %s; read on from there and try again", s.Tail, r.Expected)
		refusal.Tail = s.Tail
		return AppendPlan{}, refusal
	}
	plan := AppendPlan{Outcome: Appended}
	if r.Producer != nil {
		duplicate, refusal := checkProducer(last, known, r.Producer)
		if refusal != nil {
			return AppendPlan{}, refusal
		}
		if duplicate {
			highest := last // last itself stays off the heap
			return AppendPlan{Outcome: Duplicate, Producer: &highest}, nil
		}
		plan.Producer = &ProducerState{Epoch: r.Producer.Epoch, Seq: r.Producer.Seq}
	}
	if r.Seq != "" && s.Seq != "" && r.Seq <= s.Seq {
		return AppendPlan{}, refuse(SeqRegression, "Stream-Seq %q is not greater than the last one, %q", clip(r.Seq), clip(s.Seq))
	}
	if Offset(len(r.Body)) > MaxOffset-s.Tail {
		return AppendPlan{}, refuse(TooLarge, "the stream has reached its greatest length")
	}
	return plan, nil
}

// planClosed answers a POST to a closed stream: only the request that closed it
// and close-only requests succeed (§5.2, §5.2.1).
func planClosed(s *State, r *AppendRequest) (AppendPlan, *Refusal) {
	if r.Producer != nil && s.ClosedBy != nil && *r.Producer == *s.ClosedBy {
		return AppendPlan{Outcome: Duplicate, Producer: &ProducerState{Epoch: s.ClosedBy.Epoch, Seq: s.ClosedBy.Seq}}, nil
	}
	if r.Producer == nil && r.closeOnly() {
		return AppendPlan{Outcome: AlreadyClosed}, nil
	}
	refusal := refuse(StreamClosed, "the stream is closed; nothing more can be appended")
	refusal.Tail, refusal.Closed = s.Tail, true
	return AppendPlan{}, refusal
}

// ApplyAppend changes the state as an accepted request does. The engine stores
// the body and the producer's new state itself.
func (s *State) ApplyAppend(r *AppendRequest) {
	s.Tail += Offset(len(r.Body))
	if r.Seq != "" {
		s.Seq = r.Seq
	}
	if r.Close {
		s.Closed = true
		s.ClosedBy = r.Producer
	}
	s.Renew(r.Now)
}
