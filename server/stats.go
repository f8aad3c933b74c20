package server

import (
	"sync/atomic"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
)

// Stats are a handler's counters since it was made. Each is exact, but they are
// not all taken at the same instant.
type Stats struct {
	// LongPollReaders and SSEReaders are the live requests open now.
	LongPollReaders, SSEReaders int64
	// LongPollWaits counts the long-polls that found nothing at first.
	LongPollWaits int64
	// SSEEvents counts the events sent. Data and its control event are one.
	SSEEvents int64
	// SSEEncodings counts the data events encoded; the others were shared.
	SSEEncodings int64
	// ReadersCutOff counts the responses that ended because the client did not
	// read for the write timeout.
	ReadersCutOff int64
	// Appends counts the POSTs that changed a stream, AppendedBytes the wire
	// bytes that they and PUTs stored.
	Appends, AppendedBytes int64
	// ReadBytes counts the wire bytes handed to clients, in whichever form.
	ReadBytes int64
	// Refusals counts the requests refused by the protocol.
	Refusals map[protocol.Code]int64
	// Failures counts the requests that the engine could not carry out.
	Failures int64
}

// counters is what Stats is made of.
type counters struct {
	longPollReaders, sseReaders atomic.Int64
	longPollWaits               atomic.Int64
	sseEvents, sseEncodings     atomic.Int64
	readersCutOff               atomic.Int64
	appends, appendedBytes      atomic.Int64
	readBytes                   atomic.Int64
	failures                    atomic.Int64
	refusals                    []atomic.Int64 // by code
}

func newCounters() counters {
	codes := protocol.Codes()
	return counters{refusals: make([]atomic.Int64, codes[len(codes)-1]+1)}
}

// Stats returns the handler's counters. It may be called at any time.
func (h *Handler) Stats() Stats {
	c := &h.counters
	s := Stats{
		LongPollReaders: c.longPollReaders.Load(),
		SSEReaders:      c.sseReaders.Load(),
		LongPollWaits:   c.longPollWaits.Load(),
		SSEEvents:       c.sseEvents.Load(),
		SSEEncodings:    c.sseEncodings.Load(),
		ReadersCutOff:   c.readersCutOff.Load(),
		Appends:         c.appends.Load(),
		AppendedBytes:   c.appendedBytes.Load(),
		ReadBytes:       c.readBytes.Load(),
		Failures:        c.failures.Load(),
		Refusals:        make(map[protocol.Code]int64),
	}
	for _, code := range protocol.Codes() {
		s.Refusals[code] = c.refusals[code].Load()
	}
	return s
}
