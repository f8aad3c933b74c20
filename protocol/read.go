package protocol

// Live is how a GET goes on at the tail.
type Live uint8

const (
	// CatchUp answers with what there is (§5.6).
	CatchUp Live = iota
	// LongPoll waits for the first new bytes (§5.7).
	LongPoll
	// SSE streams events (§5.8).
	SSE
)

// ReadRequest is a GET (§5.6 to §5.8).
type ReadRequest struct {
	// From is where to read, possibly Now.
	From Offset
	Live Live
	// Cursor is the client's last cursor, empty if it sent none (§10.1).
	Cursor string
	// IfNoneMatch holds the values of that header.
	IfNoneMatch []string
}

// ParseRead parses the query parameters and headers of a GET. Parameters that
// the protocol does not know are ignored (§11.1).
func ParseRead(query map[string][]string, h Headers) (ReadRequest, *Refusal) {
	r := ReadRequest{IfNoneMatch: h.Values(headerIfNoneMatch)}
	offset, hasOffset, refusal := parameter(query, "offset")
	if refusal != nil {
		return r, refusal
	}
	live, hasLive, refusal := parameter(query, "live")
	if refusal != nil {
		return r, refusal
	}
	if r.Cursor, _, refusal = parameter(query, "cursor"); refusal != nil {
		return r, refusal
	}
	if hasOffset {
		if r.From, refusal = ParseReadOffset(offset); refusal != nil {
			return r, refusal
		}
	}
	switch {
	case !hasLive:
	case live == "long-poll":
		r.Live = LongPoll
	case live == "sse":
		r.Live = SSE
	default:
		return r, refuse(Malformed, "live=%s is not known; use long-poll or sse, or leave it out", clip(live))
	}
	if r.Live != CatchUp && !hasOffset {
		return r, refuse(Malformed, "live=%s needs an offset; use -1 for the start or now for the tail", live)
	}
	return r, nil
}

func parameter(query map[string][]string, name string) (value string, present bool, refusal *Refusal) {
	switch v := query[name]; len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	default:
		return "", false, refuse(Malformed, "send the parameter %s once, not %d times", name, len(v))
	}
}

// CheckReadOffset refuses a read that starts past the tail.
func CheckReadOffset(from, tail Offset) *Refusal {
	if from > tail {
		return refuse(InvalidOffset, "the offset %s is past the stream's tail %s", from, tail)
	}
	return nil
}

// MidMessage refuses a read or fork that starts inside a JSON message.
func MidMessage(from Offset) *Refusal {
	return refuse(InvalidOffset, "the offset %s lies inside a message; use a Stream-Next-Offset that this server returned", from)
}
