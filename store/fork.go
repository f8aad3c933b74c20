package store

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// resolvePiece is how much of a source is read at a time to count messages.
const resolvePiece = 256 << 10 // bytes

// ResolveFork completes a fork's request with what only its source knows: the
// content type, which it returns, and for a JSON source the position that the
// offset and the sub-offset name (§4.2), which takes a read of the source and
// renews its TTL. What is wrong with the source is left for Create to say, since
// a fork that exists already does not need its source; so is a source that is
// deleted and created again before Create.
func ResolveFork(ctx context.Context, s Store, r *protocol.CreateRequest) (contentType string, err error) {
	info, err := s.Head(ctx, r.Fork.Source)
	if refusal := (*protocol.Refusal)(nil); errors.As(err, &refusal) {
		r.Fork.Missing()
		return r.ContentType, nil
	}
	if err != nil {
		return "", err
	}
	r.Fork.Found(info.ID)
	if !r.Fork.NeedsResolving(info.ContentType) {
		return info.ContentType, nil
	}
	at, err := skipMessages(ctx, s, r.Fork)
	if refusal := (*protocol.Refusal)(nil); errors.As(err, &refusal) {
		r.Fork.Refusal = refusal
		return info.ContentType, nil
	}
	if err == nil && r.Fork.Refusal == nil {
		r.Fork.Resolve(at)
	}
	return info.ContentType, err
}

// skipMessages returns the position after SubOffset messages past Offset.
func skipMessages(ctx context.Context, s Store, f *protocol.ForkRequest) (at protocol.Offset, err error) {
	at = f.Offset
	for left := f.SubOffset; ; {
		chunk, err := s.Read(ctx, f.Source, at, resolvePiece)
		if err != nil {
			return 0, err
		}
		counter := messageCounter{left: left}
		err = chunk.WriteRange(&counter, 0, chunk.Len())
		same, atTail := chunk.Info.ID == f.SourceID, chunk.AtTail()
		if err := errors.Join(err, chunk.Close()); err != nil {
			return 0, err
		}
		at += counter.passed
		left = counter.left
		switch {
		case !same:
			f.Missing()
			return at, nil
		case left == 0:
			return at, nil
		case atTail:
			f.Overshoot()
			return at, nil
		}
	}
}

// messageCounter measures how many bytes the first messages of a range take.
type messageCounter struct {
	left   int64           // messages still to pass
	passed protocol.Offset // bytes of the messages passed
	open   protocol.Offset // bytes since the last boundary
}

var _ io.Writer = (*messageCounter)(nil)

func (c *messageCounter) Write(p []byte) (int, error) {
	for rest := p; c.left > 0 && len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			c.open += protocol.Offset(len(rest))
			break
		}
		c.passed += c.open + protocol.Offset(i+1)
		c.open = 0
		c.left--
		rest = rest[i+1:]
	}
	return len(p), nil
}
