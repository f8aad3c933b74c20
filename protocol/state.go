package protocol

import "time"

// State is all that the rules need to know of one stream. An engine stores it,
// passes it to Plan… functions under the stream's lock, and changes it only
// through what a plan says.
type State struct {
	// ID tells this stream from every other, also from an earlier one of the
	// same name. It is part of ETags.
	ID uint64
	// ContentType is the type as the creator wrote it, parameters included.
	ContentType string
	Expiry      Expiry
	// ExpiryInherited says that a fork took its expiry from its source.
	ExpiryInherited bool
	// Fork says where the inherited bytes come from; nil if this is no fork.
	Fork *Fork
	// Tail is the position after the last byte.
	Tail Offset
	// Closed never goes back to false (§4.1).
	Closed bool
	// ClosedBy is the producer request that closed the stream, if one did.
	ClosedBy *Producer
	// Seq is the last Stream-Seq, empty if there was none. Its scope is the
	// stream, whoever writes (§5.2).
	Seq string
	// Accessed is when the stream was last read or written, for a sliding TTL.
	Accessed time.Time
	// Deleted marks a soft-deleted stream: gone for clients, kept for forks.
	Deleted bool
	// Forks counts the existing streams that were forked from this one.
	Forks int
}

// Fork is the origin of a forked stream (§4.2).
type Fork struct {
	Source   string // name
	SourceID uint64
	// Offset and SubOffset are the divergence point as it was asked for, At is
	// the position that they name: bytes before At are the source's.
	Offset    Offset
	SubOffset int64
	At        Offset
}

// Expired reports whether the stream's time is over. The bound is exclusive: a
// stream with a TTL of zero is expired at once.
func (s *State) Expired(now time.Time) bool {
	deadline, ok := s.Expiry.Deadline(s.Accessed)
	return ok && !now.Before(deadline)
}

// Renew starts a sliding TTL again, as a read or write at the time now does
// (§5.1). It never shortens what is left: a request whose body took long carries
// an earlier time than one that overtook it.
func (s *State) Renew(now time.Time) {
	if now.After(s.Accessed) {
		s.Accessed = now
	}
}

// Available refuses operations on a stream that is missing (s is nil), expired
// or soft-deleted.
func Available(s *State, now time.Time) *Refusal {
	switch {
	case s == nil:
		return refuse(NotFound, "there is no stream at this URL; create it with PUT")
	case s.Deleted:
		return refuse(Gone, "this stream was deleted; its name is free again once its last fork is deleted")
	case s.Expired(now):
		return refuse(NotFound, "there is no stream at this URL any more; it has expired")
	}
	return nil
}

// Deletion is what a DELETE or an expiry does to a stream.
type Deletion struct {
	// Soft keeps the stream's bytes for its forks.
	Soft bool
}

// PlanDelete decides a DELETE (§5.4).
func PlanDelete(s *State, now time.Time) (Deletion, *Refusal) {
	if refusal := Available(s, now); refusal != nil {
		return Deletion{}, refusal
	}
	return Deletion{Soft: s.Forks > 0}, nil
}

// PlanExpiry decides what becomes of a stream whose time is over. ok is false
// if it is not over, or if nothing remains to be done.
func PlanExpiry(s *State, now time.Time) (d Deletion, ok bool) {
	if s == nil || s.Deleted || !s.Expired(now) {
		return Deletion{}, false
	}
	return Deletion{Soft: s.Forks > 0}, true
}

// PlanRelease tells a source that one of its forks is gone. purge is true if
// nothing holds the source any longer and it must go as well (§4.2, cascade).
func PlanRelease(source *State) (purge bool) {
	return source.Deleted && source.Forks <= 1
}
