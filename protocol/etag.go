package protocol

import (
	"strconv"
	"strings"
)

// ETag returns the entity tag of a response that carries the bytes from start
// to end of the stream id. closed says that the response tells the client that
// the stream is closed; the tag differs then, so that a 304 never hides the end
// of a stream (§10.1).
func ETag(id uint64, start, end Offset, closed bool) string {
	b := make([]byte, 0, 64)
	b = append(b, '"')
	b = strconv.AppendUint(b, id, 36)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(start), 10)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(end), 10)
	if closed {
		b = append(b, ':', 'c')
	}
	return string(append(b, '"'))
}

// MatchETag reports whether an If-None-Match header names the tag or is "*". The
// comparison is weak (RFC 9110 §13.1.2).
func MatchETag(ifNoneMatch []string, etag string) bool {
	for _, line := range ifNoneMatch {
		for candidate := range strings.SplitSeq(line, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
				return true
			}
		}
	}
	return false
}
