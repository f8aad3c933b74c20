package protocol_test

import (
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

func TestPlanCreate_forkState(t *testing.T) {
	source := protocol.State{
		ID: 9, ContentType: "Text/Plain; charset=utf-8", Tail: 100, Closed: true, ClosedBy: &protocol.Producer{ID: "p"},
		Seq: "m", Accessed: now.Add(-time.Hour), Forks: 3,
	}
	r := protocol.CreateRequest{
		Fork: &protocol.ForkRequest{Source: "src", Offset: 40, HasOffset: true, SubOffset: 2},
		Body: []byte("own"), Now: now,
	}
	plan, refusal := protocol.PlanCreate(nil, &source, &r)
	if refusal != nil || plan.Exists || plan.State.Fork == nil {
		t.Fatalf("the plan is %+v, %v", plan, refusal)
	}
	if want := (protocol.Fork{Source: "src", SourceID: 9, Offset: 40, SubOffset: 2, At: 42}); *plan.State.Fork != want {
		t.Errorf("the fork is %+v, want %+v", *plan.State.Fork, want)
	}
	// It is open, has the source's type, and no writer's state (§4.2).
	plan.State.Fork = nil
	if want := (protocol.State{ContentType: "Text/Plain; charset=utf-8", Tail: 45, Accessed: now}); plan.State != want {
		t.Errorf("the state is %+v, want %+v", plan.State, want)
	}
}

// TestPlanCreate_forkExpiry is the table of §4.2.
func TestPlanCreate_forkExpiry(t *testing.T) {
	none, at := protocol.Expiry{}, until(now.Add(time.Hour))
	for _, c := range []struct {
		clause             string
		source, fork, want protocol.Expiry
		inherited          bool
	}{
		{"No expiry, No expiry", none, none, none, false},
		{"No expiry, TTL", none, ttl(60), ttl(60), false},
		{"No expiry, Expires-At", none, at, at, false},
		{"TTL, No expiry", ttl(60), none, ttl(60), true},
		{"TTL, TTL", ttl(60), ttl(90), ttl(90), false},
		{"TTL, Expires-At", ttl(60), at, at, false},
		{"Expires-At, No expiry", at, none, at, true},
		{"Expires-At, TTL", at, ttl(60), ttl(60), false},
		{"Expires-At, Expires-At", at, until(now.Add(2 * time.Hour)), until(now.Add(2 * time.Hour)), false},
	} {
		t.Run(c.clause, func(t *testing.T) {
			source := protocol.State{ContentType: "a/b", Expiry: c.source, Accessed: now.Add(-time.Second)}
			r := protocol.CreateRequest{Expiry: c.fork, Now: now, Fork: &protocol.ForkRequest{Source: "s"}}
			plan, refusal := protocol.PlanCreate(nil, &source, &r)
			wantCode(t, refusal, 0)
			if !plan.State.Expiry.Equal(c.want) || plan.State.ExpiryInherited != c.inherited || !plan.State.Accessed.Equal(now) {
				t.Errorf("the fork gets %+v, inherited %v, accessed %v", plan.State.Expiry, plan.State.ExpiryInherited, plan.State.Accessed)
			}
			// The same request again finds the fork (§4.2, idempotent).
			again, refusal := protocol.PlanCreate(&plan.State, &source, &r)
			if refusal != nil || !again.Exists {
				t.Errorf("the repeated request: %+v, %v", again, refusal)
			}
		})
	}
}

// TestPlanCreate_forkErrors is the table "Fork creation errors" of §4.2.
func TestPlanCreate_forkErrors(t *testing.T) {
	source := protocol.State{ID: 9, ContentType: "text/plain", Tail: 100, Accessed: now}
	deleted, expired, both := source, source, source
	deleted.Deleted, deleted.Forks = true, 1
	expired.Expiry = until(now)
	both.Expiry, both.Deleted, both.Forks = until(now), true, 1
	at := func(offset protocol.Offset, sub int64) protocol.CreateRequest {
		return protocol.CreateRequest{Fork: &protocol.ForkRequest{Source: "s", Offset: offset, HasOffset: true, SubOffset: sub}, Now: now}
	}
	found := func(id uint64) protocol.CreateRequest {
		r := at(0, 0)
		r.Fork.Found(id)
		return r
	}
	missing, overshoot, typed := at(0, 0), at(100, 1), at(101, 0)
	missing.Fork.Missing()
	overshoot.Fork.Overshoot()
	typed.ContentType = "text/html"
	bad := at(0, 0)
	bad.BodyRefusal = &protocol.Refusal{Code: protocol.InvalidJSON}
	for _, c := range []struct {
		clause string
		source *protocol.State
		r      protocol.CreateRequest
		want   protocol.Code
	}{
		{"source not found", nil, at(0, 0), protocol.SourceNotFound},
		{"source expired", &expired, at(0, 0), protocol.SourceNotFound},
		{"source soft-deleted", &deleted, at(0, 0), protocol.SourceGone},
		{"source soft-deleted and expired", &both, at(0, 0), protocol.SourceGone},
		{"content type mismatch beats the offset", &source, typed, protocol.ContentTypeMismatch},
		{"offset beyond the stream's length", &source, at(101, 0), protocol.InvalidForkPoint},
		{"offset at the tail", &source, at(100, 0), 0},
		{"sub-offset at the tail", &source, at(99, 1), 0},
		{"sub-offset overshoots", &source, at(99, 2), protocol.InvalidForkPoint},
		{"sub-offset overflows", &source, at(99, 1<<63-1), protocol.InvalidForkPoint},
		{"too few messages", &source, overshoot, protocol.InvalidForkPoint},
		{"source found", &source, found(9), 0},
		{"source replaced since it was found", &source, found(8), protocol.SourceNotFound},
		{"source created since it was missed", &source, missing, protocol.SourceNotFound},
		{"bad body", &source, bad, protocol.InvalidJSON},
	} {
		t.Run(c.clause, func(t *testing.T) {
			plan, refusal := protocol.PlanCreate(nil, c.source, &c.r)
			wantCode(t, refusal, c.want)
			if refusal != nil && plan != (protocol.CreatePlan{}) {
				t.Errorf("a refused fork has the plan %+v", plan)
			}
		})
	}
}

func TestPlanCreate_forkOfJSONUsesResolvedPosition(t *testing.T) {
	source := protocol.State{ID: 9, ContentType: "application/json", Tail: 100}
	r := protocol.CreateRequest{Fork: &protocol.ForkRequest{Source: "s", Offset: 10, HasOffset: true, SubOffset: 3}}
	if !r.Fork.NeedsResolving("application/json; charset=utf-8") || r.Fork.NeedsResolving("text/plain") {
		t.Error("a JSON source's offset needs resolving, another's does not")
	}
	if (&protocol.ForkRequest{Source: "s"}).NeedsResolving("application/json") {
		t.Error("a JSON source's tail needs no resolving")
	}
	r.Fork.Found(9)
	r.Fork.Resolve(55)
	plan, refusal := protocol.PlanCreate(nil, &source, &r)
	wantCode(t, refusal, 0)
	if want := (protocol.Fork{Source: "s", SourceID: 9, Offset: 10, SubOffset: 3, At: 55}); *plan.State.Fork != want || plan.State.Tail != 55 {
		t.Errorf("the fork is %+v with the tail %d", *plan.State.Fork, plan.State.Tail)
	}
}

// TestPlanCreate_forkMatches is §4.2 "Idempotent fork creation".
func TestPlanCreate_forkMatches(t *testing.T) {
	fork := func(source string, offset protocol.Offset, sub int64) *protocol.ForkRequest {
		return &protocol.ForkRequest{Source: source, Offset: offset, HasOffset: true, SubOffset: sub}
	}
	inherited := protocol.State{
		ContentType: "text/plain", Expiry: ttl(60), ExpiryInherited: true,
		Fork: &protocol.Fork{Source: "s", SourceID: 9, Offset: 40, SubOffset: 2, At: 42},
	}
	own := inherited
	own.ExpiryInherited = false
	plain := protocol.State{ContentType: "text/plain"}
	for _, c := range []struct {
		clause  string
		s       *protocol.State
		r       protocol.CreateRequest
		matches bool
	}{
		{"same", &inherited, protocol.CreateRequest{Fork: fork("s", 40, 2)}, true},
		{"type given", &inherited, protocol.CreateRequest{ContentType: "text/plain", Fork: fork("s", 40, 2)}, true},
		{"inherited TTL given", &inherited, protocol.CreateRequest{Expiry: ttl(60), Fork: fork("s", 40, 2)}, true},
		{"other TTL", &inherited, protocol.CreateRequest{Expiry: ttl(61), Fork: fork("s", 40, 2)}, false},
		{"own TTL left out", &own, protocol.CreateRequest{Fork: fork("s", 40, 2)}, false},
		{"own TTL given", &own, protocol.CreateRequest{Expiry: ttl(60), Fork: fork("s", 40, 2)}, true},
		{"other type", &inherited, protocol.CreateRequest{ContentType: "a/b", Fork: fork("s", 40, 2)}, false},
		{"other source", &inherited, protocol.CreateRequest{Fork: fork("t", 40, 2)}, false},
		{"other offset", &inherited, protocol.CreateRequest{Fork: fork("s", 41, 2)}, false},
		{"other sub-offset", &inherited, protocol.CreateRequest{Fork: fork("s", 40, 1)}, false},
		{"same position named otherwise", &inherited, protocol.CreateRequest{Fork: fork("s", 42, 0)}, false},
		{"offset left out", &inherited, protocol.CreateRequest{Fork: &protocol.ForkRequest{Source: "s", SubOffset: 2}}, true},
		{"closed", &inherited, protocol.CreateRequest{Closed: true, Fork: fork("s", 40, 2)}, false},
		{"not a fork asked for", &inherited, protocol.CreateRequest{ContentType: "text/plain", Expiry: ttl(60)}, false},
		{"not a fork there", &plain, protocol.CreateRequest{Fork: fork("s", 0, 0)}, false},
	} {
		t.Run(c.clause, func(t *testing.T) {
			// The source may be gone meanwhile: an existing fork does not need it.
			c.r.Fork = copyOf(c.r.Fork)
			if c.r.Fork != nil {
				c.r.Fork.Missing()
			}
			plan, refusal := protocol.PlanCreate(c.s, nil, &c.r)
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

func copyOf(f *protocol.ForkRequest) *protocol.ForkRequest {
	if f == nil {
		return nil
	}
	c := *f
	return &c
}
