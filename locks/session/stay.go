package session

// This file is who has a lease: how sessions come to it, and how they leave.

import (
	"runtime"
	"slices"
)

// stay is what a session has had since it began, or was last reset. It is left as a whole
// and at once, whatever it has; but to take its leases apart takes a while if there are many,
// and others get the mutex meanwhile. They can't tell: who comes upon a lease first takes
// it from the stays that were left (see shed). So it does not matter in which order that is
// done, nor by whom, and no step meets a lease of which only the stays of gone holders are
// left.
type stay struct {
	session *Session
	lost    bool // the session was lost: what it has is released, and its holder does not want that
	leases  []*held
	left    uint64 // the place among all that were left, in that order; 0: it was not
	batch   *batch // what it had parts to, once it was left
}

// stake is a session's part in a lease.
type stake struct {
	stay  *stay
	place int // in stay.leases
}

// most is how many leases a step takes on before others get the mutex.
const most = 512

func (st *stay) has(h *held) bool { return h.stake(st) >= 0 }

// stake returns which of the stakes is the stay's, -1 if none.
func (h *held) stake(st *stay) int {
	return slices.IndexFunc(h.stakes, func(of stake) bool { return of.stay == st })
}

// attach gives a session a part in a lease.
func (m *Manager) attach(h *held, s *Session) {
	if !s.stay.has(h) {
		h.stakes = append(h.stakes, stake{s.stay, len(s.stay.leases)})
		s.stay.leases = append(s.stay.leases, h)
	}
}

// detach takes a session's part in a lease from it, if it has one.
func (m *Manager) detach(h *held, s *Session) {
	if i := h.stake(s.stay); i >= 0 {
		h.withdraw(i)
	}
}

// withdraw ends a stake.
func (h *held) withdraw(i int) {
	st, place := h.stakes[i].stay, h.stakes[i].place
	h.stakes = slices.Delete(h.stakes, i, i+1)
	end := len(st.leases) - 1
	if moved := st.leases[end]; moved != h {
		st.leases[place] = moved
		moved.stakes[moved.stake(st)].place = place
	}
	st.leases[end] = nil
	st.leases = st.leases[:end]
}

// dismiss takes all leases from a session and releases those that no other has.
func (m *Manager) dismiss(s *Session, end bool) *batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.leave(s, end)
	m.clearOut([]*stay{st})
	return st.batch
}

// leave ends a session's stay. It makes sure that what is asked for is given back when it
// comes (see granted). From here on what was held counts as parting: a renewal
// looks into the book under the same mutex, and finds there that the stay was left. One
// that is under way can't bring a lease back, for heartbeats create nothing. What
// the session acquires from here on belongs to its next stay. clearOut must follow. m.mu is
// held.
func (m *Manager) leave(s *Session, end bool) *stay {
	s.ended = s.ended || end
	for a := range s.asks {
		a.cancel(errEnded)
	}
	st := s.stay
	m.leaves++
	st.left, st.batch = m.leaves, newBatch()
	s.stay = &stay{session: s}
	return st
}

// clearOut takes the leases of stays that were left from them. It lets go of m.mu, which
// is held, now and then: so those that it has not come to are for others to shed.
func (m *Manager) clearOut(stays []*stay) {
	n := 0
	for _, st := range stays {
		for len(st.leases) > 0 {
			if n++; n%most == 0 {
				m.breathe() // and what it has is to be looked at anew
				continue
			}
			m.shed(st.leases[len(st.leases)-1])
		}
		st.batch.less()
	}
}

// breathe lets others have the mutex. Without the call to the scheduler, the one who lets
// go of it would mostly be the next to get it.
func (m *Manager) breathe() {
	m.mu.Unlock()
	runtime.Gosched()
	m.mu.Lock()
}

// keeps reports whether a lease still counts: it is in the book, and a session has it. m.mu
// is held.
func (m *Manager) keeps(h *held) bool { return h.page != nil && m.shed(h) }

// shed takes a lease that is in the book from the stays that were left, and reports whether
// a session still has it. If none has, it parts, as it would have when the last of these
// stays was left: then whose holder waits for its release is the session of that one.
// Every step that comes upon a held lease begins with this. m.mu is held.
func (m *Manager) shed(h *held) bool {
	var last *stay
	for i := 0; i < len(h.stakes); {
		st := h.stakes[i].stay
		if st.left == 0 {
			i++
			continue
		}
		if h.withdraw(i); last == nil || st.left > last.left {
			last = st
		}
	}
	if len(h.stakes) > 0 {
		return true
	}
	if last.lost {
		m.countLost(h)
	}
	p := &parting{name: h.name, owner: h.owner, until: h.until}
	m.book.move(h, p)
	m.enqueue(last.batch, p)
	return false
}
