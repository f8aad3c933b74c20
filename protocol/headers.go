package protocol

import "strings"

// Header names of the protocol (§13.2), in the canonical form of net/http.
const (
	HeaderTTL             = "Stream-Ttl"
	HeaderExpiresAt       = "Stream-Expires-At"
	HeaderSeq             = "Stream-Seq"
	HeaderCursor          = "Stream-Cursor"
	HeaderNextOffset      = "Stream-Next-Offset"
	HeaderUpToDate        = "Stream-Up-To-Date"
	HeaderClosed          = "Stream-Closed"
	HeaderForkedFrom      = "Stream-Forked-From"
	HeaderForkOffset      = "Stream-Fork-Offset"
	HeaderForkSubOffset   = "Stream-Fork-Sub-Offset"
	HeaderSSEDataEncoding = "Stream-Sse-Data-Encoding"
	HeaderExpectedOffset  = "Stream-Expected-Offset"

	HeaderProducerID          = "Producer-Id"
	HeaderProducerEpoch       = "Producer-Epoch"
	HeaderProducerSeq         = "Producer-Seq"
	HeaderProducerExpectedSeq = "Producer-Expected-Seq"
	HeaderProducerReceivedSeq = "Producer-Received-Seq"

	headerContentType = "Content-Type"
	headerIfMatch     = "If-Match"
	headerIfNoneMatch = "If-None-Match"
)

// Headers are a request's headers. http.Header is one.
type Headers interface {
	// Values returns the values of the named header in order, nil if it is absent.
	Values(name string) []string
}

// single returns the value of a header that may occur once.
func single(h Headers, name string) (value string, present bool, refusal *Refusal) {
	switch v := h.Values(name); len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	default:
		return "", false, refuse(Malformed, "send %s once, not %d times", name, len(v))
	}
}

// isClosed reports whether Stream-Closed is present: its value is "true" in any
// case; every other value counts as absent (§4.1).
func isClosed(h Headers) bool {
	v := h.Values(HeaderClosed)
	return len(v) > 0 && strings.EqualFold(v[0], "true")
}
