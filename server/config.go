package server

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// Config says how a [Handler] serves. The zero value of a field means its
// default.
type Config struct {
	// BasePath is the path below which streams live, /v1/stream by default. A
	// request's path that is not below it is a stream's name as a whole.
	BasePath string
	// LongPollTimeout is how long a long-poll waits for data (§5.7), 30 s by default.
	LongPollTimeout time.Duration
	// SSEReconnectInterval is after how long an SSE response ends, so that
	// clients come back through the caches in between (§5.8, §10.2); 60 s by default.
	SSEReconnectInterval time.Duration
	// SSEHeartbeat is after how long without an event an SSE response carries a
	// comment line, 15 s by default. Proxies cut connections that stay silent.
	SSEHeartbeat time.Duration
	// MaxAppendSize is how many bytes the body of a PUT or POST may have, 16 MiB
	// by default.
	MaxAppendSize int64
	// MaxChunkSize is about how many bytes a catch-up or long-poll response
	// carries at most, 4 MiB by default. A JSON message longer than that still
	// comes whole.
	MaxChunkSize int
	// WriteTimeout is how long one write to a client may stall before the client
	// is cut off, 30 s by default. It bounds a stall, not a response: a slow
	// client that goes on reading is served to the end.
	WriteTimeout time.Duration
	// ReadTimeout is how long a request's body may make no progress before it is
	// refused, 30 s by default.
	ReadTimeout time.Duration
	// StreamURL returns the URL of the request's stream, for Location (§5.1). The
	// default is made of what the client sent to this server: the Host header,
	// whether it used TLS, and the path. X-Forwarded headers do not count, since
	// any client can send them.
	StreamURL func(*http.Request) string
	// Stripped returns what a route took from the front of the request's path
	// before the handler got it. Clients do not know of that: the path by which
	// they name a fork's source begins with it (§4.2). The default is nothing.
	Stripped func(*http.Request) string
	// Now returns the time by which cursors and cache lifetimes are computed,
	// and at which requests are received.
	Now func() time.Time
	// Rand returns a random number in [0, n). It may be called concurrently.
	Rand func(n int) int
	// Report receives the engine's failures that no answer could carry, because
	// the response had begun. It may be called concurrently. The default drops
	// them.
	Report func(r *http.Request, err error)
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// withDefaults returns the configuration with its zero fields filled in.
func (c Config) withDefaults() Config {
	setDefault(&c.LongPollTimeout, 30*time.Second)
	setDefault(&c.SSEReconnectInterval, 60*time.Second)
	setDefault(&c.SSEHeartbeat, 15*time.Second)
	setDefault(&c.MaxAppendSize, 16*mib)
	setDefault(&c.MaxChunkSize, 4*mib)
	setDefault(&c.WriteTimeout, 30*time.Second)
	setDefault(&c.ReadTimeout, 30*time.Second)
	setDefault(&c.BasePath, "/v1/stream")
	if c.StreamURL == nil {
		c.StreamURL = requestURL
	}
	if c.Stripped == nil {
		c.Stripped = func(*http.Request) string { return "" }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.IntN
	}
	if c.Report == nil {
		c.Report = func(*http.Request, error) {}
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// requestURL returns the request's absolute URL without its query, or its path if
// it names no host, as in HTTP/1.0.
func requestURL(r *http.Request) string {
	if r.Host == "" {
		return r.URL.EscapedPath()
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + r.URL.EscapedPath()
}
