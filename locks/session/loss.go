package session

// This file judges which leases are lost, and tells their sessions.

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// A lease counts as lost a little before it can run out, so that its holder
	// hears of it in time: a tenth of its TTL, and not more than this; and somewhat more
	// for each lease that is kept, as all may be lost at the same time.
	maxMargin = 250 * time.Millisecond
	perLease  = 50 * time.Microsecond

	// maxTellers is how many sessions are told at the same time.
	maxTellers = 8
)

var (
	errOverElsewhere = errors.New("it was ended by others")
	errForced        = errors.New("it was ended by force")
	errLapsed        = errors.New("it could not be renewed in time")
)

// loss is a session that was lost, and has to be told.
type loss struct {
	session *Session
	reason  error
}

// lapse returns when a lease counts as lost whose expiry was set by a call that
// was sent at the instant given: the engine took the call later than that, so
// the lease runs out later than that and its TTL. m.mu is held.
func (m *Manager) lapse(sent instant, ttl time.Duration) instant {
	return after(sent, ttl-min(ttl/10, maxMargin+time.Duration(m.book.n.held)*perLease))
}

// lapsed takes in that a lease could not be renewed in time. It may still live, so it stays
// with its sessions until they are told, and is then released, and counted, with what else
// they have. m.mu is held.
func (m *Manager) lapsed(h *held) (losses []loss) {
	m.book.schedule(&h.slot, never)
	for _, of := range h.stakes {
		losses = m.lose(losses, of.stay.session, h, errLapsed)
	}
	return losses
}

// over takes in that a lease has ended. It is lost to the sessions that have it, but
// to those for which a release has ended it on purpose. While such a release is under
// way, it is not known whether it was that; its outcome will say, and then the lease is
// asked about again. m.mu is held.
func (m *Manager) over(h *held, why error) (losses []loss) {
	for _, of := range slices.Clone(h.stakes) {
		s := of.stay.session
		excused, waits := false, false
		for _, r := range h.releases {
			excused = excused || r.back && r.excuses(s)
			waits = waits || !r.back && r.excuses(s)
		}
		switch {
		case excused:
			m.detach(h, s)
		case !waits:
			losses = m.lose(losses, s, h, why)
			m.countLost(h)
			m.detach(h, s)
		}
	}
	if len(h.stakes) > 0 {
		h.due = min(h.due, retry(m.now(), h.ttl))
		m.plan(h)
		return losses
	}
	m.book.remove(h)
	m.settle()
	return losses
}

// lose ends a session, unless it has ended. It keeps what it has until it is told: others
// must not be granted that while its holder believes to have it. m.mu is held.
func (m *Manager) lose(losses []loss, s *Session, h *held, why error) []loss {
	if s.ended {
		return losses
	}
	s.ended, s.stay.lost = true, true
	m.lost.sessions++
	for a := range s.asks {
		a.cancel(errEnded)
	}
	return append(losses, loss{s, fmt.Errorf("lease %d of %q, one of %d of its session, was lost: %w", h.token, h.id, len(s.stay.leases), why)})
}

// countLost counts a lease as lost, once: it may be found over for one session after
// another, and be released for the last. m.mu is held.
func (m *Manager) countLost(h *held) {
	if !h.lost {
		h.lost = true
		m.lost.leases++
	}
}

// tell calls the lost functions, outside the mutex, and then releases what the sessions
// have.
func (m *Manager) tell(losses []loss) {
	if len(losses) == 0 {
		return
	}
	var tellers sync.WaitGroup
	for some := range slices.Chunk(losses, (len(losses)+maxTellers-1)/maxTellers) {
		tellers.Go(func() {
			for _, l := range some {
				if l.session.gone != nil {
					l.session.gone(l.reason)
				}
			}
		})
	}
	tellers.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	stays := make([]*stay, len(losses))
	for i, l := range losses {
		stays[i] = m.leave(l.session, true)
	}
	m.clearOut(stays)
}
