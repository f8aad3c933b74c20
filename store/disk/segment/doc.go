// Package segment reads and writes segments: immutable files, shared by many
// streams, that hold what checkpoints and merges have taken out of the journal.
//
//	0            header (64 bytes)
//	64           data: the wire bytes of one stream after another (extents)
//	data end     directory: one entry per stream, in frames
//	directory    block table: CRC32C of each 16 KiB of the file up to the data's end
//	end
//	table end    footer, and its length, checksum and magic in the last 16 bytes
//
//	frame        length u32, never 0 | CRC32C u32 | entries
//	entry        length uvarint | kind u8 | id uvarint | LSN uvarint | name | meta |
//	             extents
//
// All numbers of fixed size are little endian. Names and metas have a uvarint
// length before them. Entries are sorted by stream ID.
//
// Data is read block by block and checked against the block table, so a byte
// that the disk has changed is an error, never an answer.
//
// # Crashes
//
// A segment is written under a temporary name, synced, renamed, and its folder
// synced ([Writer.Finish]). A crash before the rename leaves a file with the
// temporary suffix, which [List] reports as a leftover; after it the file is
// whole. Nothing refers to a segment before Finish has returned.
package segment
