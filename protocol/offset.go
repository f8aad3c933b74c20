package protocol

import "math"

// Offset is a position in a stream: the number of bytes before it (§8). The
// token that clients see is 16 decimal digits, '_', 16 decimal digits; the first
// number is the position, the second is 0. Tokens of one stream therefore sort
// like positions.
type Offset int64

const (
	// Start is the beginning of every stream.
	Start Offset = 0
	// MaxOffset is the greatest position that a token can name.
	MaxOffset Offset = 9_999_999_999_999_999
	// Now stands for the tail at the time of the read (§8). It is never a
	// position and never sent to a client.
	Now Offset = math.MaxInt64
)

const (
	offsetDigits = 16
	offsetLen    = 2*offsetDigits + 1
)

// String returns the offset's token.
func (o Offset) String() string { return string(o.AppendTo(make([]byte, 0, offsetLen))) }

// AppendTo appends the offset's token to dst. The offset must be a position
// between Start and MaxOffset.
func (o Offset) AppendTo(dst []byte) []byte {
	if o < Start || o > MaxOffset {
		panic("protocol: an offset out of range has no token")
	}
	var buf [offsetLen]byte
	for i := range buf {
		buf[i] = '0'
	}
	buf[offsetDigits] = '_'
	for i, n := offsetDigits-1, o; n > 0; i, n = i-1, n/10 {
		buf[i] = byte('0' + n%10)
	}
	return append(dst, buf[:]...)
}

// ParseOffset parses a token as the server makes it. The second number does not
// take part in the position: a client that adds 1 to it means "after this
// position", which is the same place. Sentinels are not accepted; see
// [ParseReadOffset].
func ParseOffset(s string) (Offset, *Refusal) {
	if len(s) != offsetLen || s[offsetDigits] != '_' {
		return 0, invalidOffset(s, "")
	}
	var pos Offset
	for i := range len(s) {
		c := s[i]
		switch {
		case i == offsetDigits:
		case c < '0' || c > '9':
			return 0, invalidOffset(s, "")
		case i < offsetDigits:
			pos = pos*10 + Offset(c-'0')
		}
	}
	return pos, nil
}

// ParseReadOffset parses the offset of a read: a token, "-1" for the start, or
// "now" for the tail (§8).
func ParseReadOffset(s string) (Offset, *Refusal) {
	switch s {
	case "-1":
		return Start, nil
	case "now":
		return Now, nil
	}
	offset, refusal := ParseOffset(s)
	if refusal != nil {
		refusal = invalidOffset(s, ", -1 or now")
	}
	return offset, refusal
}

// invalidOffset refuses s, where one of the sentinels would do as well as an
// offset.
func invalidOffset(s, sentinels string) *Refusal {
	return refuse(InvalidOffset, "%q is not an offset here; use a Stream-Next-Offset that this server returned%s", clip(s), sentinels)
}

// clip shortens a client's text for an error message.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
