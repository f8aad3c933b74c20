package protocol_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestParseCreate_contentType(t *testing.T) {
	for _, c := range []struct {
		clause string
		h      []string
		want   string
		code   protocol.Code
	}{
		{"none", nil, "", 0},
		{"empty is none", []string{"Content-Type", ""}, "", 0},
		{"kept as written", []string{"Content-Type", "Text/Plain; Charset=UTF-8"}, "Text/Plain; Charset=UTF-8", 0},
		{"malformed", []string{"Content-Type", "nonsense"}, "", protocol.Malformed},
		{"twice", []string{"Content-Type", "a/b", "Content-Type", "a/b"}, "", protocol.Malformed},
	} {
		t.Run(c.clause, func(t *testing.T) {
			r, refusal := protocol.ParseCreate(headers(c.h...), "", base)
			wantCode(t, refusal, c.code)
			if c.code == 0 && r.ContentType != c.want {
				t.Errorf("the content type is %q", r.ContentType)
			}
		})
	}
}

func TestCreateRequest_setBody(t *testing.T) {
	for _, c := range []struct {
		clause, contentType, body, wire string
		code                            protocol.Code
	}{
		{"bytes", "text/plain", " [1] ", " [1] ", 0},
		{"JSON", "application/json", " [1, {\"a\" : 2}] ", "1,\n{\"a\":2},\n", 0},
		{"empty body", "application/json", "", "", 0},
		{"empty array makes an empty stream", "application/json", " [ ] ", "", 0},
		{"invalid JSON", "application/json", "[1,", "", protocol.InvalidJSON},
	} {
		t.Run(c.clause, func(t *testing.T) {
			var r protocol.CreateRequest
			r.SetBody([]byte(c.body), c.contentType)
			wantCode(t, r.BodyRefusal, c.code)
			if string(r.Body) != c.wire {
				t.Errorf("the wire bytes are %q, want %q", r.Body, c.wire)
			}
		})
	}
}

func TestPlanCreate_newStream(t *testing.T) {
	r := protocol.CreateRequest{ContentType: "text/html; charset=utf-8", Expiry: ttl(60), Closed: true, Body: []byte("abc"), Now: now}
	plan, refusal := protocol.PlanCreate(nil, nil, &r)
	want := protocol.State{ContentType: "text/html; charset=utf-8", Expiry: ttl(60), Closed: true, Tail: 3, Accessed: now}
	if refusal != nil || plan.Exists || plan.State != want {
		t.Errorf("the plan is %+v, %v", plan, refusal)
	}
	plan, refusal = protocol.PlanCreate(nil, nil, &protocol.CreateRequest{Now: now})
	if refusal != nil || plan.State != (protocol.State{ContentType: "application/octet-stream", Accessed: now}) {
		t.Errorf("the plan without anything is %+v, %v", plan, refusal)
	}
	_, refusal = protocol.PlanCreate(nil, nil, &protocol.CreateRequest{BodyRefusal: &protocol.Refusal{Code: protocol.InvalidJSON}})
	wantCode(t, refusal, protocol.InvalidJSON)
}

// TestPlanCreate_matches is §5.1: content type, TTL or expiry and closure decide
// whether an existing stream is the one that is asked for. The body does not.
func TestPlanCreate_matches(t *testing.T) {
	at := until(now.Add(time.Hour))
	for _, c := range []struct {
		clause  string
		s       protocol.State
		r       protocol.CreateRequest
		matches bool
	}{
		{"same", protocol.State{ContentType: "a/b"}, protocol.CreateRequest{ContentType: "a/b"}, true},
		{"case and parameters", protocol.State{ContentType: "a/b"}, protocol.CreateRequest{ContentType: "A/B; c=d"}, true},
		{"other type", protocol.State{ContentType: "a/b"}, protocol.CreateRequest{ContentType: "a/c"}, false},
		{"no type is the default", protocol.State{ContentType: protocol.DefaultContentType}, protocol.CreateRequest{}, true},
		{"no type is not any type", protocol.State{ContentType: "a/b"}, protocol.CreateRequest{}, false},
		{"TTL", protocol.State{ContentType: "a/b", Expiry: ttl(60)}, protocol.CreateRequest{ContentType: "a/b", Expiry: ttl(60)}, true},
		{"other TTL", protocol.State{ContentType: "a/b", Expiry: ttl(60)}, protocol.CreateRequest{ContentType: "a/b", Expiry: ttl(61)}, false},
		{"TTL left out", protocol.State{ContentType: "a/b", Expiry: ttl(60)}, protocol.CreateRequest{ContentType: "a/b"}, false},
		{"TTL of zero is one", protocol.State{ContentType: "a/b"}, protocol.CreateRequest{ContentType: "a/b", Expiry: ttl(0)}, false},
		{"Expires-At", protocol.State{ContentType: "a/b", Expiry: at}, protocol.CreateRequest{ContentType: "a/b", Expiry: at}, true},
		{"TTL for Expires-At", protocol.State{ContentType: "a/b", Expiry: at}, protocol.CreateRequest{ContentType: "a/b", Expiry: ttl(3600)}, false},
		{"open to open", protocol.State{ContentType: "a/b"}, protocol.CreateRequest{ContentType: "a/b"}, true},
		{"open to closed", protocol.State{ContentType: "a/b", Closed: true}, protocol.CreateRequest{ContentType: "a/b"}, false},
		{"closed to closed", protocol.State{ContentType: "a/b", Closed: true}, protocol.CreateRequest{ContentType: "a/b", Closed: true}, true},
		{"closed to open", protocol.State{ContentType: "a/b"}, protocol.CreateRequest{ContentType: "a/b", Closed: true}, false},
		{"other body", protocol.State{ContentType: "a/b", Tail: 9}, protocol.CreateRequest{ContentType: "a/b", Body: []byte("x")}, true},
	} {
		t.Run(c.clause, func(t *testing.T) {
			plan, refusal := protocol.PlanCreate(&c.s, nil, &c.r)
			if c.matches {
				wantCode(t, refusal, 0)
			} else {
				wantCode(t, refusal, protocol.ConfigMismatch)
			}
			if plan.Exists != c.matches {
				t.Errorf("the plan is %+v", plan)
			}
		})
	}
}

func TestPlanCreate_softDeletedNameIsBlocked(t *testing.T) {
	s := protocol.State{ContentType: "a/b", Deleted: true}
	_, refusal := protocol.PlanCreate(&s, nil, &protocol.CreateRequest{ContentType: "a/b"})
	wantCode(t, refusal, protocol.NameBlocked)
	_, refusal = protocol.PlanCreate(&s, nil, &protocol.CreateRequest{ContentType: "c/d", Closed: true})
	wantCode(t, refusal, protocol.NameBlocked)
}

func TestState_availability(t *testing.T) {
	expired := protocol.State{Expiry: until(now)}
	for _, c := range []struct {
		clause string
		s      *protocol.State
		want   protocol.Code
	}{
		{"missing", nil, protocol.NotFound},
		{"there", &protocol.State{}, 0},
		{"closed", &protocol.State{Closed: true}, 0},
		{"soft-deleted", &protocol.State{Deleted: true, Forks: 1}, protocol.Gone},
		{"expired", &expired, protocol.NotFound},
		{"expired and soft-deleted", &protocol.State{Deleted: true, Forks: 1, Expiry: until(now)}, protocol.Gone},
	} {
		t.Run(c.clause, func(t *testing.T) {
			wantCode(t, protocol.Available(c.s, now), c.want)
			_, refusal := protocol.PlanDelete(c.s, now)
			wantCode(t, refusal, c.want)
		})
	}
}

// TestState_lifecycle is §4.2 "Soft-delete and lifecycle".
func TestState_lifecycle(t *testing.T) {
	for forks, soft := range map[int]bool{0: false, 1: true, 7: true} {
		s := protocol.State{Forks: forks, Expiry: until(now.Add(time.Hour))}
		if d, refusal := protocol.PlanDelete(&s, now); refusal != nil || d.Soft != soft {
			t.Errorf("the deletion with %d forks is %+v, %v", forks, d, refusal)
		}
		if d, over := protocol.PlanExpiry(&s, now); over {
			t.Errorf("a stream expires an hour early: %+v", d)
		}
		if d, over := protocol.PlanExpiry(&s, now.Add(time.Hour)); !over || d.Soft != soft {
			t.Errorf("the expiry with %d forks is %+v, %v", forks, d, over)
		}
		s.Deleted = true
		if _, over := protocol.PlanExpiry(&s, now.Add(time.Hour)); over {
			t.Error("a soft-deleted stream expires once more")
		}
	}
	if _, over := protocol.PlanExpiry(nil, now); over {
		t.Error("a missing stream expires")
	}
	for _, c := range []struct {
		deleted bool
		forks   int
		purge   bool
	}{{false, 1, false}, {false, 2, false}, {true, 2, false}, {true, 1, true}} {
		if got := protocol.PlanRelease(&protocol.State{Deleted: c.deleted, Forks: c.forks}); got != c.purge {
			t.Errorf("releasing a source (deleted %v, %d forks) purges it: %v", c.deleted, c.forks, got)
		}
	}
}

func TestParseCreate_fork(t *testing.T) {
	const from, at, sub = "Stream-Forked-From", "Stream-Fork-Offset", "Stream-Fork-Sub-Offset"
	token := protocol.Offset(42).String()
	for _, c := range []struct {
		clause string
		h      []string
		want   *protocol.ForkRequest
		code   protocol.Code
	}{
		{"none", nil, nil, 0},
		{"at the tail", []string{from, "/v1/stream/a"}, &protocol.ForkRequest{Source: "a"}, 0},
		{"at an offset", []string{from, "/v1/stream/a", at, token}, &protocol.ForkRequest{Source: "a", Offset: 42, HasOffset: true}, 0},
		{"at the start", []string{from, "/v1/stream/a", at, "-1"}, &protocol.ForkRequest{Source: "a", HasOffset: true}, 0},
		{"sub-offset", []string{from, "/v1/stream/a", at, token, sub, "7"}, &protocol.ForkRequest{Source: "a", Offset: 42, HasOffset: true, SubOffset: 7}, 0},
		{"sub-offset 0 is none", []string{from, "/v1/stream/a", sub, "0"}, &protocol.ForkRequest{Source: "a"}, 0},
		{"sub-offset past the tail", []string{from, "/v1/stream/a", sub, "1"}, nil, protocol.InvalidForkPoint},
		{"offset without source", []string{at, token}, nil, protocol.Malformed},
		{"sub-offset without source", []string{sub, "0"}, nil, protocol.Malformed},
		{"now is no divergence point", []string{from, "/v1/stream/a", at, "now"}, nil, protocol.InvalidOffset},
		{"malformed offset", []string{from, "/v1/stream/a", at, "42"}, nil, protocol.InvalidOffset},
		{"empty offset", []string{from, "/v1/stream/a", at, ""}, nil, protocol.InvalidOffset},
		{"relative source", []string{from, "a"}, nil, protocol.Malformed},
		{"empty source", []string{from, ""}, nil, protocol.Malformed},
		{"source with dots", []string{from, "/v1/stream/../a"}, nil, protocol.InvalidName},
		{"source twice", []string{from, "/a", from, "/a"}, nil, protocol.Malformed},
		{"offset twice", []string{from, "/a", at, token, at, token}, nil, protocol.Malformed},
		{"sub-offset twice", []string{from, "/a", at, token, sub, "1", sub, "1"}, nil, protocol.Malformed},
	} {
		t.Run(c.clause, func(t *testing.T) {
			r, refusal := protocol.ParseCreate(headers(c.h...), "", base)
			wantCode(t, refusal, c.code)
			if c.code != 0 {
				return
			}
			if (r.Fork == nil) != (c.want == nil) || c.want != nil && *r.Fork != *c.want {
				t.Errorf("the fork is %+v, want %+v", r.Fork, c.want)
			}
		})
	}
	for _, number := range []string{"", "-1", "+1", "1.0", "1e3", "01", " 1", "a", "9223372036854775808", strings.Repeat("9", 400)} {
		_, refusal := protocol.ParseCreate(headers(from, "/v1/stream/a", at, token, sub, number), "", base)
		if refusal == nil || refusal.Code != protocol.Malformed {
			t.Errorf("Stream-Fork-Sub-Offset %q: %v", number, refusal)
		}
	}
}
