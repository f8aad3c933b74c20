package memory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/caddy-durable-streams/caddy-durable-streams/protocol"
	"github.com/caddy-durable-streams/caddy-durable-streams/store"
)

// listSlack is how many streams more than asked for are gathered before the
// greatest names are dropped.
const listSlack = 1024

// List implements store.Store. It looks at every name.
func (m *Store) List(_ context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if m.closed.Load() {
		return nil, store.ErrClosed
	}
	if limit <= 0 {
		return nil, nil
	}
	now := m.now()
	l := lister{limit: limit}
	for i := range m.shards {
		m.shards[i].list(&l, prefix, after, now)
	}
	l.cut()
	return l.infos, nil
}

func (sh *shard) list(l *lister, prefix, after string, now time.Time) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for name, s := range sh.streams {
		if name <= after || !strings.HasPrefix(name, prefix) || l.full && name >= l.greatest {
			continue
		}
		if info, ok := s.listed(now); ok {
			l.add(info)
		}
	}
}

// listed describes the stream, if clients may see it.
func (s *stream) listed(now time.Time) (info store.Info, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed || s.over(now) || protocol.Available(&s.state, now) != nil {
		return info, false
	}
	return store.NewInfo(s.name, &s.state), true
}

// lister keeps the streams with the least names out of any number of them.
type lister struct {
	limit int
	infos []store.Info
	// greatest is the greatest name that can still be among the results, if full.
	greatest string
	full     bool
}

func (l *lister) add(info store.Info) {
	l.infos = append(l.infos, info)
	if len(l.infos)-listSlack >= l.limit {
		l.cut()
	}
}

func (l *lister) cut() {
	slices.SortFunc(l.infos, func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) })
	if len(l.infos) < l.limit {
		return
	}
	clear(l.infos[l.limit:])
	l.infos = l.infos[:l.limit]
	l.greatest, l.full = l.infos[l.limit-1].Name, true
}
