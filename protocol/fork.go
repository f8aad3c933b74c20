package protocol

// parseFork parses the fork headers of a PUT; nil if it is no fork (§4.2).
func parseFork(h Headers, stripped, base string) (*ForkRequest, *Refusal) {
	source, isFork, refusal := single(h, HeaderForkedFrom)
	if refusal != nil {
		return nil, refusal
	}
	offset, hasOffset, refusal := single(h, HeaderForkOffset)
	if refusal != nil {
		return nil, refusal
	}
	sub, hasSub, refusal := single(h, HeaderForkSubOffset)
	if refusal != nil {
		return nil, refusal
	}
	if !isFork {
		if hasOffset || hasSub {
			return nil, refuse(Malformed, "Stream-Fork-Offset and Stream-Fork-Sub-Offset need Stream-Forked-From")
		}
		return nil, nil
	}
	f := &ForkRequest{}
	if f.Source, refusal = ParseForkSource(source, stripped, base); refusal != nil {
		return nil, refusal
	}
	if hasOffset {
		if offset == "-1" {
			f.Offset = Start
		} else if f.Offset, refusal = ParseOffset(offset); refusal != nil {
			return nil, refusal
		}
		f.HasOffset = true
	}
	if hasSub {
		var ok bool
		if f.SubOffset, ok = parseDigits(sub); !ok {
			return nil, refuse(Malformed, "Stream-Fork-Sub-Offset must be a non-negative integer, digits only and without leading zeros")
		}
		if f.SubOffset > 0 && !f.HasOffset {
			return nil, refuse(InvalidForkPoint, "Stream-Fork-Sub-Offset counts from Stream-Fork-Offset, and nothing follows the source's tail; send both")
		}
	}
	return f, nil
}

// NeedsResolving reports whether the source's bytes must be looked at to find
// the position that the request names: in a JSON stream offsets must be message
// boundaries, and sub-offsets count messages.
func (f *ForkRequest) NeedsResolving(sourceContentType string) bool {
	return f.HasOffset && IsJSON(sourceContentType)
}

// Found records which stream the source is. It comes before Resolve.
func (f *ForkRequest) Found(sourceID uint64) { f.SourceID = sourceID }

// Missing records that there was no source. A stream that is created under its
// name a moment later is not what the body was read for.
func (f *ForkRequest) Missing() { f.Refusal = sourceNotFound() }

// Resolve records where the divergence point of a JSON source is.
func (f *ForkRequest) Resolve(at Offset) { f.At, f.resolved = at, true }

// Overshoot records that the source ends before the divergence point.
func (f *ForkRequest) Overshoot() {
	f.Refusal = refuse(InvalidForkPoint, "the source has fewer than %d messages after %s", f.SubOffset, f.Offset)
}

// planFork makes s the state of a fork of source.
func planFork(s, source *State, r *CreateRequest) *Refusal {
	f := r.Fork
	switch {
	case source == nil || !source.Deleted && source.Expired(r.Now):
		return sourceNotFound()
	case source.Deleted:
		return refuse(SourceGone, "the stream named by Stream-Forked-From was deleted")
	case r.ContentType != "" && !SameContentType(r.ContentType, source.ContentType):
		return refuse(ContentTypeMismatch, "the source's content type is %q; a fork has the same", source.ContentType)
	case f.Refusal != nil:
		return f.Refusal
	case f.SourceID != 0 && f.SourceID != source.ID:
		return refuse(SourceNotFound, "the stream named by Stream-Forked-From was replaced meanwhile")
	}
	anchor := source.Tail
	if f.HasOffset {
		anchor = f.Offset
	}
	at := anchor
	switch {
	case anchor > source.Tail:
		return refuse(InvalidForkPoint, "Stream-Fork-Offset %s is past the source's tail %s", anchor, source.Tail)
	case f.resolved:
		at = f.At
	case Offset(f.SubOffset) > source.Tail-anchor:
		// A byte stream keeps no append boundaries: its next data boundary is its tail.
		return refuse(InvalidForkPoint, "the source has fewer than %d bytes after %s", f.SubOffset, anchor)
	default:
		at += Offset(f.SubOffset)
	}
	if s.ContentType == "" {
		s.ContentType = source.ContentType
	}
	s.ExpiryInherited = s.Expiry.None() && !source.Expiry.None()
	s.Expiry = s.Expiry.inherit(source.Expiry)
	s.Tail = at
	s.Fork = &Fork{Source: f.Source, SourceID: source.ID, Offset: anchor, SubOffset: f.SubOffset, At: at}
	return nil
}

func sourceNotFound() *Refusal {
	return refuse(SourceNotFound, "the stream named by Stream-Forked-From does not exist")
}

// matchFork reports whether an existing stream's origin is what a PUT asks for.
// A request without an offset matches whatever the tail was then, so that a
// repeated request succeeds.
func matchFork(f *Fork, r *ForkRequest) bool {
	if f == nil || r == nil {
		return f == nil && r == nil
	}
	return f.Source == r.Source && f.SubOffset == r.SubOffset && (!r.HasOffset || f.Offset == r.Offset)
}
