package protocol_test

import (
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestParseCreate_ttl(t *testing.T) {
	for value, want := range map[string]int64{
		"0": 0, "1": 1, "3600": 3600, "3153600000": 3153600000,
	} {
		r, refusal := protocol.ParseCreate(headers("Stream-TTL", value), "", base)
		if refusal != nil || !r.Expiry.Equal(ttl(want)) {
			t.Errorf("Stream-TTL %q is %+v, %v", value, r.Expiry, refusal)
		}
	}
	for clause, value := range map[string]string{
		"empty": "", "negative": "-1", "plus sign": "+3600", "leading zero": "03600", "zeros": "00", "float": "3600.0",
		"exponent": "3.6e3", "no number": "soon", "hexadecimal": "0x10", "space inside": "3 600", "space before": " 1",
		"over 100 years": "3153600001", "over 63 bits": "9223372036854775808", "huge": "99999999999999999999999999",
		"separators": "3_600", "other digits": "٣", "unit": "60s", "infinite": "Infinity",
	} {
		t.Run(clause, func(t *testing.T) {
			_, refusal := protocol.ParseCreate(headers("Stream-TTL", value), "", base)
			wantCode(t, refusal, protocol.Malformed)
		})
	}
}

func TestParseCreate_expiresAt(t *testing.T) {
	for value, want := range map[string]time.Time{
		"2030-01-02T15:04:05Z":           time.Date(2030, 1, 2, 15, 4, 5, 0, time.UTC),
		"2030-01-02T15:04:05.123456789Z": time.Date(2030, 1, 2, 15, 4, 5, 123456789, time.UTC),
		"2030-01-02T15:04:05+01:30":      time.Date(2030, 1, 2, 13, 34, 5, 0, time.UTC),
		"2030-01-02t15:04:05z":           time.Date(2030, 1, 2, 15, 4, 5, 0, time.UTC),
		"1970-01-01T00:00:00Z":           time.Unix(0, 0).UTC(),
		"9999-12-31T23:59:59Z":           time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		r, refusal := protocol.ParseCreate(headers("Stream-Expires-At", value), "", base)
		if refusal != nil || !r.Expiry.At.Equal(want) || r.Expiry.At.Location() != time.UTC || r.Expiry.HasTTL {
			t.Errorf("Stream-Expires-At %q is %+v, %v", value, r.Expiry, refusal)
		}
	}
	for clause, value := range map[string]string{
		"empty": "", "seconds": "1893456000", "no zone": "2030-01-02T15:04:05", "date only": "2030-01-02",
		"HTTP date": "Wed, 02 Jan 2030 15:04:05 GMT", "space for T": "2030-01-02 15:04:05Z", "month 13": "2030-13-01T00:00:00Z",
		"February 30": "2030-02-30T00:00:00Z", "hour 24": "2030-01-01T24:00:00Z", "one digit hour": "2030-01-02T5:04:05Z",
		"comma": "2030-01-02T15:04:05,5Z", "zone without colon": "2030-01-02T15:04:05+0100", "year 10000": "10000-01-01T00:00:00Z",
		"year 10000 in UTC": "9999-12-31T23:59:59-01:00", "before 1970": "1969-12-31T23:59:59Z",
		"before 1970 in UTC": "1970-01-01T00:00:00+01:00", "negative year": "-001-01-01T00:00:00Z", "word": "tomorrow",
	} {
		t.Run(clause, func(t *testing.T) {
			_, refusal := protocol.ParseCreate(headers("Stream-Expires-At", value), "", base)
			wantCode(t, refusal, protocol.Malformed)
		})
	}
}

func TestParseCreate_expiryOnce(t *testing.T) {
	at := "2030-01-02T15:04:05Z"
	for clause, h := range map[string][]string{
		"both":                  {"Stream-TTL", "60", "Stream-Expires-At", at},
		"both, one of them bad": {"Stream-TTL", "-1", "Stream-Expires-At", at},
		"TTL twice":             {"Stream-TTL", "60", "Stream-TTL", "60"},
		"Expires-At twice":      {"Stream-Expires-At", at, "Stream-Expires-At", at},
	} {
		t.Run(clause, func(t *testing.T) {
			_, refusal := protocol.ParseCreate(headers(h...), "", base)
			wantCode(t, refusal, protocol.Malformed)
		})
	}
	r, refusal := protocol.ParseCreate(headers(), "", base)
	if refusal != nil || !r.Expiry.None() {
		t.Errorf("without headers the expiry is %+v, %v", r.Expiry, refusal)
	}
}

func TestExpiry_boundIsExclusive(t *testing.T) {
	for _, c := range []struct {
		clause string
		e      protocol.Expiry
		ends   time.Time // zero: never
	}{
		{"none", protocol.Expiry{}, time.Time{}},
		{"TTL", ttl(60), now.Add(time.Minute)},
		{"TTL of zero", ttl(0), now},
		{"longest TTL", protocol.Expiry{TTL: protocol.MaxTTL, HasTTL: true}, now.Add(protocol.MaxTTL)},
		{"Expires-At", until(now.Add(time.Hour)), now.Add(time.Hour)},
		{"Expires-At in the past", until(now.Add(-time.Hour)), now.Add(-time.Hour)},
	} {
		t.Run(c.clause, func(t *testing.T) {
			s := protocol.State{Expiry: c.e, Accessed: now}
			deadline, ok := c.e.Deadline(now)
			if ok == c.ends.IsZero() || ok && !deadline.Equal(c.ends) {
				t.Fatalf("the deadline is %v, %v; want %v", deadline, ok, c.ends)
			}
			if c.ends.IsZero() {
				if s.Expired(now.Add(1000 * time.Hour)) {
					t.Fatal("a stream without expiry has expired")
				}
				return
			}
			if s.Expired(c.ends.Add(-1)) || !s.Expired(c.ends) || !s.Expired(c.ends.Add(time.Hour)) {
				t.Fatalf("around %v: %v, %v, %v", c.ends, s.Expired(c.ends.Add(-1)), s.Expired(c.ends), s.Expired(c.ends.Add(time.Hour)))
			}
		})
	}
}

func TestExpiry_equal(t *testing.T) {
	at := until(now)
	for _, c := range []struct {
		a, b protocol.Expiry
		want bool
	}{
		{protocol.Expiry{}, protocol.Expiry{}, true},
		{ttl(0), protocol.Expiry{}, false},
		{ttl(1), ttl(1), true},
		{ttl(1), ttl(2), false},
		{at, until(now.In(time.FixedZone("", 7200))), true},
		{at, until(now.Add(1)), false},
		{at, ttl(1), false},
		{at, protocol.Expiry{}, false},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("%+v and %+v: want %v", c.a, c.b, c.want)
		}
	}
}

func TestExpiry_renewalSlack(t *testing.T) {
	for _, c := range []struct {
		e    protocol.Expiry
		want time.Duration
	}{
		{protocol.Expiry{}, 0},
		{until(now), 0},
		{ttl(0), 0},
		{ttl(10), time.Second},
		{ttl(600), time.Minute},
		{ttl(86400), time.Minute},
	} {
		if got := c.e.RenewalSlack(); got != c.want {
			t.Errorf("the slack of %+v is %v, want %v", c.e, got, c.want)
		}
	}
}

func TestState_renewNeverGoesBack(t *testing.T) {
	s := protocol.State{Accessed: now}
	s.Renew(now.Add(-time.Hour))
	if !s.Accessed.Equal(now) {
		t.Errorf("an earlier access moved the time to %v", s.Accessed)
	}
	s.Renew(now.Add(time.Hour))
	if !s.Accessed.Equal(now.Add(time.Hour)) {
		t.Errorf("a later access moved the time to %v", s.Accessed)
	}
}
