package server

import "net/http"

// answer is the one response to a request. respond.go says what it holds.
type answer struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	header http.Header
	// values holds the headers' values, each a slice of length and capacity 1.
	// They are the response's own: a middleware may change values in place, as
	// Caddy's header directive does, and must not change other responses.
	values []string
	inline [commonHeaders]string // what values begins with
	// bodyBound says that the request's body was read, at least in part, under a
	// deadline that still holds.
	bodyBound bool
}

// commonHeaders is how many headers most responses have.
const commonHeaders = 10

func newAnswer(h *Handler, w http.ResponseWriter, r *http.Request) *answer {
	a := &answer{h: h, w: w, r: r, header: w.Header()}
	a.values = a.inline[:0]
	a.setBase()
	return a
}

// set sets a header. The name must be in the canonical form of net/http.
func (a *answer) set(name, value string) {
	a.values = append(a.values, value)
	n := len(a.values)
	a.header[name] = a.values[n-1 : n : n]
}
