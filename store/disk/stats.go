package disk

import (
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/filepool"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/journal"
)

// Stats describe what the store does and holds. Counters count since it was
// opened.
type Stats struct {
	Journal journal.Stats
	Files   filepool.Stats

	// StreamsInMemory counts the names that are in memory.
	StreamsInMemory int
	// HeadBytes is the memory, in bytes, of changes that no segment has yet.
	HeadBytes int64
	// Segments, SegmentBytes and LiveBytes describe the segments in use;
	// LiveBytes estimates how much of them belongs to streams that exist.
	Segments                int
	SegmentBytes, LiveBytes int64

	Checkpoints    uint64
	CheckpointTime time.Duration // total
	Merges         uint64
	MergedBytes    uint64 // written by merges
	// FreeBytes is the free space of the file system at the last look, -1 if it
	// is not known.
	FreeBytes int64
	// Failed says that the store refuses changes until it is opened again.
	Failed bool
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	st := Stats{
		Journal: s.journal.Stats(), Files: s.pool.Stats(),
		HeadBytes:      s.headRoom.used.Load(),
		Checkpoints:    s.checkpoints.Load(),
		CheckpointTime: time.Duration(s.checkpointNanos.Load()),
		Merges:         s.merges.Load(),
		MergedBytes:    s.mergedBytes.Load(),
		FreeBytes:      s.room.free.Load(),
		Failed:         s.journal.Err() != nil,
	}
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		sh.mu.RLock()
		st.StreamsInMemory += len(sh.slots)
		sh.mu.RUnlock()
	}
	stats, _ := s.segments.list()
	st.Segments = len(stats)
	for _, g := range stats {
		st.SegmentBytes += g.size
		st.LiveBytes += g.live
	}
	return st
}
