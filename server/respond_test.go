package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/server"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// brokenStore answers every call with err.
type brokenStore struct{ err error }

var _ store.Store = brokenStore{}

func (s brokenStore) Create(context.Context, string, protocol.CreateRequest) (store.Info, bool, error) {
	return store.Info{}, false, s.err
}

func (s brokenStore) Append(context.Context, string, protocol.AppendRequest) (store.AppendResult, error) {
	return store.AppendResult{}, s.err
}

func (s brokenStore) Read(context.Context, string, protocol.Offset, int) (*store.Chunk, error) {
	return nil, s.err
}

func (s brokenStore) Head(context.Context, string) (store.Info, error) { return store.Info{}, s.err }
func (s brokenStore) Delete(context.Context, string) error             { return s.err }
func (s brokenStore) Watch(string) (<-chan struct{}, func())           { return nil, func() {} }
func (s brokenStore) List(context.Context, string, string, int) ([]store.Info, error) {
	return nil, s.err
}
func (s brokenStore) Close() error { return nil }

// everyCall are requests that reach each of the store's methods.
func everyCall() map[string]*http.Request {
	return map[string]*http.Request{
		"create":    newRequest("PUT", "a", "x", "Content-Type", text),
		"fork":      newRequest("PUT", "a", "", "Stream-Forked-From", "/v1/stream/b"),
		"append":    newRequest("POST", "a", "x", "Content-Type", text),
		"read":      newRequest("GET", "a", ""),
		"long-poll": newRequest("GET", "a?offset=-1&live=long-poll", ""),
		"sse":       newRequest("GET", "a?offset=-1&live=sse", ""),
		"head":      newRequest("HEAD", "a", ""),
		"delete":    newRequest("DELETE", "a", ""),
	}
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	want := map[protocol.Code]struct {
		status  int
		headers []string
	}{
		protocol.Malformed:           {status: 400},
		protocol.InvalidName:         {status: 400},
		protocol.InvalidOffset:       {status: 400},
		protocol.InvalidJSON:         {status: 400},
		protocol.InvalidForkPoint:    {status: 400},
		protocol.EpochStart:          {status: 400},
		protocol.StaleEpoch:          {403, h("Producer-Epoch", "5")},
		protocol.Reserved:            {status: 403},
		protocol.NotFound:            {status: 404},
		protocol.SourceNotFound:      {status: 404},
		protocol.MethodNotAllowed:    {405, h("Allow", "GET, HEAD, PUT, POST, DELETE, OPTIONS")},
		protocol.BodyTimeout:         {408, h("Connection", "close")},
		protocol.ConfigMismatch:      {status: 409},
		protocol.NameBlocked:         {status: 409},
		protocol.SourceGone:          {status: 409},
		protocol.StreamClosed:        {409, h("Stream-Closed", "true", "Stream-Next-Offset", at("3"))},
		protocol.ContentTypeMismatch: {status: 409},
		protocol.SeqRegression:       {status: 409},
		protocol.SequenceGap:         {409, h("Producer-Expected-Seq", "1", "Producer-Received-Seq", "2")},
		protocol.Gone:                {status: 410},
		protocol.OffsetMismatch:      {412, h("Stream-Next-Offset", at("3"))},
		protocol.TooLarge:            {status: 413},
	}
	// Headers that belong to some codes only.
	special := []string{
		"Producer-Epoch", "Allow", "Connection", "Stream-Closed", "Stream-Next-Offset",
		"Producer-Expected-Seq", "Producer-Received-Seq", "Producer-Seq", "Stream-Up-To-Date", "ETag", "Retry-After",
	}
	for _, code := range protocol.Codes() {
		expected, ok := want[code]
		if !ok {
			t.Errorf("this test does not know the code %s", code)
			continue
		}
		refusal := &protocol.Refusal{
			Code: code, Detail: "one sentence of help", Tail: 3, Closed: code == protocol.StreamClosed,
			Epoch: 5, Expected: 1, Received: 2,
		}
		w := newWorldOn(t, brokenStore{fmt.Errorf("wrapped: %w", refusal)}, server.Config{})
		for call, r := range everyCall() {
			if call == "fork" {
				continue // what is wrong with the source is for Create to say
			}
			t.Run(fmt.Sprintf("%s/%s", code, call), func(t *testing.T) {
				got := w.do(t, r)
				if got.StatusCode != expected.status {
					t.Errorf("status %d, want %d", got.StatusCode, expected.status)
				}
				if call != "head" && got.body != code.String()+": one sentence of help\n" {
					t.Errorf("body %q", got.body)
				}
				got.header(t, expected.headers...)
				for _, name := range special {
					if len(got.Header.Values(name)) > 0 && !contains(expected.headers, name) {
						t.Errorf("unexpected header %s: %s", name, got.Header.Get(name))
					}
				}
			})
		}
		if n := w.handler.Stats().Refusals[code]; n != int64(len(everyCall())-1) {
			t.Errorf("%d refusals with %s counted", n, code)
		}
	}
}

func contains(headers []string, name string) bool {
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == name {
			return true
		}
	}
	return false
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name       string
		err        error
		status     int
		retryAfter string
	}{
		{"unknown outcome", store.ErrUnknownOutcome, 503, "1"},
		{"busy", store.ErrBusy, 503, "1"},
		{"closed", store.ErrClosed, 503, "1"},
		{"unavailable", store.ErrUnavailable, 503, "30"},
		{"no space", store.ErrNoSpace, 507, ""},
		{"corrupt", &store.CorruptionError{File: "/secret/place", Offset: 7, Reason: "checksum"}, 500, ""},
		{"other", errors.New("/secret/place is not there"), 500, ""},
	} {
		for call := range everyCall() {
			t.Run(c.name+"/"+call, func(t *testing.T) {
				var reported error
				w := newWorldOn(t, brokenStore{fmt.Errorf("append %q: %w", "/secret/place", c.err)}, server.Config{
					Report: func(_ *http.Request, err error) { reported = err },
				})
				got := w.do(t, everyCall()[call])
				if got.StatusCode != c.status {
					t.Errorf("status %d, want %d", got.StatusCode, c.status)
				}
				got.header(t, "Retry-After", c.retryAfter, "Cache-Control", "no-store", "ETag", "", "Stream-Next-Offset", "")
				if strings.Contains(got.body, "secret") || call != "head" && got.body != http.StatusText(c.status)+"\n" {
					t.Errorf("body %q", got.body)
				}
				if !errors.Is(reported, c.err) {
					t.Errorf("reported %v", reported)
				}
				if n := w.handler.Stats().Failures; n != 1 {
					t.Errorf("%d failures counted", n)
				}
			})
		}
	}
}

// TestServeHTTP_returnsFailures checks what an embedding server gets.
func TestServeHTTP_returnsFailures(t *testing.T) {
	cause := fmt.Errorf("append: %w", store.ErrUnavailable)
	handler := server.New(brokenStore{cause}, server.Config{})
	w := &discardWriter{header: http.Header{}}
	err := handler.ServeHTTP(w, newRequest("POST", "a", "x", "Content-Type", text))
	var failure *server.Failure
	if !errors.As(err, &failure) || failure.Status != 503 || failure.RetryAfter != 30*time.Second || failure.Err != cause {
		t.Errorf("ServeHTTP returned %#v", err)
	}
	if w.status != 0 {
		t.Errorf("status %d was sent", w.status)
	}
	if w.header.Get("Retry-After") != "30" || w.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("headers %v", w.header)
	}
}

// TestServeHTTP_clientGone: nobody gets the answer, so it must be no success and
// no failure either.
func TestServeHTTP_clientGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for call, r := range everyCall() {
		handler := server.New(brokenStore{context.Canceled}, server.Config{})
		w := &discardWriter{header: http.Header{}}
		if err := handler.ServeHTTP(w, r.WithContext(ctx)); err != nil {
			t.Errorf("%s: %v", call, err)
		}
		if w.status != 499 {
			t.Errorf("%s: status %d", call, w.status)
		}
		if n := handler.Stats().Failures; n != 0 {
			t.Errorf("%s: %d failures", call, n)
		}
	}
}

// chunkStore reads chunks with the given body.
type chunkStore struct {
	brokenStore
	info store.Info
	body func() store.Body
}

func (s chunkStore) Read(context.Context, string, protocol.Offset, int) (*store.Chunk, error) {
	return store.NewChunk(s.info, 0, s.info.Tail, s.body()), nil
}
