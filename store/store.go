package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// Store is a storage engine. All methods may be called concurrently. Names are
// as protocol.ParseName returns them.
type Store interface {
	// Create makes a stream or a fork, or finds that it exists with the same
	// configuration; then created is false and nothing changes but the sliding
	// TTL (§5.1, §4.2).
	Create(ctx context.Context, name string, r protocol.CreateRequest) (info Info, created bool, err error)

	// Append appends, closes, or both (§5.2, §5.3). A cancelled context ends the
	// wait, not the append: the error is then ErrUnknownOutcome.
	Append(ctx context.Context, name string, r protocol.AppendRequest) (AppendResult, error)

	// Read returns a consistent snapshot that begins at from, or at the tail if
	// from is protocol.Now, and carries at most about maxBytes bytes: of a JSON
	// stream whole messages, at least one if there is one. It renews a sliding
	// TTL. The caller closes the chunk.
	Read(ctx context.Context, name string, from protocol.Offset, maxBytes int) (*Chunk, error)

	// Head returns a stream's description. It does not renew a TTL (§5.5).
	Head(ctx context.Context, name string) (Info, error)

	// Delete removes a stream, softly while forks of it exist (§5.4).
	Delete(ctx context.Context, name string) error

	// Watch returns a channel that is closed at the first change of the stream
	// after the call: new durable bytes, closure, deletion. A reader calls it
	// BEFORE Read, so that no change falls between them, and again before its
	// next Read. The caller calls stop exactly once when it no longer waits. A
	// stream that is watched does not expire by a sliding TTL (§5.1), and stop
	// counts as a read. There need not be such a stream: a channel for a missing
	// one may stay open.
	Watch(name string) (changed <-chan struct{}, stop func())

	// List returns up to limit streams whose names begin with prefix and sort
	// after the name after, in ascending order of name. Soft-deleted and expired
	// streams are left out.
	List(ctx context.Context, prefix, after string, limit int) ([]Info, error)

	// Close makes everything durable and releases the engine's resources. Calls
	// that come later or still wait fail with ErrClosed.
	Close() error
}

// Info describes a stream as clients may see it.
type Info struct {
	Name        string
	ID          uint64 // protocol.State.ID
	ContentType string
	Tail        protocol.Offset
	Closed      bool
	Expiry      protocol.Expiry
	// ExpiresAt is when the stream ends if nobody uses it again; zero for never.
	ExpiresAt time.Time
}

// NewInfo describes a stream in the given state.
func NewInfo(name string, s *protocol.State) Info {
	info := Info{
		Name: name, ID: s.ID, ContentType: s.ContentType,
		Tail: s.Tail, Closed: s.Closed, Expiry: s.Expiry,
	}
	info.ExpiresAt, _ = s.Expiry.Deadline(s.Accessed)
	return info
}

// AppendResult says what an accepted append did.
type AppendResult struct {
	Outcome protocol.Outcome
	// Tail is the stream's tail after the append; for other outcomes, the tail
	// at that time.
	Tail protocol.Offset
	// Closed says whether the stream is closed now.
	Closed bool
	// Producer is the producer's last accepted request, nil without producer headers.
	Producer *protocol.ProducerState
}

// Chunk is a range of one stream's bytes together with the state of the stream
// at the instant at which the range was taken.
type Chunk struct {
	Info Info
	// From and Next are the first position and the one after the last.
	From, Next protocol.Offset
	body       Body
}

// Body gives access to a chunk's bytes.
type Body interface {
	// WriteTo writes the bytes from..to of the chunk, relative to its beginning,
	// to w in pieces of bounded size. It holds no lock and no file while w.Write
	// runs. An error that is not w's is the engine's, such as a CorruptionError;
	// bytes that do not match their checksum are never written.
	WriteTo(w io.Writer, from, to int64) error
	Close() error
}

// NewChunk returns a chunk with the bytes of body, which may be nil if the range
// is empty.
func NewChunk(info Info, from, next protocol.Offset, body Body) *Chunk {
	return &Chunk{Info: info, From: from, Next: next, body: body}
}

// Len returns how many wire bytes the chunk has.
func (c *Chunk) Len() int64 { return int64(c.Next - c.From) }

// AtTail reports whether the chunk reaches the stream's tail.
func (c *Chunk) AtTail() bool { return c.Next == c.Info.Tail }

// AtEnd reports whether the chunk reaches the end of a closed stream.
func (c *Chunk) AtEnd() bool { return c.Info.Closed && c.AtTail() }

// WriteRange writes the chunk's wire bytes from..to, relative to its beginning,
// to w.
func (c *Chunk) WriteRange(w io.Writer, from, to int64) error {
	if from >= to {
		return nil
	}
	return c.body.WriteTo(w, from, to)
}

// Close releases what the chunk holds. It may be called more than once.
func (c *Chunk) Close() error {
	if c.body == nil {
		return nil
	}
	body := c.body
	c.body = nil
	return body.Close()
}

// Errors of an engine. None of them is the client's fault.
var (
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("store: closed")

	// ErrUnknownOutcome: the change may or may not have happened, because a sync
	// failed or the caller stopped waiting. An idempotent producer finds out by
	// sending the request again.
	ErrUnknownOutcome = errors.New("store: outcome unknown")

	// ErrUnavailable: the engine refuses changes until it is opened again, since
	// it could not prove an earlier one durable. Nothing was changed.
	ErrUnavailable = errors.New("store: writes are refused after a failed sync")

	// ErrBusy: too much waits to be written. Nothing was changed; try again.
	ErrBusy = errors.New("store: too many pending writes")

	// ErrNoSpace: the disk is full, or has less than the configured minimum of
	// free space. Nothing was changed.
	ErrNoSpace = errors.New("store: no space left")

	// ErrCorrupt: stored data does not match its checksum. See CorruptionError.
	ErrCorrupt = errors.New("store: corrupt data")
)
