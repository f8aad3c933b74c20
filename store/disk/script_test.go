package disk_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/memory"
)

const (
	text = "text/plain"
	json = "application/json"
)

// A script is a fixed sequence of requests and upkeep. What it makes of the
// memory engine, step by step, is what the disk engine must agree with, whatever
// happens to the disk in between.
type script []step

type step struct {
	what string
	// request is nil for upkeep.
	request func(s store.Store, now time.Time) (string, error)
	// upkeep changes nothing that a client sees; s may be replaced (reopen).
	upkeep func(s *disk.Store) error
	reopen bool
	pass   time.Duration
}

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// at returns the time at which step n runs.
func (sc script) at(n int) time.Time {
	now := epoch
	for _, st := range sc[:n] {
		now = now.Add(st.pass)
	}
	return now
}

func create(name, contentType, body string, change ...func(*protocol.CreateRequest)) step {
	return step{what: "create " + name, request: func(s store.Store, now time.Time) (string, error) {
		r := protocol.CreateRequest{ContentType: contentType, Body: []byte(body), Now: now}
		for _, c := range change {
			c(&r)
		}
		info, created, err := s.Create(bg, name, r)
		return fmt.Sprint(info.ContentType, info.Tail, info.Closed, created), err
	}}
}

func forkAt(source string, at int) func(*protocol.CreateRequest) {
	return func(r *protocol.CreateRequest) {
		r.Fork = &protocol.ForkRequest{Source: source, Offset: protocol.Offset(at), HasOffset: true}
		r.Fork.Resolve(protocol.Offset(at))
	}
}

func withTTL(d time.Duration) func(*protocol.CreateRequest) {
	return func(r *protocol.CreateRequest) { r.Expiry = protocol.Expiry{TTL: d, HasTTL: true} }
}

func add(name, contentType, body string, change ...func(*protocol.AppendRequest)) step {
	return step{what: "append to " + name, request: func(s store.Store, now time.Time) (string, error) {
		r := protocol.AppendRequest{ContentType: contentType, Body: []byte(body), Now: now}
		for _, c := range change {
			c(&r)
		}
		res, err := s.Append(bg, name, r)
		p := ""
		if res.Producer != nil {
			p = fmt.Sprint(*res.Producer)
		}
		return fmt.Sprint(res.Outcome, res.Tail, res.Closed, p), err
	}}
}

func by(id string, epoch, seq int64) func(*protocol.AppendRequest) {
	return func(r *protocol.AppendRequest) { r.Producer = &protocol.Producer{ID: id, Epoch: epoch, Seq: seq} }
}

func withSeq(seq string) func(*protocol.AppendRequest) {
	return func(r *protocol.AppendRequest) { r.Seq = seq }
}

func closing(r *protocol.AppendRequest) { r.Close = true }

func remove(name string) step {
	return step{what: "delete " + name, request: func(s store.Store, _ time.Time) (string, error) {
		return "", s.Delete(bg, name)
	}}
}

func look(name string) step {
	return step{what: "read " + name, request: func(s store.Store, _ time.Time) (string, error) {
		return content(s, name)
	}}
}

func pass(d time.Duration) step { return step{what: "pass", pass: d} }

var (
	checkpoint = step{what: "checkpoint", upkeep: func(s *disk.Store) error { return s.Checkpoint() }}
	reopen     = step{what: "reopen", reopen: true}
	merge      = step{what: "merge", upkeep: func(s *disk.Store) error {
		for {
			merged, err := s.Merge()
			if err != nil || !merged {
				return err
			}
		}
	}}
	expire = step{what: "expire", upkeep: func(s *disk.Store) error {
		_, err := s.Expire()
		return err
	}}
	sweep = step{what: "sweep", upkeep: func(s *disk.Store) error {
		s.Sweep()
		s.Sweep()
		return nil
	}}
)

// answer makes what a step returned comparable.
func answer(result string, err error) string {
	var refusal *protocol.Refusal
	switch {
	case errors.As(err, &refusal):
		return fmt.Sprintf("refused: %v, tail %v, expected %v, epoch %v", refusal.Code, refusal.Tail, refusal.Expected, refusal.Epoch)
	case err != nil:
		return "failed: " + err.Error()
	}
	return result
}

func content(s store.Store, name string) (string, error) {
	var b strings.Builder
	for at := protocol.Start; ; {
		c, err := s.Read(bg, name, at, 1000)
		if err != nil {
			return "", err
		}
		err = c.WriteRange(&b, 0, c.Len())
		at = c.Next
		end := c.AtTail()
		if err := errors.Join(err, c.Close()); err != nil {
			return "", err
		}
		if end {
			return b.String(), nil
		}
	}
}

// names of all streams that scripts make.
var names = strings.Fields("a b c d e f g h i j k l m n")

// dump describes all that clients can see.
func dump(s store.Store) (string, error) {
	var b strings.Builder
	infos, err := s.List(bg, "", "", 100)
	if err != nil {
		return "", err
	}
	for _, info := range infos {
		fmt.Fprintf(&b, "%s %s %d %v %v\n", info.Name, info.ContentType, info.Tail, info.Closed, info.Expiry)
		if !info.Expiry.HasTTL {
			fmt.Fprintln(&b, info.ExpiresAt)
		}
	}
	for _, name := range names {
		data, err := content(s, name)
		if got := answer(data, err); strings.HasPrefix(got, "failed") {
			return "", fmt.Errorf("%s: %w", name, err)
		} else {
			fmt.Fprintf(&b, "%s: %q\n", name, got)
		}
	}
	return b.String(), nil
}

// expected is what a script makes of the memory engine.
type expected struct {
	answers []string // of each step
	dumps   []string // before each step, and after all
}

func (sc script) expect(t *testing.T) expected {
	var e expected
	for n := 0; n <= len(sc); n++ {
		var clock atomic.Pointer[time.Time]
		set := func(now time.Time) time.Time {
			clock.Store(&now)
			return now
		}
		set(epoch)
		s := memory.New(memory.Options{Now: func() time.Time { return *clock.Load() }})
		for i, st := range sc[:n] {
			now := set(sc.at(i))
			if st.request == nil {
				if n == i+1 {
					e.answers = append(e.answers, "")
				}
				continue
			}
			got := answer(st.request(s, now))
			if n == i+1 {
				e.answers = append(e.answers, got)
			}
		}
		set(sc.at(n))
		d, err := dump(s)
		if err != nil {
			t.Fatal(err)
		}
		e.dumps = append(e.dumps, d)
		s.Close()
	}
	return e
}

func long(c string, n int) string { return strings.Repeat(c, n) }

// life has everything that can happen to streams.
var life = script{
	create("a", text, "start "), add("a", text, "one "), add("a", text, "two ", by("p", 0, 0)),
	add("a", text, "two ", by("p", 0, 0)),
	create("b", json, `{"n":1},`+"\n"), add("b", json, "2,\n3,\n"),
	create("c", text, "", withTTL(100*time.Second)), add("c", text, "short-lived"),
	checkpoint,
	add("a", text, "three ", by("p", 0, 1)), add("a", text, "x", by("p", 0, 3)),
	add("a", text, "four ", withSeq("m")), add("a", text, "x", withSeq("b")),
	create("d", "", "forked", forkAt("a", 10)), create("e", "", "again", forkAt("d", 12)),
	add("d", text, " on"), add("b", json, `"large `+long("-", 5000)+"\",\n"),
	checkpoint, sweep,
	add("a", text, "five ", by("p", 1, 0)), add("a", text, "x", by("p", 0, 2)),
	remove("a"), remove("d"), add("a", text, "x"), create("a", text, "blocked"),
	look("e"), checkpoint,
	create("f", text, long("f", 3000)), create("g", text, "closed soon"), add("g", text, "last", closing, by("q", 0, 0)),
	add("g", text, "x"), add("g", text, "last", closing, by("q", 0, 0)),
	checkpoint, merge,
	look("c"), add("f", text, long("g", 3000)), remove("e"),
	create("a", text, "anew"), checkpoint, sweep, create("d", text, "anew, too"),
	pass(50 * time.Second), look("c"), pass(70 * time.Second), look("c"),
	create("h", "", "", forkAt("f", 10)), checkpoint, merge, reopen,
	add("b", json, "4,\n"), add("f", text, "h"), add("a", text, "more", by("p", 5, 0)),
	pass(300 * time.Second), look("c"), expire, look("c"), create("c", text, "reborn"),
	checkpoint, remove("g"), remove("f"), checkpoint, merge, sweep,
	add("h", text, "h"), remove("h"), checkpoint, merge,
	create("g", text, "g2"), remove("g"), create("g", text, "g3"), remove("b"), add("a", text, "!", by("p", 5, 1)),
	checkpoint, merge, reopen, add("a", text, "x", by("p", 5, 3)), add("a", text, "end", closing),
}
