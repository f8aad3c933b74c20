package storetest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

var seedFlag = flag.Uint64("storetest.seed", 0, "repeat what tests chose at random with this seed; 0 takes a new one")

// random returns a source of random choices and logs its seed.
func (f *fixture) random() *rand.Rand {
	f.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	f.Logf("repeat with -storetest.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

var randomTests = []test{
	{"agreesWithModel", func(f *fixture) {
		run := newRandomRun(f)
		run.steps(5000)
		run.verify()
	}},
}

const randomNames = 8

// randomRun does operations at random on an engine and on a model, and compares.
type randomRun struct {
	*fixture
	model *model
	rng   *rand.Rand
	ids   map[uint64]bool
	trace []string
	// again is the last append, which clients like to repeat.
	againName string
	again     protocol.AppendRequest
}

func newRandomRun(f *fixture) *randomRun {
	return &randomRun{fixture: f, model: newModel(), rng: f.random(), ids: make(map[uint64]bool)}
}

func (r *randomRun) steps(n int) {
	r.Helper()
	for range n {
		r.settle()
		switch name := r.name(); r.rng.IntN(20) {
		case 0, 1:
			r.create(name, r.creation())
		case 2, 3:
			r.fork(name)
		case 4:
			r.remove(name)
		case 5, 6, 7, 8:
			r.readSome(name)
		case 9:
			r.describe(name)
		case 10:
			r.list()
		case 11:
			r.pass()
		case 12:
			if r.againName != "" {
				r.send(r.againName, r.again)
			}
		default:
			r.againName, r.again = name, r.request(name)
			r.send(r.againName, r.again)
		}
	}
}

func (r *randomRun) chance(percent int) bool { return r.rng.IntN(100) < percent }

func (r *randomRun) name() string { return fmt.Sprintf("n%d", r.rng.IntN(randomNames)) }

func (r *randomRun) note(format string, args ...any) {
	r.trace = append(r.trace, r.clock.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

func (r *randomRun) failf(format string, args ...any) {
	r.Helper()
	r.Fatalf("%s\n\nafter\n%s", fmt.Sprintf(format, args...), strings.Join(r.trace[max(0, len(r.trace)-60):], "\n"))
}

// pass lets some time go by.
func (r *randomRun) pass() {
	d := time.Duration(r.rng.IntN(10)) * second
	if r.chance(30) {
		d = time.Duration(r.rng.IntN(400)) * second
	}
	r.clock.advance(d)
	r.note("advance %v", d)
}

// settle leaves periods in which two answers would be right, and tells the model
// what has expired.
func (r *randomRun) settle() {
	for {
		until := r.model.doubtful(r.clock.Now())
		if until.IsZero() {
			r.model.expire(r.clock.Now())
			return
		}
		r.clock.advance(until.Sub(r.clock.Now()))
		r.note("advance to certainty")
	}
}

// agree makes the engine do what the model did: succeed if want is nil, else
// refuse. Streams that nothing holds any longer may go late (§4.2), so a refusal
// for one of them is asked again.
func (r *randomRun) agree(what string, want *protocol.Refusal, do func() error) {
	r.Helper()
	err := do()
	if late(err) && (want == nil || refusalOf(err).Code != want.Code) {
		poll(func() bool {
			err = do()
			return !late(err)
		})
	}
	got := refusalOf(err)
	switch {
	case err != nil && got == nil:
		r.failf("%s: %v", what, err)
	case want == nil && err != nil:
		r.failf("%s was refused: %v", what, err)
	case want != nil && err == nil:
		r.failf("%s succeeded, want %v", what, want)
	case want == nil:
	case got.Code != want.Code || got.Tail != want.Tail || got.Closed != want.Closed ||
		got.Epoch != want.Epoch || got.Expected != want.Expected || got.Received != want.Received:
		r.failf("%s was refused with %+v, want %+v", what, got, want)
	}
}

func late(err error) bool {
	return hasCode(err, protocol.NameBlocked) || hasCode(err, protocol.Gone) || hasCode(err, protocol.SourceGone)
}

// unnoticed turns an answer about a stream that has expired, but is kept for its
// forks, from "not found" into "gone", so that both are the same to agree.
func (r *randomRun) unnoticed(name string, err error) error {
	refusal := refusalOf(err)
	if s := r.model.streams[name]; refusal == nil || s == nil || !s.expired {
		return err
	}
	changed := *refusal
	switch refusal.Code {
	case protocol.NotFound:
		changed.Code = protocol.Gone
	case protocol.SourceNotFound:
		changed.Code = protocol.SourceGone
	}
	return &changed
}

func (r *randomRun) contentType() string { return []string{text, json, binary}[r.rng.IntN(3)] }

// body returns a body as a client sends it.
func (r *randomRun) body(contentType string) string {
	if contentType != json {
		size := 1 + r.rng.IntN(60)
		if r.chance(5) {
			size = r.rng.IntN(40_000) + 1
		}
		return strings.Repeat(string(rune('a'+r.rng.IntN(26))), size)
	}
	if r.chance(3) {
		return "{"
	}
	messages := make([]string, 1+r.rng.IntN(4))
	for i := range messages {
		messages[i] = fmt.Sprintf(`{"n": %d, "s": %q}`, r.rng.IntN(1000), strings.Repeat("-", r.rng.IntN(30)))
	}
	return "[" + strings.Join(messages, ",") + "]"
}

func (r *randomRun) expiry() protocol.Expiry {
	switch r.rng.IntN(6) {
	case 0:
		return ttl(100 * (1 + r.rng.IntN(5)))
	case 1:
		return protocol.Expiry{At: r.clock.Now().Add(time.Duration(r.rng.IntN(500)) * second)}
	}
	return protocol.Expiry{}
}

// verify reads every stream from start to end.
func (r *randomRun) verify() {
	r.Helper()
	r.settle()
	for i := range randomNames {
		name := fmt.Sprintf("n%d", i)
		r.describe(name)
		s := r.model.streams[name]
		if s == nil || s.state.Deleted {
			continue
		}
		content, err := readAll(r.Context(), r.store, name)
		if err != nil || string(content) != s.content {
			r.failf("%q holds %q, %v, want %q", name, clip(string(content)), err, clip(s.content))
		}
		s.used(r.clock.Now())
	}
	r.list()
}

func (r *randomRun) list() {
	r.Helper()
	infos, err := r.store.List(r.Context(), "", "", 2*randomNames)
	if want := r.model.visible(r.clock.Now()); err != nil || !slices.Equal(namesOf(infos), want) {
		r.failf("List returned %q, %v, want %q", namesOf(infos), err, want)
	}
	for _, info := range infos {
		if s := r.model.streams[info.Name]; !s.describes(info) {
			r.failf("List described %+v, want %+v", info, s.state)
		}
	}
}

func (r *randomRun) describe(name string) {
	r.Helper()
	var info store.Info
	want := protocol.Available(r.model.state(name), r.clock.Now())
	r.agree("Head "+name, want, func() (err error) {
		info, err = r.store.Head(r.Context(), name)
		return r.unnoticed(name, err)
	})
	if s := r.model.streams[name]; want == nil && !s.describes(info) {
		r.failf("Head described %+v, want %+v", info, s.state)
	}
}
