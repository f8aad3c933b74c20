package protocol

import "strings"

// DefaultContentType is a stream's content type when its creation names none (§5.1).
const DefaultContentType = "application/octet-stream"

const (
	mediaTypeJSON     = "application/json"
	maxContentTypeLen = 512 // bytes
)

// mediaType returns a content type without its parameters and surrounding space.
func mediaType(contentType string) string {
	if i := strings.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	return strings.TrimSpace(contentType)
}

// SameContentType reports whether two content types name the same media type.
// Case and parameters do not matter (§5.2).
func SameContentType(a, b string) bool {
	return strings.EqualFold(mediaType(a), mediaType(b))
}

// IsJSON reports whether streams of this content type are in JSON mode (§9.1).
func IsJSON(contentType string) bool {
	return strings.EqualFold(mediaType(contentType), mediaTypeJSON)
}

// IsText reports whether SSE carries the stream's bytes as UTF-8 text rather
// than base64: text/* and application/json (§5.8).
func IsText(contentType string) bool {
	m := mediaType(contentType)
	return len(m) > 5 && strings.EqualFold(m[:5], "text/") || strings.EqualFold(m, mediaTypeJSON)
}

// checkContentType refuses what is not of the form type/subtype.
func checkContentType(contentType string) *Refusal {
	if len(contentType) > maxContentTypeLen {
		return refuse(Malformed, "Content-Type is longer than %d bytes", maxContentTypeLen)
	}
	typ, sub, ok := strings.Cut(mediaType(contentType), "/")
	if !ok || !isToken(typ) || !isToken(sub) {
		return refuse(Malformed, "Content-Type %q is not of the form type/subtype", clip(contentType))
	}
	return nil
}

// isToken reports whether s is a token as RFC 9110 §5.6.2 defines it.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
