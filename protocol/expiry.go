package protocol

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MaxTTL is the longest time-to-live that a stream may have: 100 years.
const MaxTTL = 100 * 365 * 24 * time.Hour

// Expiry says when a stream ends by itself (§5.1). At most one of its two kinds
// is set; the zero value never expires.
type Expiry struct {
	// TTL is the sliding window: the stream ends this long after it was last
	// read or written. Meaningful if HasTTL; zero ends it at once.
	TTL    time.Duration
	HasTTL bool
	// At is the absolute end, in UTC; the zero time means none.
	At time.Time
}

// None reports whether the stream never expires.
func (e Expiry) None() bool { return !e.HasTTL && e.At.IsZero() }

// Equal reports whether two expiries are the same configuration.
func (e Expiry) Equal(o Expiry) bool {
	return e.HasTTL == o.HasTTL && e.TTL == o.TTL && e.At.Equal(o.At)
}

// Deadline returns the time at which a stream last used at accessed ends. ok is
// false if it never does.
func (e Expiry) Deadline(accessed time.Time) (deadline time.Time, ok bool) {
	switch {
	case e.HasTTL:
		return accessed.Add(e.TTL), true
	case !e.At.IsZero():
		return e.At, true
	}
	return time.Time{}, false
}

// RenewalSlack is how far an engine's stored time of last access may lag behind
// the real one, so that a read need not be a write: a tenth of the TTL, at most
// a minute. A recovered stream lives up to this much longer, never shorter.
func (e Expiry) RenewalSlack() time.Duration {
	if !e.HasTTL {
		return 0
	}
	return min(e.TTL/10, time.Minute)
}

// inherit returns a fork's expiry: its own if it asks for one, else the
// source's (§4.2, table).
func (e Expiry) inherit(source Expiry) Expiry {
	if e.None() {
		return source
	}
	return e
}

func parseExpiry(h Headers) (Expiry, *Refusal) {
	ttl, hasTTL, refusal := single(h, HeaderTTL)
	if refusal != nil {
		return Expiry{}, refusal
	}
	at, hasAt, refusal := single(h, HeaderExpiresAt)
	if refusal != nil {
		return Expiry{}, refusal
	}
	switch {
	case hasTTL && hasAt:
		return Expiry{}, refuse(Malformed, "send either Stream-TTL or Stream-Expires-At, not both")
	case hasTTL:
		seconds, ok := parseDigits(ttl)
		if !ok || seconds > int64(MaxTTL/time.Second) {
			return Expiry{}, refuse(Malformed, "Stream-TTL must be whole seconds from 0 to %d, digits only and without leading zeros", int64(MaxTTL/time.Second))
		}
		return Expiry{TTL: time.Duration(seconds) * time.Second, HasTTL: true}, nil
	case hasAt:
		t, ok := parseTime(at)
		if !ok {
			return Expiry{}, refuse(Malformed, "Stream-Expires-At must be an RFC 3339 time such as 2030-01-02T15:04:05Z")
		}
		return Expiry{At: t}, nil
	}
	return Expiry{}, nil
}

// timeForm is the form of RFC 3339 §5.6, in which T and Z may be lower case.
var timeForm = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):\d\d)$`)

// parseTime parses an RFC 3339 time from 1970 to 9999, in UTC. time.Parse alone
// would take more than that form, such as hours of one digit.
func parseTime(s string) (time.Time, bool) {
	if !timeForm.MatchString(s) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	t = t.UTC() // which may be in another year
	return t, err == nil && t.Year() >= 1970 && t.Year() <= 9999
}

// parseDigits parses a non-negative decimal integer without sign, leading zeros
// or spaces.
func parseDigits(s string) (int64, bool) {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
