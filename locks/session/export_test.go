package session

// Watch returns how many things the watch counts, and how many releases are under way: those
// that the book does not know, and those that it does.
func (m *Manager) Watch() (counted, unseen, known int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.book.watch.of {
		p := &m.book.watch.of[i]
		p.mu.Lock()
		counted += int(p.n.Load())
		unseen += len(p.unseen)
		p.mu.Unlock()
	}
	return counted, unseen, m.book.n.releases
}
