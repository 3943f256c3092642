package session

import "github.com/goodjobtech/candado/locks"

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

// Suspected returns how many releases are remembered that may have ended leases of the lock.
func (m *Manager) Suspected(id locks.ID) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for h := range m.book.read(id).held.all() {
		n += len(h.releases)
	}
	return n
}

// Leave begins to dismiss a session, and returns before any of its leases has been taken
// from it: as in the middle of the dismissal of a session that has many. rest does what
// is left, and released is closed when all is released.
func (m *Manager) Leave(s *Session, end bool) (rest func(), released <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.leave(s, end)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.clearOut([]*stay{st})
	}, st.batch.done
}

// Most is how many leases a dismissal takes on before others get the mutex.
const Most = most
