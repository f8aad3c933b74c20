package protocol

import "fmt"

// Code says why a request was refused. The server package maps each code to a
// status and headers in one table.
type Code uint8

// The codes. A comment gives the status that PROTOCOL.md asks for.
const (
	// Malformed: a header, query parameter or body does not have its form (400).
	Malformed Code = iota + 1
	// InvalidName: the stream's name is not acceptable (400, §12.2).
	InvalidName
	// InvalidOffset: not an offset of this stream (400, §8).
	InvalidOffset
	// InvalidJSON: the body is not JSON, or an empty array in a POST (400, §9.1).
	InvalidJSON
	// InvalidForkPoint: the fork's offset or sub-offset is past the source's data (400, §4.2).
	InvalidForkPoint
	// EpochStart: a new producer epoch did not start at sequence 0 (400, §5.2.1).
	EpochStart
	// StaleEpoch: the producer was fenced off by a newer epoch (403, §5.2.1).
	StaleEpoch
	// Reserved: the name belongs to the server; clients only read it (403).
	Reserved
	// NotFound: no such stream, or it has expired (404).
	NotFound
	// SourceNotFound: the fork's source does not exist (404, §4.2).
	SourceNotFound
	// MethodNotAllowed: no such operation on a stream (405).
	MethodNotAllowed
	// ConfigMismatch: the stream exists with another configuration (409, §5.1).
	ConfigMismatch
	// NameBlocked: the name belongs to a soft-deleted stream (409, §4.2).
	NameBlocked
	// SourceGone: the fork's source is soft-deleted (409, §4.2).
	SourceGone
	// StreamClosed: nothing more can be appended (409, §5.2).
	StreamClosed
	// ContentTypeMismatch: not the stream's content type (409, §5.2, §4.2).
	ContentTypeMismatch
	// SeqRegression: Stream-Seq is not greater than the last one (409, §5.2).
	SeqRegression
	// SequenceGap: a producer's earlier request is missing (409, §5.2.1).
	SequenceGap
	// Gone: the stream is soft-deleted (410, §4.2).
	Gone
	// OffsetMismatch: the tail is not the expected offset (412; compare-and-append).
	OffsetMismatch
	// TooLarge: the body exceeds the server's limit (413, §5.2).
	TooLarge
	// BodyTimeout: the body did not arrive in time (408).
	BodyTimeout

	codeEnd
)

var codeNames = [codeEnd]string{
	Malformed: "malformed", InvalidName: "invalid_name", InvalidOffset: "invalid_offset",
	InvalidJSON: "invalid_json", InvalidForkPoint: "invalid_fork_point", EpochStart: "epoch_start",
	StaleEpoch: "stale_epoch", Reserved: "reserved", NotFound: "not_found", SourceNotFound: "source_not_found",
	MethodNotAllowed: "method_not_allowed", ConfigMismatch: "config_mismatch", NameBlocked: "name_blocked",
	SourceGone: "source_gone", StreamClosed: "stream_closed", ContentTypeMismatch: "content_type_mismatch",
	SeqRegression: "seq_regression", SequenceGap: "sequence_gap", Gone: "gone", OffsetMismatch: "offset_mismatch",
	TooLarge: "too_large", BodyTimeout: "body_timeout",
}

// String returns the code's name as it appears in metrics and error bodies.
func (c Code) String() string {
	if c > 0 && c < codeEnd {
		return codeNames[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// Codes returns every code, for tables and tests that must cover all of them.
func Codes() []Code {
	all := make([]Code, 0, codeEnd-1)
	for c := Malformed; c < codeEnd; c++ {
		all = append(all, c)
	}
	return all
}

// Refusal is a "no" of the protocol: the request was understood and has no
// effect. Any other error means that the engine failed.
type Refusal struct {
	Code Code
	// Detail is one sentence for the client's developer that says what to change.
	Detail string
	// Tail is the stream's tail; set with StreamClosed and OffsetMismatch.
	Tail Offset
	// Closed says whether the stream is closed, where Tail is set.
	Closed bool
	// Epoch is the producer's current epoch; set with StaleEpoch.
	Epoch int64
	// Expected and Received are sequence numbers; set with SequenceGap.
	Expected, Received int64
}

// Error returns the code and the detail.
func (r *Refusal) Error() string { return r.Code.String() + ": " + r.Detail }

func refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}
