package protocol

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxNameLen     = 1024 // bytes
	controlSegment = "__ds"
	reservedPrefix = "__"
)

// ParsePath is [ParseName] for the path of a request. stripped is what a route
// took from its front before. Only then may the path be a name as a whole: else
// every stream would have a second path, which access rules do not know (§12.2).
func ParsePath(path, stripped, base string) (string, *Refusal) {
	base = strings.TrimSuffix(base, "/")
	if stripped == "" && path != base && !strings.HasPrefix(path, base+"/") {
		return "", refuse(InvalidName, "streams live below %s/", base)
	}
	return ParseName(path, base)
}

// ParseName returns the name of the stream at a decoded URL path: the path below
// base, byte for byte. Doubled slashes are part of the name, nothing is cleaned.
// A path that is not below base is used whole, without its leading slash, as it
// reaches a handler behind a prefix-stripping route.
func ParseName(path, base string) (string, *Refusal) {
	base = strings.TrimSuffix(base, "/")
	name, below := strings.CutPrefix(path, base+"/")
	if !below {
		name = strings.TrimPrefix(path, "/")
	}
	switch {
	case name == "" || path == base:
		return "", refuse(InvalidName, "the URL names no stream; add a name below %s/", base)
	case len(name) > maxNameLen:
		return "", refuse(InvalidName, "a stream's name has at most %d bytes, this one has %d", maxNameLen, len(name))
	case !utf8.ValidString(name):
		return "", refuse(InvalidName, "a stream's name must be valid UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", refuse(InvalidName, "a stream's name must not contain control characters")
	}
	first := true
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "." || segment == ".." {
			return "", refuse(InvalidName, "a stream's name must not contain the segments . and ..")
		}
		if first && segment == controlSegment {
			return "", refuse(NotFound, "%s is reserved for control APIs, and this server has none there", controlSegment)
		}
		first = false
	}
	return name, nil
}

// ParseForkSource returns the name of a fork's source from the value of
// Stream-Forked-From, the path component of the source's URL (§4.2). The path is
// percent-decoded and then resolved like any request's: stripped is what a route
// took from the front of the fork's own path, and is taken from this one too.
func ParseForkSource(value, stripped, base string) (string, *Refusal) {
	path, err := url.PathUnescape(value)
	if err != nil || !strings.HasPrefix(path, "/") {
		return "", refuse(Malformed, "Stream-Forked-From must be the path of the source's URL, such as %s/name", stripped+strings.TrimSuffix(base, "/"))
	}
	rest, ok := strings.CutPrefix(path, stripped)
	if !ok || !strings.HasPrefix(rest, "/") {
		rest, stripped = path, "" // the path of another route's stream
	}
	return ParsePath(rest, stripped, base)
}

// CheckWritable refuses changes by clients to the server's own streams.
func CheckWritable(name string) *Refusal {
	if strings.HasPrefix(name, reservedPrefix) {
		return refuse(Reserved, "names that begin with %s belong to the server; clients may only read them", reservedPrefix)
	}
	return nil
}
