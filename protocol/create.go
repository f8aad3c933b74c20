package protocol

import "time"

// CreateRequest is a PUT (§5.1), with a Fork also that of a fork (§4.2).
type CreateRequest struct {
	// ContentType is the request's, empty if it has none: then the default, or
	// for a fork the source's.
	ContentType string
	Expiry      Expiry
	Closed      bool
	// Body holds wire bytes; see [AppendRequest].
	Body []byte
	// BodyRefusal is why the body is not acceptable, if it is not.
	BodyRefusal *Refusal
	Fork        *ForkRequest
	Now         time.Time
}

// ForkRequest is the divergence point of a fork as the client asks for it.
type ForkRequest struct {
	Source string // name
	// Offset is the anchor, if HasOffset; else the source's tail.
	Offset    Offset
	HasOffset bool
	// SubOffset counts bytes past the anchor, for a JSON source messages.
	SubOffset int64

	// SourceID is the stream that Found was told of, 0 if it was not called. The
	// body was read by that stream's content type, so no other may become the
	// source.
	SourceID uint64
	// At is set by Resolve, in the one case where the position cannot be
	// computed from the numbers alone.
	At       Offset
	resolved bool
	// Refusal is why the divergence point does not exist. It counts only if the
	// fork would be created, not if it exists already.
	Refusal *Refusal
}

// ParseCreate parses the headers of a PUT. base is the path under which streams
// live; a fork's source is resolved by it and by stripped, see [ParseForkSource].
func ParseCreate(h Headers, stripped, base string) (CreateRequest, *Refusal) {
	r := CreateRequest{Closed: isClosed(h)}
	var refusal *Refusal
	if r.ContentType, _, refusal = single(h, headerContentType); refusal != nil {
		return r, refusal
	}
	if r.ContentType != "" {
		if refusal := checkContentType(r.ContentType); refusal != nil {
			return r, refusal
		}
	}
	if r.Expiry, refusal = parseExpiry(h); refusal != nil {
		return r, refusal
	}
	if r.Fork, refusal = parseFork(h, stripped, base); refusal != nil {
		return r, refusal
	}
	return r, nil
}

// SetBody gives the request its body as the client sent it. contentType is the
// type that the stream will have: the request's, or that of the fork's source.
func (r *CreateRequest) SetBody(body []byte, contentType string) {
	if len(body) == 0 || !IsJSON(contentType) {
		r.Body = body
		return
	}
	r.Body, _, r.BodyRefusal = FlattenJSON(make([]byte, 0, len(body)+2), body)
}

// CreatePlan is the effect of an accepted PUT.
type CreatePlan struct {
	// Exists says that the stream is there already with this configuration.
	Exists bool
	// State is the new stream's, without its ID, if it does not exist.
	State State
}

// PlanCreate decides a PUT. existing is the stream of that name, nil if there is
// none or it has expired and was removed; source is the fork's, nil if there is
// none or this is no fork.
func PlanCreate(existing, source *State, r *CreateRequest) (CreatePlan, *Refusal) {
	if existing != nil {
		if existing.Deleted {
			return CreatePlan{}, refuse(NameBlocked, "a deleted stream of this name still has forks; delete them first, or use another name")
		}
		if refusal := matchConfig(existing, r); refusal != nil {
			return CreatePlan{}, refusal
		}
		return CreatePlan{Exists: true}, nil
	}
	s := State{
		ContentType: r.ContentType,
		Expiry:      r.Expiry,
		Closed:      r.Closed,
		Accessed:    r.Now,
	}
	if r.Fork != nil {
		if refusal := planFork(&s, source, r); refusal != nil {
			return CreatePlan{}, refusal
		}
	}
	if s.ContentType == "" {
		s.ContentType = DefaultContentType
	}
	if r.BodyRefusal != nil {
		return CreatePlan{}, r.BodyRefusal
	}
	if Offset(len(r.Body)) > MaxOffset-s.Tail {
		return CreatePlan{}, refuse(TooLarge, "the stream would exceed its greatest length")
	}
	s.Tail += Offset(len(r.Body))
	return CreatePlan{State: s}, nil
}

// matchConfig refuses a PUT whose configuration is not the existing stream's
// (§5.1). What a fork's creator left open matches what it got.
func matchConfig(s *State, r *CreateRequest) *Refusal {
	contentType := r.ContentType
	if contentType == "" && r.Fork == nil {
		contentType = DefaultContentType
	}
	switch {
	case contentType != "" && !SameContentType(contentType, s.ContentType):
		return refuse(ConfigMismatch, "the stream exists with content type %q", s.ContentType)
	case r.Closed != s.Closed && s.Closed:
		return refuse(ConfigMismatch, "the stream exists and is closed")
	case r.Closed != s.Closed:
		return refuse(ConfigMismatch, "the stream exists and is not closed")
	case !r.Expiry.Equal(s.Expiry) && !(r.Expiry.None() && s.ExpiryInherited):
		return refuse(ConfigMismatch, "the stream exists with another TTL or expiry")
	case !matchFork(s.Fork, r.Fork):
		return refuse(ConfigMismatch, "the stream exists with another origin")
	}
	return nil
}
