package server

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// refusals maps every code of a refusal to its response.
var refusals = map[protocol.Code]struct {
	status int
	extra  func(a *answer, r *protocol.Refusal)
}{
	protocol.Malformed:           {status: http.StatusBadRequest},
	protocol.InvalidName:         {status: http.StatusBadRequest},
	protocol.InvalidOffset:       {status: http.StatusBadRequest},
	protocol.InvalidJSON:         {status: http.StatusBadRequest},
	protocol.InvalidForkPoint:    {status: http.StatusBadRequest},
	protocol.EpochStart:          {status: http.StatusBadRequest},
	protocol.StaleEpoch:          {http.StatusForbidden, setCurrentEpoch},
	protocol.Reserved:            {status: http.StatusForbidden},
	protocol.NotFound:            {status: http.StatusNotFound},
	protocol.SourceNotFound:      {status: http.StatusNotFound},
	protocol.MethodNotAllowed:    {http.StatusMethodNotAllowed, setAllow},
	protocol.BodyTimeout:         {http.StatusRequestTimeout, setConnectionClose},
	protocol.ConfigMismatch:      {status: http.StatusConflict},
	protocol.NameBlocked:         {status: http.StatusConflict},
	protocol.SourceGone:          {status: http.StatusConflict},
	protocol.StreamClosed:        {http.StatusConflict, setTail},
	protocol.ContentTypeMismatch: {status: http.StatusConflict},
	protocol.SeqRegression:       {status: http.StatusConflict},
	protocol.SequenceGap:         {http.StatusConflict, setGap},
	protocol.Gone:                {status: http.StatusGone},
	protocol.OffsetMismatch:      {http.StatusPreconditionFailed, setTail},
	protocol.TooLarge:            {status: http.StatusRequestEntityTooLarge},
}

// failures maps the engine's errors to responses. An error that is not among
// them is a 500.
var failures = []struct {
	err        error
	status     int
	retryAfter time.Duration
}{
	{store.ErrUnknownOutcome, http.StatusServiceUnavailable, time.Second},
	{store.ErrBusy, http.StatusServiceUnavailable, time.Second},
	{store.ErrClosed, http.StatusServiceUnavailable, time.Second},
	{store.ErrUnavailable, http.StatusServiceUnavailable, 30 * time.Second},
	{store.ErrNoSpace, http.StatusInsufficientStorage, 0},
}

// statusClientClosedRequest is what access logs show for a client that did not
// wait for its answer. Nobody receives it.
const statusClientClosedRequest = 499

const noStore = "no-store"

// created answers a PUT (§5.1).
func (a *answer) created(info store.Info, created bool) {
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		a.set("Location", a.h.cfg.StreamURL(a.r))
	}
	a.set("Content-Type", info.ContentType)
	a.setPosition(info.Tail, false, info.Closed)
	a.w.WriteHeader(status)
}

// appended answers a POST (§5.2, §5.2.1). 200 tells a producer that its data is
// new; what has no data, or had it before, is 204.
func (a *answer) appended(req *protocol.AppendRequest, result *store.AppendResult) {
	a.setPosition(result.Tail, false, result.Closed)
	if p := result.Producer; p != nil {
		a.setInt(protocol.HeaderProducerEpoch, p.Epoch)
		a.setInt(protocol.HeaderProducerSeq, p.Seq)
	}
	status := http.StatusNoContent
	if req.Producer != nil && result.Outcome == protocol.Appended && len(req.Body) > 0 {
		status = http.StatusOK
	}
	a.w.WriteHeader(status)
}

// deleted answers a DELETE (§5.4).
func (a *answer) deleted() { a.w.WriteHeader(http.StatusNoContent) }

// described answers a HEAD (§5.5).
func (a *answer) described(info store.Info) {
	a.set("Content-Type", info.ContentType)
	a.set("Cache-Control", noStore)
	a.setPosition(info.Tail, false, info.Closed)
	if info.Expiry.HasTTL {
		a.setInt(protocol.HeaderTTL, int64(info.Expiry.TTL/time.Second))
	}
	if !info.Expiry.At.IsZero() {
		a.set(protocol.HeaderExpiresAt, info.Expiry.At.UTC().Format(time.RFC3339Nano))
	}
	a.w.WriteHeader(http.StatusOK)
}

// chunk prepares the response that carries a chunk (§5.6, §5.7), or answers that
// the client's copy is good (§10.1) and reports that. cursor is empty for
// catch-up reads. What was asked for as "now" has no tag and is not stored: the
// same URL means another position with every request.
func (a *answer) chunk(c *store.Chunk, req *protocol.ReadRequest, cursor string) (notModified bool) {
	a.setPosition(c.Next, c.AtTail(), c.AtEnd())
	if cursor != "" {
		a.set(protocol.HeaderCursor, cursor)
	}
	if req.From == protocol.Now || c.Len() == 0 {
		// An empty answer would hide new data and the stream's end.
		a.set("Cache-Control", noStore)
	} else {
		a.set("Cache-Control", cacheControl(a.r.Header, c.Info.ExpiresAt, a.h.cfg.Now()))
	}
	if req.From != protocol.Now {
		etag := protocol.ETag(c.Info.ID, c.From, c.Next, c.AtEnd())
		a.set("Etag", etag)
		if protocol.MatchETag(req.IfNoneMatch, etag) {
			a.w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	length := c.Len()
	if length == 0 && protocol.IsJSON(c.Info.ContentType) {
		length = int64(len("[]"))
	} // else the array's brackets take the place of the last separator
	a.set("Content-Type", c.Info.ContentType)
	a.setInt("Content-Length", length)
	return false
}

// nothingNew answers a long-poll that found no data (§5.7).
func (a *answer) nothingNew(at protocol.Offset, closed bool, cursor string) {
	a.setPosition(at, true, closed)
	a.set(protocol.HeaderCursor, cursor)
	a.set("Cache-Control", noStore)
	a.w.WriteHeader(http.StatusNoContent)
}

// events prepares an SSE response (§5.8). It leaves the status to the first
// write: a compressing middleware that sees an explicit one starts at once. Nor
// may anything on the way gather events to compress or to cache them.
func (a *answer) events(enc protocol.SSEEncoding) {
	a.set("Content-Type", "text/event-stream")
	a.set("Cache-Control", "no-cache, no-store, no-transform")
	a.set("X-Accel-Buffering", "no")
	if enc == protocol.SSEBase64 {
		a.set(protocol.HeaderSSEDataEncoding, "base64")
	}
}

// fail answers what went wrong, or returns the *Failure that the embedding
// server is to answer. Nothing has been sent yet.
func (a *answer) fail(err error) error {
	a.reset()
	a.set("Cache-Control", noStore)
	if refusal := (*protocol.Refusal)(nil); errors.As(err, &refusal) {
		a.refuse(refusal)
		return nil
	}
	if a.r.Context().Err() != nil && !errors.Is(err, store.ErrUnknownOutcome) {
		a.w.WriteHeader(statusClientClosedRequest)
		return nil
	}
	a.h.counters.failures.Add(1)
	f := &Failure{Status: http.StatusInternalServerError, Err: err}
	for _, known := range failures {
		if errors.Is(err, known.err) {
			f.Status, f.RetryAfter = known.status, known.retryAfter
			break
		}
	}
	if f.RetryAfter > 0 {
		a.setInt("Retry-After", int64(f.RetryAfter/time.Second))
	}
	return f
}

// refuse answers with the status of the refusal's code and one sentence.
func (a *answer) refuse(r *protocol.Refusal) {
	a.h.counters.refusals[r.Code].Add(1)
	response := refusals[r.Code]
	if response.extra != nil {
		response.extra(a, r)
	}
	if response.status == http.StatusConflict && r.Code != protocol.SequenceGap {
		setNoGap(a)
	}
	a.boundBody()
	a.text(response.status, r.Error())
}

// text answers with one line of text.
func (a *answer) text(status int, line string) {
	a.set("Content-Type", "text/plain; charset=utf-8")
	a.w.WriteHeader(status)
	if a.r.Method != http.MethodHead {
		// A client that has gone does not miss its error.
		_, _ = a.w.Write([]byte(line + "\n"))
	}
}

// reset removes what was prepared for another answer.
func (a *answer) reset() {
	for _, name := range []string{
		"Content-Type", "Content-Length", "Etag", "X-Accel-Buffering", protocol.HeaderNextOffset, protocol.HeaderUpToDate,
		protocol.HeaderClosed, protocol.HeaderCursor, protocol.HeaderSSEDataEncoding,
	} {
		delete(a.header, name)
	}
}

// setPosition sets where to read on, and whether there is more.
func (a *answer) setPosition(next protocol.Offset, upToDate, closed bool) {
	a.set(protocol.HeaderNextOffset, next.String())
	if upToDate {
		a.set(protocol.HeaderUpToDate, "true")
	}
	if closed {
		a.set(protocol.HeaderClosed, "true")
	}
}

func (a *answer) setInt(name string, value int64) { a.set(name, strconv.FormatInt(value, 10)) }

func setTail(a *answer, r *protocol.Refusal) { a.setPosition(r.Tail, false, r.Closed) }

func setCurrentEpoch(a *answer, r *protocol.Refusal) {
	a.setInt(protocol.HeaderProducerEpoch, r.Epoch)
}

func setGap(a *answer, r *protocol.Refusal) {
	a.setInt(protocol.HeaderProducerExpectedSeq, r.Expected)
	a.setInt(protocol.HeaderProducerReceivedSeq, r.Received)
}

// setNoGap tells a producer whose request conflicts for another reason that no
// earlier request is missing. The official client takes a 409 without these
// headers for a gap that begins at 0, and sends the request again for ever.
func setNoGap(a *answer) {
	seq := a.r.Header.Get(protocol.HeaderProducerSeq)
	if n, err := strconv.ParseUint(seq, 10, 63); err == nil {
		setGap(a, &protocol.Refusal{Expected: int64(n), Received: int64(n)})
	}
}

func setAllow(a *answer, _ *protocol.Refusal) { a.set("Allow", allowedMethods) }

// setConnectionClose gives up the connection: what is left of the body could not
// be told from a next request. HTTP/2 and 3 end the stream by themselves.
func setConnectionClose(a *answer, _ *protocol.Refusal) {
	if a.r.ProtoMajor == 1 {
		a.set("Connection", "close")
	}
}
