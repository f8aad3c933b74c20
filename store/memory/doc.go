// Package memory is a storage engine without a disk: as durable as the process.
//
// # Locks
//
// A stream has a mutex of its own, under which the rules of package protocol are
// asked and their answer is applied; an append or a read takes that one and, for
// the way from the name to the stream, the read lock of one of 64 shards. The
// order is
//
//	Store.tree  >  shard.mu  >  stream.mu  >  deadlines.mu
//
// and no operation holds the mutexes of two streams at a time.
//
// Store.tree serialises everything that joins or separates streams: the creation
// of a fork, a deletion, an expiry. Without it, A being forked from B while B is
// deleted and created again as a fork of A would need both streams' locks in
// both orders. While it is held, a stream that was looked up stays.
//
// # Bytes
//
// A stream's bytes lie in pieces that are filled once and never moved, so a
// reader takes a view of them under the lock, in constant time, and reads it
// afterwards without one. A fork holds its own bytes only, from its divergence
// point on, and finds the others through its source; neither the divergence
// point nor the source ever changes, so the way up the chain needs no lock, and
// each ancestor is locked by itself for as long as it takes to get a view.
//
// What is removed is left to the garbage collector: a reader that still holds a
// view keeps just the pieces that it reads.
package memory
