package session

// This file keeps leases, and judges which are lost.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	// A lease is renewed when this part of its TTL has passed.
	renewPart = 3

	// chunk is the most leases that one call renews.
	chunk = 1000

	// A lease counts as lost a little before it can run out, so that its holder
	// hears of it in time: a tenth of its TTL, and not more than this.
	maxMargin = 250 * time.Millisecond

	// A renewal that failed is tried again after a tenth of the TTL, within these
	// bounds.
	minRetry = time.Millisecond
	maxRetry = time.Second
)

var (
	errOverElsewhere = errors.New("it was ended by others")
	errForced        = errors.New("it was ended by force")
	errLapsed        = errors.New("it could not be renewed in time")
)

// lapse returns when a lease counts as lost whose expiry was set by a call that
// was sent at the instant given: the engine took the call later than that, so
// the lease runs out later than that and its TTL.
func lapse(sent instant, ttl time.Duration) instant {
	return after(sent, ttl-min(max(ttl, 0)/10, maxMargin))
}

// next returns when a lease is renewed that was renewed at the instant given. Leases that
// are due near each other shall go in one call: so the time is put back to a
// grid, of 1 ms times a power of two and at most an eighth of the interval. Grids of
// different TTLs have their lines in common.
func next(sent instant, ttl time.Duration) instant {
	if ttl < 0 {
		return never
	}
	interval := instant(ttl / renewPart)
	grid := instant(1)
	for line := instant(time.Millisecond); 8*line <= interval; line *= 2 {
		grid = line
	}
	at := sent + interval
	return at - at%grid
}

func retry(now instant, ttl time.Duration) instant {
	return after(now, min(max(ttl/10, minRetry), maxRetry))
}

// plan puts a held entry on the agenda: for its renewal, or the end of its time. m.mu
// is held.
func (m *Manager) plan(e *entry) { m.book.schedule(e, min(e.due, e.deadline)) }

// tick does what is due. It judges by time alone and waits for no call: one that
// hangs holds up no other lease, and no loss.
func (m *Manager) tick() {
	m.mu.Lock()
	now := m.now()
	var due []*entry
	var losses []loss
	for len(m.book.agenda) > 0 && m.book.agenda[0].at <= now {
		e := m.book.agenda[0]
		switch {
		case e.state == releasing:
			m.book.schedule(e, never)
			m.send(e)
		case e.deadline <= now:
			losses = append(losses, m.lose(e, errLapsed))
		default:
			// A call that hangs is not waited for: if it has not come back when the next is
			// due, there will be two.
			e.sent, e.due = now, next(now, e.ttl)
			m.plan(e)
			due = append(due, e)
		}
	}
	m.wake = never
	m.arm()
	m.calls += (len(due) + chunk - 1) / chunk
	m.mu.Unlock()
	for some := range slices.Chunk(due, chunk) {
		go m.renew(now, some)
	}
	tell(losses)
}

// renew renews leases in one call that counts as sent at the instant given.
func (m *Manager) renew(sent instant, some []*entry) {
	reqs := make([]locks.HeartbeatRequest, len(some))
	for i, e := range some {
		reqs[i] = locks.HeartbeatRequest{ID: e.id, Claim: locks.Claim{Token: e.token}}
	}
	ctx, cancel := context.WithTimeout(m.keeping, m.timeout)
	results := m.engine.Renew(ctx, reqs)
	cancel()

	m.mu.Lock()
	now := m.now()
	var losses []loss
	for i, e := range some {
		if e.state != held {
			continue
		}
		if lost, over := m.judge(e, sent, now, results[i]); over {
			losses = append(losses, lost)
		}
	}
	m.arm()
	m.calls--
	m.settle()
	m.mu.Unlock()
	tell(losses)
}

// judge takes in what a renewal came to. A lease that is over stays over, so that
// verdict holds in whatever order renewals come back; a success counts only if
// it was sent after whatever else is known of the lease. m.mu is held.
func (m *Manager) judge(e *entry, sent, now instant, r locks.Renewed) (lost loss, over bool) {
	switch {
	case r.Err == nil && r.Lease.Token == e.token:
		if sent >= e.since && sent >= e.confirmed {
			e.confirmed, e.ttl = sent, r.Lease.TTL
			e.deadline, e.due = lapse(sent, e.ttl), min(e.due, next(sent, e.ttl))
			e.suspect = e.suspect && e.releases > 0
			if e.ttl == locks.NoExpiry {
				e.due = never
			}
		}
	case r.Err != nil && !errors.Is(r.Err, locks.ErrNotOwner):
		e.due = min(e.due, retry(now, e.ttl))
	case e.releases > 0:
		e.due = min(e.due, retry(now, e.ttl)) // the release that is under way says whether it was meant
	case e.suspect:
		m.remove(e)
		return loss{}, false
	default:
		return m.lose(e, errOverElsewhere), true
	}
	m.plan(e)
	return loss{}, false
}

// loss is a session that was lost, and has to be told.
type loss struct {
	session *Session
	reason  error
}

// tell calls the lost functions, outside the mutex.
func tell(losses []loss) {
	for _, l := range losses {
		if l.session.gone != nil {
			l.session.gone(l.reason)
		}
	}
}

// lose ends the session of a held entry. The lease itself is released with the
// others: if it could not be renewed, it may still live. m.mu is held.
func (m *Manager) lose(e *entry, why error) loss {
	s := e.session
	m.lost++
	l := loss{s, fmt.Errorf("lease %d of %q, one of %d of its session, was lost: %w", e.token, e.id, len(s.entries), why)}
	if !errors.Is(why, errLapsed) {
		m.remove(e)
	}
	m.dismissLocked(s, true)
	return l
}
