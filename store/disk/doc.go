// Package disk is the storage engine that keeps what it acknowledges. Its shape
// is that of a time-series database, because the load is the same: very many
// small, append-only, short-lived series.
//
//	journal/    every change, in order: the one commit point (package journal)
//	segments/   immutable files that streams share (package segment)
//	index/      name -> state and extents: a cache of the segments' directories
//	            (package index)
//	lock        held by the process that has the folder open
//
// # A change
//
// A request is planned on the assigned version of its stream under the stream's
// lock, gets a place in the journal there, and waits without a lock. When the
// journal has synced the batch it is in, the committer applies it to the durable
// version, which is what readers see, wakes watchers and releases the answer.
// An answer that rests on a record in flight waits for that record.
//
// # The way to a segment
//
// New bytes stay in memory (head) until a checkpoint writes all dirty streams
// into one segment, tells the index, and releases the journal up to the LSN at
// which it began. Merges rewrite segments so that a stream's extents become few
// and the space of dead ones comes back.
//
// # Start
//
// The index says where everything up to its checkpoint is; the journal is
// replayed from there into memory. A record is skipped for streams whose state in
// the index includes its LSN. The start takes time by the size of the journal,
// not of the data.
//
// # Locks
//
// In this order: tree (whoever locks two slots), a slot's mu (a fork's before
// its source's), then the small locks (dirtyMu, deadlines, segments, the
// journal's). A shard of the table is locked before a slot that nobody has
// pinned, never while one is locked. merging is taken before maintenance, and
// maintenance before all others.
// The journal's committer takes slots' locks one at a time, so nobody waits for
// the journal while holding one.
package disk
