package disk

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/caddy-durable-streams/caddy-durable-streams/store"
	"github.com/caddy-durable-streams/caddy-durable-streams/store/disk/index"
)

const shards = 64

// table holds the slots of hot names.
type table struct {
	seed maphash.Seed
	// dropped is called with each slot that leaves.
	dropped func(*slot)
	// renewed is called with each slot that cannot leave before a checkpoint has
	// taken its time of last access. Its lock is held.
	renewed func(*slot)
	shards  [shards]shard
}

type shard struct {
	mu    sync.RWMutex
	slots map[string]*slot
}

func newTable(dropped, renewed func(*slot)) *table {
	t := &table{seed: maphash.MakeSeed(), dropped: dropped, renewed: renewed}
	for i := range t.shards {
		t.shards[i].slots = make(map[string]*slot)
	}
	return t
}

func (t *table) shard(name string) *shard {
	return &t.shards[maphash.String(t.seed, name)%shards]
}

// pin returns the slot of a name, which stays in the table until unpin. A new
// slot is not loaded.
func (t *table) pin(name string) *slot {
	sh := t.shard(name)
	sh.mu.RLock()
	s := sh.slots[name]
	if s != nil {
		s.pins.Add(1)
	}
	sh.mu.RUnlock()
	if s != nil {
		if !s.used.Load() {
			s.used.Store(true)
		}
		return s
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s = sh.slots[name]; s == nil {
		s = &slot{name: strings.Clone(name)}
		sh.slots[s.name] = s
	}
	s.pins.Add(1)
	s.used.Store(true)
	return s
}

// find returns the slot of a name, pinned, if there is one in memory.
func (t *table) find(name string) *slot {
	sh := t.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	s := sh.slots[name]
	if s != nil {
		s.pins.Add(1)
	}
	return s
}

// unpin gives a pin back. A slot that holds nothing leaves the table with its
// last pin, so that requests for names without a stream cost no memory.
func (t *table) unpin(s *slot) {
	if s.pins.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	void := !s.assigned.exists && s.idle()
	s.mu.Unlock()
	if void {
		t.drop(s)
	}
}

// drop removes a slot from the table if nobody needs it.
func (t *table) drop(s *slot) bool {
	sh := t.shard(s.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.pins.Load() > 0 || sh.slots[s.name] != s {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idle() || len(s.head.chunks) > 0 {
		return false
	}
	if s.renewedSince() {
		t.renewed(s) // what was read lately must not be forgotten
		return false
	}
	delete(sh.slots, s.name)
	t.dropped(s)
	return true
}

// names returns the names in memory that begin with prefix and are greater than
// after, in no order.
func (t *table) names(prefix, after string) (names []string) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.RLock()
		for name := range sh.slots {
			if name > after && strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		sh.mu.RUnlock()
	}
	return names
}

// each calls fn with every slot in memory, pinned.
func (t *table) each(fn func(*slot)) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.RLock()
		slots := make([]*slot, 0, len(sh.slots))
		for _, s := range sh.slots {
			s.pins.Add(1)
			slots = append(slots, s)
		}
		sh.mu.RUnlock()
		for _, s := range slots {
			fn(s)
			t.unpin(s)
		}
	}
}

// sweep removes slots that were not used since the last sweep.
func (t *table) sweep() (kept, dropped int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.RLock()
		var cold []*slot
		for _, s := range sh.slots {
			if s.pins.Load() == 0 && !s.used.Swap(false) {
				cold = append(cold, s)
			}
		}
		kept += len(sh.slots)
		sh.mu.RUnlock()
		for _, s := range cold {
			if t.drop(s) {
				dropped++
			}
		}
	}
	return kept - dropped, dropped
}

// forgive renews a stream's TTL by as much as an earlier process that crashed may
// have known and not stored. The lock is held.
func (s *slot) forgive() {
	slack := s.assigned.state.Expiry.RenewalSlack()
	if !s.assigned.exists || slack == 0 {
		return
	}
	if guess := s.journaled.Add(slack); guess.After(s.assigned.state.Accessed) {
		s.lenient = guess
		s.renew(guess)
	}
}

// renewedSince reports whether the index does not know the stream's time of last
// access. The lock is held.
func (s *slot) renewedSince() bool {
	return s.assigned.exists && s.assigned.state.Expiry.HasTTL && s.assigned.state.Accessed.After(s.stored)
}

// acquire pins the slot of a name and loads it. The caller unpins it.
func (s *Store) acquire(name string) (*slot, error) {
	sl := s.table.pin(name)
	sl.mu.Lock()
	err := s.load(sl)
	sl.mu.Unlock()
	if err != nil {
		s.table.unpin(sl)
		return nil, err
	}
	return sl, nil
}

// load fills a slot from the index. Its lock is held.
func (s *Store) load(sl *slot) error {
	if sl.loaded {
		return nil
	}
	rec, err := s.catalog.stream(sl.name)
	switch {
	case errors.Is(err, index.ErrNotFound):
		sl.loaded = true
		return nil
	case err != nil:
		return fmt.Errorf("look up %q: %w", sl.name, asStoreError(err))
	}
	v := version{exists: true, lsn: rec.lsn, state: rec.state}
	sl.assigned, sl.durable = v, v
	sl.journaled = v.state.Accessed
	if rec.sequence <= s.opened {
		sl.forgive()
	}
	sl.extents = rec.extents
	sl.head.reset(v.state.Tail)
	sl.indexed = v.state.ID
	sl.deadline = deadlineKey(sl.name, &rec.state)
	sl.stored = sl.assigned.state.Accessed
	sl.loaded = true
	s.schedule(sl)
	return nil
}

// producer returns what a stream knows of a producer; nil if it knows nothing.
// The slot's lock is held.
func (s *Store) producer(sl *slot, id string) (*producer, error) {
	if p := sl.producers[id]; p != nil {
		return p, nil
	}
	if sl.indexed == 0 || sl.indexed != sl.assigned.state.ID {
		return nil, nil
	}
	state, err := s.catalog.producer(sl.indexed, id)
	if errors.Is(err, index.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up producer of %q: %w", sl.name, asStoreError(err))
	}
	p := &producer{assigned: state, durable: state}
	sl.setProducer(id, p)
	return p, nil
}

func (s *slot) setProducer(id string, p *producer) {
	if s.producers == nil {
		s.producers = make(map[string]*producer)
	}
	s.producers[id] = p
}

// asStoreError makes an index's damage the engine's.
func asStoreError(err error) error {
	if errors.Is(err, index.ErrCorrupt) {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if errors.Is(err, index.ErrClosed) {
		return fmt.Errorf("%w: %w", store.ErrClosed, err)
	}
	return err
}
