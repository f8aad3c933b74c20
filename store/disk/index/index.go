// Package index holds the disk engine's index: an ordered key-value store that
// says, in one place and quickly, what the directories of all segments say
// together.
//
// It is a cache. Nothing acknowledged lives in it alone, so the answer to every
// kind of damage is the same: close it, remove its folder, open it again empty
// and fill it from the segments' footers. What the package therefore owes its
// user is not that damage never happens but that it is noticed: each value
// carries a checksum over its key and itself, and every failure that means "what
// is stored here is damaged" is [ErrCorrupt], apart from failures that pass or
// that a rebuild would not cure (a full disk, no more file handles, no
// permission, a folder that another process has open).
//
// The second duty is order in time. A batch is durable when Apply returns, but it
// is not atomic. The user gets atomicity by writing what makes a batch valid (the
// LSN of the checkpoint that it belongs to) in a batch of its own, after it: if
// that record is there, all that was applied before it is there too.
//
// [OpenBadger] is the implementation for production, [Mem] the one for
// simulations; one suite of tests holds both to this contract.
package index

// Limits on what a batch takes. They are the same for every implementation, so
// that a simulation refuses what production would refuse.
const (
	// MaxKeyLen is the longest key, in bytes.
	MaxKeyLen = 16 << 10

	// MaxValueLen is the longest value, in bytes: 1 MiB less room for the
	// checksum. Badger keeps a value below 1 MiB with its key; a longer one would
	// go to the value log, which has other rules for sync, space and damage and is
	// kept empty here. Whoever has more to say about a key uses several keys.
	MaxValueLen = 1<<20 - 16
)

// Index is an ordered map from keys to values, on disk. Keys are ordered as
// bytes.Compare orders them.
//
// All methods are safe for concurrent use. After Close each of them returns
// [ErrClosed]. A method that meets damage returns an error that is [ErrCorrupt];
// the index must then be closed and rebuilt, since badger gives no promise about
// what else a damaged store answers.
type Index interface {
	// Get appends key's value to dst and returns the extended slice. It may see what
	// a batch under way has written so far. With an error
	// it returns dst as it was: [ErrNotFound] when there is no such key, a
	// [*CorruptionError] when the value does not match its checksum.
	Get(dst, key []byte) ([]byte, error)

	// Scan calls fn for every key in [from, to), in ascending order, until fn
	// returns false. An empty from means the first key, an empty to means no upper
	// bound. It sees the batches whose Apply had returned nil when it began, each
	// whole, and nothing of those that are under way or failed since the index was
	// opened; it neither waits for writers nor makes them wait. key and value are valid during the call only and
	// must not be changed. fn may call the index's other methods, but not Close. A
	// damaged value ends the scan with a [*CorruptionError]; what fn saw before it
	// was intact.
	Scan(from, to []byte, fn func(key, value []byte) bool) error

	// Apply writes the batch, in order: the last operation on a key wins. When it
	// returns nil, all of the batch survives a power loss, as does all that was
	// applied before it. After an error or a crash an arbitrary part of the batch
	// may be there: write what makes a batch valid afterwards, alone.
	//
	// A batch that holds a key or value outside the limits is refused whole, with
	// [ErrInvalidKey] or [ErrValueTooLarge], before anything is written; nothing else
	// happens. After any other error the index reads on but takes no more batches
	// ([ErrFailed]) until it is closed and opened again: a write behind one that
	// failed could not be promised to survive. The batch may be reused when Apply has
	// returned.
	Apply(b *Batch) error

	// Compact gives back the space of deleted and overwritten values. It takes
	// time and disk traffic in proportion to the size of the index, while reads and
	// writes go on.
	Compact() error

	// Size returns how many bytes the index takes on disk.
	Size() (int64, error)

	// Close waits for calls under way, writes what is pending and frees the folder.
	// A second Close does nothing and returns nil.
	Close() error
}
