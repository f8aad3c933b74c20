package server

import (
	"net/http"
	"strings"
)

const (
	allowedMethods = "GET, HEAD, PUT, POST, DELETE, OPTIONS"

	// exposedHeaders are the response headers that a script may read.
	exposedHeaders = "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, " +
		"Stream-TTL, Stream-Expires-At, Stream-SSE-Data-Encoding, " +
		"Producer-Epoch, Producer-Seq, Producer-Expected-Seq, Producer-Received-Seq, " +
		"ETag, Location, Content-Type, Content-Length, Cache-Control, Allow, Retry-After"

	// requestHeaders are the request headers that a script may send. They are
	// named one by one, since * does not cover Authorization.
	requestHeaders = "Content-Type, Authorization, Accept, Cache-Control, If-Match, If-None-Match, Last-Event-ID, " +
		"Stream-Seq, Stream-TTL, Stream-Expires-At, Stream-Closed, Stream-Cursor, " +
		"Stream-Expected-Offset, Stream-Forked-From, Stream-Fork-Offset, Stream-Fork-Sub-Offset, " +
		"Producer-Id, Producer-Epoch, Producer-Seq"

	preflightMaxAge = "86400" // seconds

	// maxEchoed bounds what a preflight request gets back, in bytes.
	maxEchoed = 1 * kib
)

// allowedHeaders returns the headers that a script may send, given those that
// its browser asks for: all that the protocol knows, and any other that is well
// formed, such as those of tracing. Streams are open to every origin and no
// cookie grants anything across origins, so a refusal would protect nothing.
func allowedHeaders(asked []string) string {
	var b strings.Builder
	b.WriteString(requestHeaders)
	for _, line := range asked {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			if !isHeaderName(name) || b.Len()+len(name) > len(requestHeaders)+maxEchoed || isRequestHeader(name) {
				continue
			}
			b.WriteString(", ")
			b.WriteString(name)
		}
	}
	return b.String()
}

// isRequestHeader reports whether name is one of requestHeaders.
func isRequestHeader(name string) bool {
	for known := range strings.SplitSeq(requestHeaders, ", ") {
		if strings.EqualFold(known, name) {
			return true
		}
	}
	return false
}

// isHeaderName reports whether name consists of letters, digits and hyphens: all
// that real headers need, and nothing that could end the line or the list.
func isHeaderName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return name != ""
}

// setBase sets what every response carries: that scripts of any origin may read
// it, and that no browser may take it for something else (§12.7).
func (a *answer) setBase() {
	a.set("Access-Control-Allow-Origin", "*")
	a.set("Access-Control-Expose-Headers", exposedHeaders)
	a.set("X-Content-Type-Options", "nosniff")
	a.set("Cross-Origin-Resource-Policy", "cross-origin")
}

// preflight answers OPTIONS, whether a browser's preflight or not, and whatever
// the URL: the request that follows is the one to refuse.
func (a *answer) preflight() {
	a.set("Allow", allowedMethods)
	a.set("Access-Control-Allow-Methods", allowedMethods)
	a.set("Access-Control-Allow-Headers", allowedHeaders(a.r.Header["Access-Control-Request-Headers"]))
	a.set("Access-Control-Max-Age", preflightMaxAge)
	a.set("Vary", "Access-Control-Request-Headers")
	a.w.WriteHeader(http.StatusNoContent)
}
