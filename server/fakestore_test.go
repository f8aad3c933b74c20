package server_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// gatedStore holds reads back while closed, until open is.
type gatedStore struct {
	store.Store
	closed atomic.Bool
	open   chan struct{}
}

func (s *gatedStore) Read(ctx context.Context, name string, from protocol.Offset, maxBytes int) (*store.Chunk, error) {
	if s.closed.Load() {
		<-s.open
	}
	return s.Store.Read(ctx, name, from, maxBytes)
}

// closingStore fails its reads once err is set.
type closingStore struct {
	store.Store
	err atomic.Pointer[error]
}

func (s *closingStore) Read(ctx context.Context, name string, from protocol.Offset, maxBytes int) (*store.Chunk, error) {
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Read(ctx, name, from, maxBytes)
}

// newBody returns a response's body to be read again.
func newBody(r response) io.Reader { return strings.NewReader(r.body) }
