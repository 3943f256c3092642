package session

// This file takes in what an acquire has brought.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// A lease whose acquire took longer than this part of its TTL is confirmed before
// it is given out: it may be about to run out, or already have.
const slowPart = 10

// doubtful reports whether a lease that was granted has to be confirmed: it may
// be near its end; or a release that was under way at the same time may have ended it.
// One that nobody wants any more has not: a heartbeat would make it look as if somebody
// knew of it.
func (m *Manager) doubtful(ctx context.Context, a *ask, lease locks.Lease, sent instant) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.token = lease.Token
	slow := m.now()-sent > instant(a.req.TTL/slowPart)
	p := a.page.partings.get(lease.Token) // one that is still to be shed was not tried, and had better not be before it is granted again
	tried := p != nil && !p.untold && p.tries > 0
	if !slow && !tried && !a.suspect || ctx.Err() != nil {
		return false
	}
	a.renewed++
	a.suspect = false // what is set from now on is not settled by the heartbeat
	return true
}

// unconfirmed gives up a lease that is over, or that the engine does not answer for.
func (m *Manager) unconfirmed(a *ask, lease locks.Lease, sent instant, err error) error {
	if err == nil || errors.Is(err, locks.ErrNotOwner) {
		return errOver
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.giveUp(a, lease, sent)
	return fmt.Errorf("confirming the lease of %q: %w", a.req.ID, err)
}

// find finds the lease that an acquire has brought, if it is held or parting already. m.mu is
// held.
func (m *Manager) find(a *ask, token locks.Token) (*held, *parting) {
	h := a.page.held.get(token)
	if h != nil && !m.shed(h) {
		h = nil
	}
	return h, a.page.partings.get(token)
}

// keep keeps what was granted. If the very lease is being released for sessions
// that have ended, it waits for that, and the lease is over. It returns errSuspect, and has
// kept nothing yet, if the lease is to be confirmed first.
func (m *Manager) keep(ctx context.Context, a *ask, lease locks.Lease, sent instant) error {
	landed, err := m.granted(ctx, a, lease, sent)
	if landed == nil {
		return err
	}
	select {
	case <-landed:
		return errOver
	case <-ctx.Done():
		return fmt.Errorf("acquiring %q: %w: %w", a.req.ID, locks.ErrUnavailable, context.Cause(ctx))
	}
}

// granted takes a lease into the book, unless nobody wants it any more. leave
// cancels an acquire under the mutex that is held here: if the session ends before this
// line, that is seen here and the lease is given back; if after it, leave finds
// the lease among the session's. There is no moment between.
func (m *Manager) granted(ctx context.Context, a *ask, lease locks.Lease, sent instant) (landed <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.suspect && a.renewed < attempts && ctx.Err() == nil {
		return nil, errSuspect // a release has come back since doubtful looked
	}
	defer m.endLocked(a) // in the same step, so that the session's leases are counted right
	if ctx.Err() != nil {
		m.giveUp(a, lease, sent)
		return nil, fmt.Errorf("acquiring %q: %w: %w", a.req.ID, locks.ErrUnavailable, context.Cause(ctx))
	}
	if m.replaced(a, lease.Token) {
		return nil, errOver
	}
	h, p := m.find(a, lease.Token)
	switch {
	case h != nil:
		m.join(h, a, sent)
	case p != nil && p.inFlight && !p.untold:
		// The engine may take the release after the acquire: then it ends what was
		// granted here.
		p.until = max(p.until, m.latest(a.req.TTL)) // nobody else has what the acquire has prolonged, should it not
		return p.landed, nil
	default:
		// A release that spares what others know of can't have come before the acquire, or
		// the token would be another; and coming after it, it ends nothing.
		h = m.adopt(a, lease, sent)
	}
	if p != nil {
		a.suspect = a.suspect || !p.untold && p.tries > 0
		m.finish(p) // not sent, or in vain: the owner is back
	}
	if a.suspect {
		// The holder hears of the lease after the release: if it is over, it is
		// lost, like any other.
		m.hurry(h)
	}
	return nil, nil
}

// giveUp gives back what an acquire has brought, unless it is in the book already: then
// others have it, or it is on its way. The release spares a lease that others have learnt
// of: the acquire may have brought what its owner had before, by whatever way.
// The engine judges that by whether the lease was ever renewed or acquired again, so a lease
// that was confirmed here is released in any case. So is an anonymous one: none but this
// acquire was told of it. m.mu is held.
func (m *Manager) giveUp(a *ask, lease locks.Lease, sent instant) {
	h, p := m.find(a, lease.Token)
	switch {
	case h != nil:
		m.changed(h, a.req.TTL, sent)
	case p != nil:
		p.until = max(p.until, m.latest(a.req.TTL))
	default:
		b := newBatch()
		m.part(b, a.page, &parting{
			name:   name{a.req.ID, lease.Token},
			owner:  lease.Owner,
			untold: lease.Owner != "" && a.renewed == 0,
			until:  m.latest(a.req.TTL),
		})
		b.less()
	}
}

// replaced reports whether the owner has been granted a younger lease of the lock: it
// has one at a time, so what was granted before is over.
func (m *Manager) replaced(a *ask, token locks.Token) bool {
	if a.req.Owner == "" {
		return false
	}
	for h := range a.page.held.all() {
		if h.owner == a.req.Owner && h.token > token && m.shed(h) {
			return true
		}
	}
	return false
}

// adopt makes a lease held that was not. m.mu is held.
func (m *Manager) adopt(a *ask, lease locks.Lease, sent instant) *held {
	h := &held{
		name:  name{a.req.ID, lease.Token},
		owner: lease.Owner,
		mode:  lease.Mode,
		ttl:   a.req.TTL,
		due:   never,
		until: m.latest(a.req.TTL),
	}
	h.stakes = h.first[:0]
	m.replace(a.session, h, a.page)
	m.book.add(h, a.page)
	m.attach(h, a.session)
	for r := range h.page.releases.all() {
		r.aim(h)
	}
	m.confirm(h, sent)
	return h
}

// replace drops what the session had of the same lock and owner: that is over, and its
// holder learns so by the new token. Other sessions that had it learn by the next
// renewal. m.mu is held.
func (m *Manager) replace(s *Session, by *held, pg *page) {
	if by.owner == "" {
		return
	}
	for h := range pg.held.all() {
		if h.owner != by.owner || !m.shed(h) {
			continue
		}
		if m.detach(h, s); len(h.stakes) > 0 {
			m.hurry(h)
		} else {
			m.book.remove(h)
		}
	}
}

// join gives a session a part in a lease that is held, by itself or by others. m.mu is
// held.
func (m *Manager) join(h *held, a *ask, sent instant) {
	m.attach(h, a.session)
	if a.req.TTL == h.ttl {
		m.confirm(h, sent)
		return
	}
	m.changed(h, a.req.TTL, sent)
	if now := m.now(); a.req.TTL > h.ttl {
		// A renewal that sets the former TTL may be under way, and be taken last.
		h.former, h.formerly = h.lasts(now), after(now, m.opts.Timeout)
	}
	h.ttl = a.req.TTL
	m.hurry(h)
}

// lasts returns for how long a lease lasts at least that is renewed at the instant
// given.
func (h *held) lasts(sent instant) time.Duration {
	if sent < h.formerly {
		return min(h.former, h.ttl)
	}
	return h.ttl
}
