package filepool

// Handle is a pin on a pool's value, which stays open at least until Release. It
// is a value, so that taking one allocates nothing; copies are the same pin.
type Handle[K comparable, V any] struct {
	pool  *Pool[K, V]
	entry *entry[K, V]
	at    int    // of the pin in pool.pins
	turn  uint64 // of the pin when it was handed out
}

// Value returns the pinned value. It must not be used after Release.
func (h Handle[K, V]) Value() V { return h.entry.value }

// Release ends the pin. It must be called exactly once for what one Acquire
// returned: a second call, through a copy too, panics, because it would otherwise
// end a pin of somebody else. If the value is closed by it, that happens before
// Release returns; see [Pool.Close] for the error.
func (h Handle[K, V]) Release() { h.pool.release(h) }
