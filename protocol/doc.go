// Package protocol holds the rules of the Durable Streams Protocol and nothing
// else: no sockets, files, goroutines, clocks or locks. Section numbers such as
// (§5.2.1) refer to PROTOCOL.md of github.com/durable-streams/durable-streams at
// commit 82f9963ae0b489566352393be9b4796c788c99c2.
//
// A request passes through three steps:
//
//   - Parse… functions turn headers and query parameters into a request value,
//     or into a [Refusal] that says what to change. They need no stream.
//   - A Plan… function decides, from a stream's [State] and a request, what
//     happens. It is O(1), so that an engine may call it under a stream's lock.
//   - The engine makes the plan's effect durable and applies it to its State.
//
// Every engine asks the same Plan… functions, so no rule exists twice.
//
// # Wire bytes
//
// A stream is a sequence of bytes, and the position in that sequence is what an
// [Offset] names. A byte stream holds exactly the appended bytes. A stream of
// content type application/json holds its messages compacted, each followed by
// the two bytes ",\n" (§9.1). A raw newline cannot occur inside compacted JSON,
// so a position is a message boundary exactly if the byte before it is '\n', and
// a response body is '[', the range without its last two bytes, ']'.
package protocol
