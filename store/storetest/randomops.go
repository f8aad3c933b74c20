package storetest

import (
	"fmt"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// creation returns the creation of a stream that is no fork.
func (r *randomRun) creation() protocol.CreateRequest {
	contentType := r.contentType()
	body := ""
	if r.chance(50) {
		body = r.body(contentType)
	}
	req := streamOf(contentType, body)
	req.Expiry = r.expiry()
	req.Closed = r.chance(5)
	return req
}

// create creates a stream or a fork.
func (r *randomRun) create(name string, req protocol.CreateRequest) {
	r.Helper()
	req.Now = r.clock.Now()
	what := fmt.Sprintf("Create %s (%s, %+v, %d bytes)", name, req.ContentType, req.Expiry, len(req.Body))
	source := ""
	if req.Fork != nil {
		source = req.Fork.Source
		what += fmt.Sprintf(" as fork %+v", *req.Fork)
	}
	r.note("%s", what)
	want, created, refusal := r.model.create(name, &req)
	var info store.Info
	var isNew bool
	r.agree(what, refusal, func() (err error) {
		info, isNew, err = r.store.Create(r.Context(), name, req)
		if hasCode(err, protocol.SourceNotFound) {
			return r.unnoticed(source, err)
		}
		return err
	})
	if refusal != nil {
		return
	}
	if isNew != created {
		r.failf("%s: created is %v, want %v", what, isNew, created)
	}
	if created {
		if r.ids[info.ID] {
			r.failf("%s: the ID %d was used before", what, info.ID)
		}
		r.ids[info.ID] = true
		want.state.ID = info.ID
	}
	if !want.describes(info) {
		r.failf("%s returned %+v, want %+v", what, info, want.state)
	}
}

// fork creates a fork of some stream, at a point that mostly exists.
func (r *randomRun) fork(name string) {
	r.Helper()
	from := forkOf{source: r.name(), tail: r.chance(40)}
	source := r.model.streams[from.source]
	contentType := text
	if source != nil {
		contentType = source.state.ContentType
	}
	if !from.tail && source != nil {
		from.offset = r.position(source)
		if r.chance(5) {
			from.offset = source.state.Tail + 1
		}
		if r.chance(50) {
			from.sub = int64(r.rng.IntN(4))
		}
	}
	body := ""
	if r.chance(30) {
		body = r.body(contentType)
	}
	req, err := r.resolved(from, protocol.CreateRequest{Expiry: r.expiry(), Closed: r.chance(5)}, body)
	if err != nil {
		r.failf("resolving %+v: %v", from, err)
	}
	if source != nil {
		source.perhapsUsed(r.clock.Now())
		if !source.state.Deleted {
			r.checkResolved(source, from, req.Fork)
		}
	}
	r.create(name, req)
}

// checkResolved compares what store.ResolveFork found with what the model knows.
func (r *randomRun) checkResolved(source *modelStream, from forkOf, f *protocol.ForkRequest) {
	r.Helper()
	if !f.NeedsResolving(source.state.ContentType) {
		return
	}
	at, ok := source.forkPoint(from)
	if ok != (f.Refusal == nil) || ok && f.At != at {
		r.failf("the fork point %+v was resolved as %d, %v; want %d, %v", from, f.At, f.Refusal, at, ok)
	}
}

// position returns a position in a stream, mostly one at which a read may start.
func (r *randomRun) position(s *modelStream) protocol.Offset {
	at := protocol.Offset(r.rng.IntN(len(s.content) + 1))
	for !r.chance(5) && !s.boundary(at) {
		at--
	}
	return at
}

func (r *randomRun) remove(name string) {
	r.Helper()
	r.note("Delete %s", name)
	plan, refusal := protocol.PlanDelete(r.model.state(name), r.clock.Now())
	if refusal == nil {
		r.model.end(r.model.streams[name], plan)
	}
	r.agree("Delete "+name, refusal, func() error {
		return r.unnoticed(name, r.store.Delete(r.Context(), name))
	})
}

func (r *randomRun) readSome(name string) {
	r.Helper()
	now := r.clock.Now()
	s := r.model.streams[name]
	from, maxBytes := protocol.Start, 1+r.rng.IntN(3000)
	want := protocol.Available(r.model.state(name), now)
	if want == nil {
		from = r.position(s)
		if r.chance(3) {
			from = s.state.Tail + 1
		}
		if want = protocol.CheckReadOffset(from, s.state.Tail); want == nil && !s.boundary(from) {
			want = protocol.MidMessage(from)
		}
	}
	what := fmt.Sprintf("Read %s from %d, %d bytes", name, from, maxBytes)
	r.note("%s", what)
	var p fragment
	r.agree(what, want, func() (err error) {
		p, err = readFragment(r.Context(), r.store, name, from, maxBytes)
		return r.unnoticed(name, err)
	})
	switch {
	case s == nil:
		return
	case want != nil:
		s.perhapsUsed(now)
		return
	}
	s.used(now)
	switch {
	case !s.describes(p.info):
		r.failf("%s described %+v, want %+v", what, p.info, s.state)
	case string(p.data) != s.content[p.from:p.next]:
		r.failf("%s returned %q, want %q", what, clip(string(p.data)), clip(s.content[p.from:p.next]))
	case !s.boundary(p.next):
		r.failf("%s ended inside a message at %d", what, p.next)
	}
}

// request returns an append to the named stream as some client sends it.
func (r *randomRun) request(name string) protocol.AppendRequest {
	contentType := r.contentType()
	s := r.model.streams[name]
	if s != nil && !r.chance(3) {
		contentType = s.state.ContentType
	}
	req := protocol.AppendRequest{ContentType: contentType, Close: r.chance(4)}
	if !req.Close || r.chance(50) {
		if refusal := req.SetBody([]byte(r.body(contentType))); refusal != nil {
			r.failf("%v", refusal)
		}
	}
	switch kind := r.rng.IntN(10); {
	case kind < 5:
		req.Producer = r.producer(s)
	case kind < 6 && s != nil:
		req.Expected, req.HasExpected = s.state.Tail, true
		if r.chance(30) {
			req.Expected = r.position(s)
		}
	}
	if r.chance(15) {
		req.Seq = fmt.Sprintf("%03d", r.rng.IntN(1000))
	}
	return req
}

// producer returns headers that mostly continue what a producer did.
func (r *randomRun) producer(s *modelStream) *protocol.Producer {
	p := &protocol.Producer{ID: fmt.Sprintf("p%d", r.rng.IntN(3))}
	var last protocol.ProducerState
	var known bool
	if s != nil {
		last, known = s.producers[p.ID]
	}
	if !known {
		p.Epoch = int64(r.rng.IntN(3))
		if r.chance(10) {
			p.Seq = 1
		}
		return p
	}
	p.Epoch, p.Seq = last.Epoch, last.Seq+1
	switch r.rng.IntN(10) {
	case 0:
		p.Seq++
	case 1, 2:
		p.Seq = int64(r.rng.IntN(int(last.Seq) + 1))
	case 3:
		p.Epoch++
		p.Seq = 0
	case 4:
		p.Epoch += int64(r.rng.IntN(3)) - 1
		p.Epoch = max(p.Epoch, 0)
	}
	return p
}

// send sends an append.
func (r *randomRun) send(name string, req protocol.AppendRequest) {
	r.Helper()
	req.Now = r.clock.Now()
	what := fmt.Sprintf("Append %s (%s, %d bytes, close %v, seq %q, producer %+v, expected %v %d)",
		name, req.ContentType, len(req.Body), req.Close, req.Seq, req.Producer, req.HasExpected, req.Expected)
	r.note("%s", what)
	want, refusal := r.model.append(name, &req)
	var got store.AppendResult
	r.agree(what, refusal, func() (err error) {
		got, err = r.post(name, req)
		return r.unnoticed(name, err)
	})
	if refusal != nil {
		return
	}
	sameProducer := (got.Producer == nil) == (want.Producer == nil) && (got.Producer == nil || *got.Producer == *want.Producer)
	if got.Outcome != want.Outcome || got.Tail != want.Tail || got.Closed != want.Closed || !sameProducer {
		r.failf("%s returned %+v, want %+v", what, got, want)
	}
}
