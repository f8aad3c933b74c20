package memory

// Watch implements store.Store. For a missing stream it keeps nothing, and the
// channel is closed when the store is.
func (m *Store) Watch(name string) (changed <-chan struct{}, stop func()) {
	s, err := m.enter(name, m.now())
	if err != nil {
		return m.done, func() {}
	}
	defer s.mu.Unlock()
	if m.closed.Load() {
		return m.done, func() {} // Close may have passed by
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	s.watchers++
	return s.changed, func() { m.unwatch(s) }
}

func (m *Store) unwatch(s *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Renew(m.now())
	s.watchers--
	if s.watchers == 0 {
		s.changed = nil
	}
}
