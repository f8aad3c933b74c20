// Package journal is the disk engine's write-ahead log and its one commit point:
// what is in it after a sync has happened, what is not has not. It stores opaque
// records in order, many to one write and one sync (group commit).
//
// # Files
//
// The log is a chain of files of equal size in one folder. Each is filled with
// zeros before its first use, so that a sync writes data and no file metadata,
// and is used again once all its records are obsolete ([Journal.Release]). A
// file's name says nothing; its header does:
//
//	0     header copy 1
//	512   header copy 2
//	1024  batches, each aligned to 8 bytes
//
//	header  magic u32 | version u32 | sequence u64 | salt u64 | first LSN u64 |
//	        previous end u64 | previous last LSN u64 | size u64 | CRC32C u32
//	batch   mark u32 | CRC32C u32 | length u32 | count u32 | first LSN u64 |
//	        synced u64 | records: (length u32 | bytes)…
//
// All numbers are little endian. The salt is a random number drawn for each use
// of a file. A batch's mark is a part of it, and its checksum starts from it and
// covers all that follows. What an earlier use left behind can therefore not be
// mistaken for a batch, nor can bytes that a client stores.
//
// # Proof of the end
//
// The next batch is written only after the sync of the one before, so a crash
// can damage nothing but the last. The header of the next file says where the
// file before it ended. Reading the log back, a batch that does not match its
// checksum is
//
//   - the torn last write of a crash, if no later batch exists: it was never
//     acknowledged and is dropped with a warning;
//   - damage, if a later batch or the next file proves that it had been synced:
//     then opening fails with a [*store.CorruptionError], and the file is kept.
//
// With [Options.SyncInterval] batches are acknowledged before their sync; each
// says how far the file had been synced when it was written ("synced"), which is
// what the proof then rests on.
//
// # Opening
//
// What can be read is not yet what is on the disk: the process before may have
// been killed between write and sync, or its sync may have failed. So opening
// writes what has no proof of a sync again, with the same bytes, and syncs it,
// before anybody builds on it. Then the last file is gone on with at its end. So
// restarts need no space and add no files.
//
// # Failure
//
// After a failed write or sync the journal is done: waiting and later records
// fail, and nothing is tried again, since a sync that fails once may succeed the
// next time without having written anything. Opening the folder again finds out
// what is there.
package journal
