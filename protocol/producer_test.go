package protocol_test

import (
	"strings"
	"testing"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestParseAppend_producerHeaders(t *testing.T) {
	const id, epoch, seq = "Producer-Id", "Producer-Epoch", "Producer-Seq"
	const most, tooMuch = "9007199254740991", "9007199254740992"
	for _, c := range []struct {
		clause string
		h      []string
		want   *protocol.Producer
		code   protocol.Code
	}{
		{"none", nil, nil, 0},
		{"all", []string{id, "p", epoch, "1", seq, "2"}, &protocol.Producer{ID: "p", Epoch: 1, Seq: 2}, 0},
		{"zero", []string{id, "p", epoch, "0", seq, "0"}, &protocol.Producer{ID: "p"}, 0},
		{"greatest", []string{id, "p", epoch, most, seq, most}, &protocol.Producer{ID: "p", Epoch: 1<<53 - 1, Seq: 1<<53 - 1}, 0},
		{"id of 256 bytes", []string{id, strings.Repeat("é", 128), epoch, "0", seq, "0"}, &protocol.Producer{ID: strings.Repeat("é", 128)}, 0},
		{"id of 257 bytes", []string{id, strings.Repeat("a", 257), epoch, "0", seq, "0"}, nil, protocol.Malformed},
		{"empty id", []string{id, "", epoch, "0", seq, "0"}, nil, protocol.Malformed},
		{"only id", []string{id, "p"}, nil, protocol.Malformed},
		{"only epoch", []string{epoch, "0"}, nil, protocol.Malformed},
		{"only seq", []string{seq, "0"}, nil, protocol.Malformed},
		{"no id", []string{epoch, "0", seq, "0"}, nil, protocol.Malformed},
		{"no epoch", []string{id, "p", seq, "0"}, nil, protocol.Malformed},
		{"no seq", []string{id, "p", epoch, "0"}, nil, protocol.Malformed},
		{"id twice", []string{id, "p", id, "p", epoch, "0", seq, "0"}, nil, protocol.Malformed},
		{"epoch twice", []string{id, "p", epoch, "0", epoch, "0", seq, "0"}, nil, protocol.Malformed},
		{"seq twice", []string{id, "p", epoch, "0", seq, "0", seq, "1"}, nil, protocol.Malformed},
		{"epoch over 2^53-1", []string{id, "p", epoch, tooMuch, seq, "0"}, nil, protocol.Malformed},
		{"seq over 2^53-1", []string{id, "p", epoch, "0", seq, tooMuch}, nil, protocol.Malformed},
	} {
		t.Run(c.clause, func(t *testing.T) {
			r, refusal := protocol.ParseAppend(headers(c.h...))
			wantCode(t, refusal, c.code)
			if (r.Producer == nil) != (c.want == nil) || c.want != nil && *r.Producer != *c.want {
				t.Errorf("got %+v, want %+v", r.Producer, c.want)
			}
		})
	}
	for _, number := range []string{"", "-1", "+1", "1.0", "1e3", "a", " 1", "1 ", "0x1", "NaN", "18446744073709551616", "1_000"} {
		for _, h := range [][]string{{id, "p", epoch, number, seq, "0"}, {id, "p", epoch, "0", seq, number}} {
			_, refusal := protocol.ParseAppend(headers(h...))
			if refusal == nil || refusal.Code != protocol.Malformed {
				t.Errorf("%q: %v", h, refusal)
			}
		}
	}
}

// TestPlanAppend_producer is the validation logic of §5.2.1.
func TestPlanAppend_producer(t *testing.T) {
	known := protocol.ProducerState{Epoch: 3, Seq: 5}
	for _, c := range []struct {
		clause     string
		known      bool
		epoch, seq int64
		outcome    protocol.Outcome
		state      protocol.ProducerState
		refusal    protocol.Refusal
	}{
		{"new producer starts at 0", false, 0, 0, protocol.Appended, protocol.ProducerState{}, protocol.Refusal{}},
		{"new producer starts in any epoch", false, 9, 0, protocol.Appended, protocol.ProducerState{Epoch: 9}, protocol.Refusal{}},
		{"new producer starts later", false, 0, 1, 0, protocol.ProducerState{}, protocol.Refusal{Code: protocol.SequenceGap, Expected: 0, Received: 1}},
		{"new producer, new epoch, starts later", false, 9, 1, 0, protocol.ProducerState{}, protocol.Refusal{Code: protocol.SequenceGap, Expected: 0, Received: 1}},
		{"epoch < state.epoch", true, 2, 6, 0, protocol.ProducerState{}, protocol.Refusal{Code: protocol.StaleEpoch, Epoch: 3}},
		{"epoch < state.epoch at 0", true, 0, 0, 0, protocol.ProducerState{}, protocol.Refusal{Code: protocol.StaleEpoch, Epoch: 3}},
		{"epoch > state.epoch, seq = 0", true, 4, 0, protocol.Appended, protocol.ProducerState{Epoch: 4}, protocol.Refusal{}},
		{"epoch > state.epoch, seq != 0", true, 4, 6, 0, protocol.ProducerState{}, protocol.Refusal{Code: protocol.EpochStart}},
		{"seq < state.lastSeq", true, 3, 0, protocol.Duplicate, known, protocol.Refusal{}},
		{"seq = state.lastSeq", true, 3, 5, protocol.Duplicate, known, protocol.Refusal{}},
		{"seq = state.lastSeq + 1", true, 3, 6, protocol.Appended, protocol.ProducerState{Epoch: 3, Seq: 6}, protocol.Refusal{}},
		{"seq > state.lastSeq + 1", true, 3, 7, 0, protocol.ProducerState{}, protocol.Refusal{Code: protocol.SequenceGap, Expected: 6, Received: 7}},
	} {
		t.Run(c.clause, func(t *testing.T) {
			s := protocol.State{ContentType: "text/plain", Tail: 100}
			var last protocol.ProducerState
			if c.known {
				last = known
			}
			r := protocol.AppendRequest{
				ContentType: "text/plain", Body: []byte("x"), Now: now,
				Producer: &protocol.Producer{ID: "p", Epoch: c.epoch, Seq: c.seq},
			}
			plan, refusal := protocol.PlanAppend(&s, last, c.known, &r)
			wantCode(t, refusal, c.refusal.Code)
			if refusal != nil {
				if refusal.Epoch != c.refusal.Epoch || refusal.Expected != c.refusal.Expected || refusal.Received != c.refusal.Received {
					t.Errorf("the refusal is %+v, want %+v", refusal, c.refusal)
				}
				return
			}
			if plan.Outcome != c.outcome || *plan.Producer != c.state {
				t.Errorf("the plan is %v, %+v; want %v, %+v", plan.Outcome, plan.Producer, c.outcome, c.state)
			}
		})
	}
}
