package protocol_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestParseAppend_closedHeader(t *testing.T) {
	for value, want := range map[string]bool{
		"true": true, "TRUE": true, "True": true, "tRuE": true,
		"false": false, "yes": false, "1": false, "": false, " true": false, "true ": false, "truee": false, "true, true": false,
	} {
		r, refusal := protocol.ParseAppend(headers("Stream-Closed", value))
		if refusal != nil || r.Close != want {
			t.Errorf("Stream-Closed %q: close is %v, %v", value, r.Close, refusal)
		}
		c, refusal := protocol.ParseCreate(headers("Stream-Closed", value), "", base)
		if refusal != nil || c.Closed != want {
			t.Errorf("PUT with Stream-Closed %q: closed is %v, %v", value, c.Closed, refusal)
		}
	}
}

func TestParseAppend_streamSeq(t *testing.T) {
	long := strings.Repeat("s", 1024)
	for _, c := range []struct {
		clause string
		h      []string
		want   string
		code   protocol.Code
	}{
		{"none", nil, "", 0},
		{"opaque", []string{"Stream-Seq", "é, \"1\""}, "é, \"1\"", 0},
		{"longest", []string{"Stream-Seq", long}, long, 0},
		{"too long", []string{"Stream-Seq", long + "s"}, "", protocol.Malformed},
		{"empty", []string{"Stream-Seq", ""}, "", protocol.Malformed},
		{"twice", []string{"Stream-Seq", "1", "Stream-Seq", "2"}, "", protocol.Malformed},
	} {
		t.Run(c.clause, func(t *testing.T) {
			r, refusal := protocol.ParseAppend(headers(c.h...))
			wantCode(t, refusal, c.code)
			if c.code == 0 && r.Seq != c.want {
				t.Errorf("Stream-Seq is %q", r.Seq)
			}
		})
	}
}

func TestParseAppend_expectedOffset(t *testing.T) {
	const other, match = "Stream-Expected-Offset", "If-Match"
	token, quoted := protocol.Offset(42).String(), `"`+protocol.Offset(42).String()+`"`
	for _, c := range []struct {
		clause string
		h      []string
		code   protocol.Code
	}{
		{"If-Match quoted", []string{match, quoted}, 0},
		{"If-Match bare", []string{match, token}, 0},
		{"other header", []string{other, token}, 0},
		{"both the same", []string{match, quoted, other, token}, 0},
		{"both, different", []string{match, quoted, other, protocol.Start.String()}, protocol.Malformed},
		{"twice", []string{match, quoted, match, quoted}, protocol.Malformed},
		{"star", []string{match, "*"}, protocol.InvalidOffset},
		{"list", []string{match, quoted + ", " + quoted}, protocol.InvalidOffset},
		{"weak", []string{match, "W/" + quoted}, protocol.InvalidOffset},
		{"empty", []string{match, ""}, protocol.InvalidOffset},
		{"one quote", []string{match, `"`}, protocol.InvalidOffset},
		{"start sentinel", []string{other, "-1"}, protocol.InvalidOffset},
		{"now sentinel", []string{other, "now"}, protocol.InvalidOffset},
		{"with producer", []string{match, quoted, "Producer-Id", "p", "Producer-Epoch", "0", "Producer-Seq", "0"}, protocol.Malformed},
	} {
		t.Run(c.clause, func(t *testing.T) {
			r, refusal := protocol.ParseAppend(headers(c.h...))
			wantCode(t, refusal, c.code)
			if r.HasExpected != (c.code == 0) || r.HasExpected && r.Expected != 42 {
				t.Errorf("the expected offset is %d, %v", r.Expected, r.HasExpected)
			}
		})
	}
}

func TestAppendRequest_setBody(t *testing.T) {
	for _, c := range []struct {
		clause     string
		h          []string
		body, wire string
		code       protocol.Code // of the refusal
		bodyCode   protocol.Code // of the one that PlanAppend weighs
	}{
		{"bytes", []string{"Content-Type", "text/plain"}, "a\x00b", "a\x00b", 0, 0},
		{"JSON value", []string{"Content-Type", "application/json"}, ` {"a": 1} `, "{\"a\":1},\n", 0, 0},
		{"JSON array", []string{"Content-Type", "Application/JSON; charset=utf-8"}, `[1, [2]]`, "1,\n[2],\n", 0, 0},
		{"JSON, other suffix", []string{"Content-Type", "application/vnd.api+json"}, `[1, 2]`, "[1, 2]", 0, 0},
		{"invalid JSON", []string{"Content-Type", "application/json"}, `{`, "", 0, protocol.InvalidJSON},
		{"empty array", []string{"Content-Type", "application/json"}, ` [ ] `, "", 0, protocol.InvalidJSON},
		{"empty array and close", []string{"Content-Type", "application/json", "Stream-Closed", "true"}, `[]`, "", 0, protocol.InvalidJSON},
		{"white space only", []string{"Content-Type", "application/json"}, " \n", "", 0, protocol.InvalidJSON},
		{"empty", []string{"Content-Type", "text/plain"}, "", "", protocol.Malformed, 0},
		{"empty, close has another value", []string{"Content-Type", "text/plain", "Stream-Closed", "yes"}, "", "", protocol.Malformed, 0},
		{"close only", []string{"Stream-Closed", "true"}, "", "", 0, 0},
		{"close only, other type", []string{"Stream-Closed", "true", "Content-Type", "nonsense"}, "", "", 0, 0},
		{"close only, two types", []string{"Stream-Closed", "true", "Content-Type", "a/b", "Content-Type", "c/d"}, "", "", 0, 0},
		{"no type", nil, "x", "", protocol.Malformed, 0},
		{"empty type", []string{"Content-Type", ""}, "x", "", protocol.Malformed, 0},
		{"malformed type", []string{"Content-Type", "nonsense"}, "x", "", protocol.Malformed, 0},
		{"two types", []string{"Content-Type", "a/b", "Content-Type", "a/b"}, "x", "", protocol.Malformed, 0},
	} {
		t.Run(c.clause, func(t *testing.T) {
			r, refusal := protocol.ParseAppend(headers(c.h...))
			if refusal == nil {
				refusal = r.SetBody([]byte(c.body))
			}
			wantCode(t, refusal, c.code)
			if refusal == nil {
				wantCode(t, r.BodyRefusal, c.bodyCode)
			}
			if string(r.Body) != c.wire {
				t.Errorf("the wire bytes are %q, want %q", r.Body, c.wire)
			}
		})
	}
}

// TestPlanAppend_precedence lets requests break several rules: of two that stand
// in this list, the earlier one is reported.
func TestPlanAppend_precedence(t *testing.T) {
	open := protocol.State{ContentType: "application/json", Tail: 8, Seq: "m", Accessed: now}
	with := func(change func(s *protocol.State)) protocol.State {
		s := open
		change(&s)
		return s
	}
	rules := []struct {
		clause string
		code   protocol.Code
		state  func(s *protocol.State)
		break_ func(r *protocol.AppendRequest)
	}{
		{"soft-deleted", protocol.Gone, func(s *protocol.State) { s.Deleted = true }, nil},
		{"expired", protocol.NotFound, func(s *protocol.State) { s.Expiry = until(now) }, nil},
		{"closed", protocol.StreamClosed, func(s *protocol.State) { s.Closed = true }, nil},
		{"content type", protocol.ContentTypeMismatch, nil, func(r *protocol.AppendRequest) { r.ContentType = "text/plain" }},
		{"invalid JSON", protocol.InvalidJSON, nil, func(r *protocol.AppendRequest) {
			r.Body, r.BodyRefusal = nil, &protocol.Refusal{Code: protocol.InvalidJSON}
		}},
		{"expected offset", protocol.OffsetMismatch, nil, func(r *protocol.AppendRequest) { r.Expected, r.HasExpected = 7, true }},
		{"sequence gap", protocol.SequenceGap, nil, func(r *protocol.AppendRequest) { r.Producer = &protocol.Producer{ID: "p", Seq: 3} }},
		{"Stream-Seq", protocol.SeqRegression, nil, func(r *protocol.AppendRequest) { r.Seq = "m" }},
		{"greatest length", protocol.TooLarge, func(s *protocol.State) { s.Tail = protocol.MaxOffset - 1 }, nil},
	}
	for i, first := range rules {
		for _, second := range rules[i:] {
			t.Run(first.clause+", "+second.clause, func(t *testing.T) {
				r := protocol.AppendRequest{ContentType: "application/json", Body: []byte("1,\n"), Now: now}
				s := with(func(s *protocol.State) {
					for _, rule := range []func(*protocol.State){first.state, second.state} {
						if rule != nil {
							rule(s)
						}
					}
				})
				for _, rule := range []func(*protocol.AppendRequest){first.break_, second.break_} {
					if rule != nil {
						rule(&r)
					}
				}
				plan, refusal := protocol.PlanAppend(&s, protocol.ProducerState{}, false, &r)
				wantCode(t, refusal, first.code)
				if plan != (protocol.AppendPlan{}) {
					t.Errorf("a refused request has the plan %+v", plan)
				}
			})
		}
	}
	r := protocol.AppendRequest{ContentType: "application/json", Body: []byte("1,\n"), Now: now, Seq: "n"}
	plan, refusal := protocol.PlanAppend(&open, protocol.ProducerState{}, false, &r)
	if refusal != nil || plan != (protocol.AppendPlan{Outcome: protocol.Appended}) {
		t.Errorf("a request that breaks no rule: %+v, %v", plan, refusal)
	}
}

func TestPlanAppend_duplicateBeatsStreamSeq(t *testing.T) {
	s := protocol.State{ContentType: "text/plain", Seq: "m"}
	last := protocol.ProducerState{Epoch: 1, Seq: 4}
	r := protocol.AppendRequest{ContentType: "text/plain", Body: []byte("x"), Seq: "m", Producer: &protocol.Producer{ID: "p", Epoch: 1, Seq: 4}}
	plan, refusal := protocol.PlanAppend(&s, last, true, &r)
	if refusal != nil || plan.Outcome != protocol.Duplicate {
		t.Errorf("a retry: %+v, %v", plan, refusal)
	}
}

func TestPlanAppend_missingStream(t *testing.T) {
	r := protocol.AppendRequest{Close: true, Now: now}
	_, refusal := protocol.PlanAppend(nil, protocol.ProducerState{}, false, &r)
	wantCode(t, refusal, protocol.NotFound)
}

// TestPlanAppend_closed is §5.2 "Stream-Closed" and §5.2.1 "Stream Closure with
// Idempotent Producers".
func TestPlanAppend_closed(t *testing.T) {
	by := &protocol.Producer{ID: "p", Epoch: 2, Seq: 7}
	body := protocol.AppendRequest{ContentType: "text/plain", Body: []byte("x")}
	for _, c := range []struct {
		clause   string
		closedBy *protocol.Producer
		change   func(r *protocol.AppendRequest)
		outcome  protocol.Outcome // 0: refused
	}{
		{"append", nil, func(*protocol.AppendRequest) {}, 0},
		{"append and close", nil, func(r *protocol.AppendRequest) { r.Close = true }, 0},
		{"close only", nil, func(r *protocol.AppendRequest) { r.Close, r.Body = true, nil }, protocol.AlreadyClosed},
		{"close only, other type", nil, func(r *protocol.AppendRequest) { r.Close, r.Body, r.ContentType = true, nil, "a/b" }, protocol.AlreadyClosed},
		{"close only with old Stream-Seq", nil, func(r *protocol.AppendRequest) { r.Close, r.Body, r.Seq = true, nil, "a" }, protocol.AlreadyClosed},
		{"close only by a producer", nil, func(r *protocol.AppendRequest) { r.Close, r.Body, r.Producer = true, nil, by }, 0},
		{"invalid JSON and close", nil, func(r *protocol.AppendRequest) {
			r.Close, r.Body, r.BodyRefusal = true, nil, &protocol.Refusal{Code: protocol.InvalidJSON}
		}, 0},
		{"the closing request", by, func(r *protocol.AppendRequest) { r.Close, r.Producer = true, by }, protocol.Duplicate},
		{"the closing request without its header", by, func(r *protocol.AppendRequest) { r.Producer = by }, protocol.Duplicate},
		{"an equal tuple", by, func(r *protocol.AppendRequest) { p := *by; r.Close, r.Producer = true, &p }, protocol.Duplicate},
		{"other seq", by, func(r *protocol.AppendRequest) { r.Producer = &protocol.Producer{ID: "p", Epoch: 2, Seq: 6} }, 0},
		{"other epoch", by, func(r *protocol.AppendRequest) { r.Producer = &protocol.Producer{ID: "p", Epoch: 1, Seq: 7} }, 0},
		{"other producer", by, func(r *protocol.AppendRequest) { r.Producer = &protocol.Producer{ID: "q", Epoch: 2, Seq: 7} }, 0},
		{"close only after a producer's closing", by, func(r *protocol.AppendRequest) { r.Close, r.Body = true, nil }, protocol.AlreadyClosed},
	} {
		t.Run(c.clause, func(t *testing.T) {
			s := protocol.State{ContentType: "text/plain", Tail: 9, Seq: "m", Closed: true, ClosedBy: c.closedBy}
			r := body
			c.change(&r)
			plan, refusal := protocol.PlanAppend(&s, protocol.ProducerState{Epoch: 2, Seq: 7}, true, &r)
			if c.outcome == 0 {
				wantCode(t, refusal, protocol.StreamClosed)
				if refusal.Tail != 9 || !refusal.Closed {
					t.Errorf("the refusal is %+v", refusal)
				}
				return
			}
			wantCode(t, refusal, 0)
			if plan.Outcome != c.outcome {
				t.Errorf("the outcome is %v, want %v", plan.Outcome, c.outcome)
			}
			if c.outcome == protocol.Duplicate && *plan.Producer != (protocol.ProducerState{Epoch: 2, Seq: 7}) {
				t.Errorf("the producer's state is %+v", plan.Producer)
			}
		})
	}
}

func TestPlanAppend_streamSeqIsBytewise(t *testing.T) {
	for _, c := range []struct {
		last, seq string
		ok        bool
	}{
		{"", "a", true},
		{"a", "", true},
		{"a", "b", true},
		{"b", "a", false},
		{"a", "a", false},
		{"a", "aa", true},
		{"9", "10", false},
		{"09", "10", true},
		{"a", "Z", false},
		{"z", "é", true},
		{"\x7f", "\x80", true},
	} {
		s := protocol.State{ContentType: "text/plain", Seq: c.last}
		r := protocol.AppendRequest{ContentType: "text/plain", Body: []byte("x"), Seq: c.seq}
		_, refusal := protocol.PlanAppend(&s, protocol.ProducerState{}, false, &r)
		if (refusal == nil) != c.ok {
			t.Errorf("Stream-Seq %q after %q: %v", c.seq, c.last, refusal)
		}
	}
}

func TestApplyAppend_changesWhatRequestSays(t *testing.T) {
	p := &protocol.Producer{ID: "p"}
	before := protocol.State{ID: 1, ContentType: "text/plain", Tail: 5, Seq: "a", Accessed: now}
	s := before
	s.ApplyAppend(&protocol.AppendRequest{Body: []byte("abc"), Now: now.Add(time.Second)})
	want := before
	want.Tail, want.Accessed = 8, now.Add(time.Second)
	if s != want {
		t.Errorf("after an append the state is %+v, want %+v", s, want)
	}
	s.ApplyAppend(&protocol.AppendRequest{Seq: "b", Close: true, Producer: p, Now: now.Add(2 * time.Second)})
	want.Seq, want.Closed, want.ClosedBy, want.Accessed = "b", true, p, now.Add(2*time.Second)
	if s != want {
		t.Errorf("after a close the state is %+v, want %+v", s, want)
	}
}

func TestPlanAppend_refusalsAreShort(t *testing.T) {
	// What a client sends comes back clipped, however long it was.
	long := strings.Repeat("z", 1024)
	s := protocol.State{ContentType: "text/plain", Seq: long}
	r := protocol.AppendRequest{ContentType: "text/plain", Body: []byte("x"), Seq: "a" + long[:1000]}
	_, refusal := protocol.PlanAppend(&s, protocol.ProducerState{}, false, &r)
	wantCode(t, refusal, protocol.SeqRegression)
	if len(refusal.Detail) > 300 || !slices.Contains([]byte(refusal.Detail), 'z') {
		t.Errorf("the detail has %d bytes", len(refusal.Detail))
	}
}
