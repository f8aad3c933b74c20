package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

const (
	text   = "text/plain"
	json   = "application/json"
	binary = "application/octet-stream"

	// plenty is a maxBytes that no small test reaches.
	plenty = 1 << 20
	// patience is how long a test waits for what must happen. No test measures
	// time; a correct engine never uses it up.
	patience = 30 * time.Second
)

// fixture is a test with its store. The methods named after an operation demand
// that it succeeds.
type fixture struct {
	*testing.T
	store store.Store
	clock *clock
}

func (f *fixture) closeStore() {
	if err := f.store.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		f.Errorf("Close: %v", err)
	}
}

// sub runs a subtest on the same store.
func (f *fixture) sub(name string, run func(f *fixture)) {
	f.Helper()
	f.Run(name, func(t *testing.T) {
		g := *f
		g.T = t
		run(&g)
	})
}

// put sends a creation at the present instant.
func (f *fixture) put(name string, r protocol.CreateRequest) (store.Info, bool, error) {
	r.Now = f.clock.Now()
	return f.store.Create(f.Context(), name, r)
}

// post sends an append at the present instant.
func (f *fixture) post(name string, r protocol.AppendRequest) (store.AppendResult, error) {
	r.Now = f.clock.Now()
	return f.store.Append(f.Context(), name, r)
}

// create creates a stream that does not exist yet.
func (f *fixture) create(name string, r protocol.CreateRequest) store.Info {
	f.Helper()
	info, created, err := f.put(name, r)
	if err != nil || !created {
		f.Fatalf("Create(%q) = created %v, error %v; want a new stream", name, created, err)
	}
	return info
}

// append appends a body to a stream of the given type.
func (f *fixture) append(name, contentType, body string) store.AppendResult {
	f.Helper()
	return f.accepted(name, appendOf(contentType, body))
}

// accepted sends an append that must change the stream.
func (f *fixture) accepted(name string, r protocol.AppendRequest) store.AppendResult {
	f.Helper()
	res, err := f.post(name, r)
	if err != nil || res.Outcome != protocol.Appended {
		f.Fatalf("Append(%q) = %+v, %v; want it appended", name, res, err)
	}
	return res
}

func (f *fixture) head(name string) store.Info {
	f.Helper()
	info, err := f.store.Head(f.Context(), name)
	if err != nil {
		f.Fatalf("Head(%q): %v", name, err)
	}
	return info
}

func (f *fixture) delete(name string) {
	f.Helper()
	if err := f.store.Delete(f.Context(), name); err != nil {
		f.Fatalf("Delete(%q): %v", name, err)
	}
}

// read reads one chunk.
func (f *fixture) read(name string, from protocol.Offset, maxBytes int) fragment {
	f.Helper()
	p, err := readFragment(f.Context(), f.store, name, from, maxBytes)
	if err != nil {
		f.Fatalf("Read(%q, %d, %d): %v", name, from, maxBytes, err)
	}
	return p
}

// all reads a whole stream.
func (f *fixture) all(name string) string {
	f.Helper()
	data, err := readAll(f.Context(), f.store, name)
	if err != nil {
		f.Fatalf("reading %q: %v", name, err)
	}
	return string(data)
}

// holds demands that a stream's bytes are want, and that Head agrees.
func (f *fixture) holds(name, want string) {
	f.Helper()
	if got := f.all(name); got != want {
		f.Fatalf("%q holds %q, want %q", name, clip(got), clip(want))
	}
	if tail := f.head(name).Tail; tail != protocol.Offset(len(want)) {
		f.Fatalf("%q has its tail at %d, want %d", name, tail, len(want))
	}
}

// refused demands that err is a refusal with one of the codes, and returns it.
func (f *fixture) refused(err error, codes ...protocol.Code) *protocol.Refusal {
	f.Helper()
	got := refusalOf(err)
	if got == nil {
		f.Fatalf("got error %v, want a refusal %v", err, codes)
	}
	for _, code := range codes {
		if got.Code == code {
			return got
		}
	}
	f.Fatalf("got refusal %v, want %v", got, codes)
	return nil
}

// gone demands that no client operation finds the stream, for one of the reasons.
func (f *fixture) gone(name string, codes ...protocol.Code) {
	f.Helper()
	_, err := f.store.Head(f.Context(), name)
	f.refused(err, codes...)
	_, err = readFragment(f.Context(), f.store, name, protocol.Start, plenty)
	f.refused(err, codes...)
	_, err = f.post(name, appendOf(text, "x"))
	f.refused(err, codes...)
	f.refused(f.store.Delete(f.Context(), name), codes...)
}

// eventually waits until ok returns true.
func (f *fixture) eventually(what string, ok func() bool) {
	f.Helper()
	if !poll(ok) {
		f.Fatalf("it never happened: %s", what)
	}
}

// poll asks until the answer is yes, and reports whether it was.
func poll(ok func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// parallel runs n functions at the same time and fails with their errors.
func (f *fixture) parallel(n int, run func(i int) error) {
	f.Helper()
	start := make(chan struct{})
	results := make(chan error)
	for i := range n {
		go func() {
			<-start
			results <- run(i)
		}()
	}
	close(start)
	var errs []error
	for range n {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		f.Fatal(err)
	}
}

// fragment is what one Read returned.
type fragment struct {
	info       store.Info
	from, next protocol.Offset
	data       []byte
	atTail     bool
	atEnd      bool
}

// readFragment reads one chunk and checks that it agrees with itself.
func readFragment(ctx context.Context, s store.Store, name string, from protocol.Offset, maxBytes int) (fragment, error) {
	chunk, err := s.Read(ctx, name, from, maxBytes)
	if err != nil {
		return fragment{}, err
	}
	var buf bytes.Buffer
	err = chunk.WriteRange(&buf, 0, chunk.Len())
	p := fragment{
		info: chunk.Info, from: chunk.From, next: chunk.Next,
		data: buf.Bytes(), atTail: chunk.AtTail(), atEnd: chunk.AtEnd(),
	}
	if err := errors.Join(err, chunk.Close()); err != nil {
		return p, err
	}
	switch {
	case from != protocol.Now && p.from != from:
		return p, fmt.Errorf("the chunk begins at %d, not at %d", p.from, from)
	case int64(len(p.data)) != int64(p.next-p.from):
		return p, fmt.Errorf("the chunk %d..%d wrote %d bytes", p.from, p.next, len(p.data))
	case p.next > p.info.Tail:
		return p, fmt.Errorf("the chunk %d..%d goes past the tail %d", p.from, p.next, p.info.Tail)
	case p.next == p.from && !p.atTail:
		return p, fmt.Errorf("the chunk at %d is empty although the tail is %d", p.from, p.info.Tail)
	case p.info.Name != name:
		return p, fmt.Errorf("the chunk is of %q, not of %q", p.info.Name, name)
	}
	return p, nil
}

// readAll reads a stream from its start until a chunk reaches the tail.
func readAll(ctx context.Context, s store.Store, name string) ([]byte, error) {
	var data []byte
	for {
		p, err := readFragment(ctx, s, name, protocol.Offset(len(data)), 64<<10)
		if err != nil {
			return data, err
		}
		data = append(data, p.data...)
		if p.atTail {
			return data, nil
		}
	}
}

// appendOf returns an append of a body as a client sends it.
func appendOf(contentType, body string) protocol.AppendRequest {
	r := protocol.AppendRequest{ContentType: contentType}
	if refusal := r.SetBody([]byte(body)); refusal != nil {
		panic(refusal)
	}
	return r
}

// streamOf returns a creation with a body as a client sends it.
func streamOf(contentType, body string) protocol.CreateRequest {
	r := protocol.CreateRequest{ContentType: contentType}
	r.SetBody([]byte(body), contentType)
	return r
}

// closing returns a close-only request.
func closing() protocol.AppendRequest { return protocol.AppendRequest{Close: true} }

// by adds producer headers to a request.
func by(id string, epoch, seq int64, r protocol.AppendRequest) protocol.AppendRequest {
	r.Producer = &protocol.Producer{ID: id, Epoch: epoch, Seq: seq}
	return r
}

// sameInfo compares descriptions; instants are equal in whatever zone.
func sameInfo(a, b store.Info) bool {
	if !a.Expiry.Equal(b.Expiry) || !a.ExpiresAt.Equal(b.ExpiresAt) {
		return false
	}
	a.Expiry, a.ExpiresAt = b.Expiry, b.ExpiresAt
	return a == b
}

func ttl(seconds int) protocol.Expiry {
	return protocol.Expiry{TTL: time.Duration(seconds) * time.Second, HasTTL: true}
}

func refusalOf(err error) *protocol.Refusal {
	var refusal *protocol.Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return nil
}

func hasCode(err error, code protocol.Code) bool {
	refusal := refusalOf(err)
	return refusal != nil && refusal.Code == code
}

// clip shortens a stream's content for a message.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%s… (%d bytes)", s[:most], len(s))
	}
	return s
}
