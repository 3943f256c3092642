package session

// This file takes note of what others do to leases that sessions have.

import (
	"context"
	"errors"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Engine returns the manager's engine for requests that are not of a session.
// Through it, the manager learns of releases, so that what was released on
// purpose does not count as lost (a release by force does), and of requests that
// change how long a lease lasts. Closing it closes the engine.
func (m *Manager) Engine() locks.Engine { return watched{m.engine, m} }

type watched struct {
	locks.Engine
	m *Manager
}

// Acquire passes the request on. A lease of a session that its owner acquires
// again stays the session's.
func (w watched) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	sent := w.m.now()
	lease, err := w.Engine.Acquire(ctx, req)
	if err == nil || errors.Is(err, locks.ErrUnavailable) {
		w.m.reacquired(req, sent)
	}
	return lease, err
}

// Release passes the request on.
func (w watched) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	return w.m.release(ctx, nil, req)
}

// Heartbeat passes the request on. The next renewal gives a lease of a session its
// own TTL again.
func (w watched) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	sent := w.m.now()
	lease, err := w.Engine.Heartbeat(ctx, req)
	if req.TTL != 0 && (err == nil || errors.Is(err, locks.ErrUnavailable)) {
		w.m.changed(req.ID, req.Claim, req.TTL, sent)
	}
	return lease, err
}

// reacquired notes that an owner may have acquired again what a session has.
func (m *Manager) reacquired(req locks.AcquireRequest, sent instant) {
	if req.Owner == "" {
		return
	}
	if req.Wait != 0 {
		sent = m.now() // what is held is had at once; a wait was for another lease
	}
	m.changed(req.ID, locks.Claim{Owner: req.Owner}, req.TTL, sent)
}

// changed notes that the expiry of claimed leases may have been set by a call
// that was sent at the instant given.
func (m *Manager) changed(id locks.ID, claim locks.Claim, ttl time.Duration, sent instant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.book.byID[id] {
		if claim.Matches(e.token, e.owner) {
			m.shorten(e, ttl, sent)
		}
	}
	m.arm()
}

// shorten sees to it that a held lease which may now last for a shorter time is
// renewed at once, and counts as lost in time if that fails. m.mu is held.
func (m *Manager) shorten(e *entry, ttl time.Duration, sent instant) {
	longer := ttl == locks.NoExpiry || e.ttl != locks.NoExpiry && ttl >= e.ttl
	if e.state != held || longer {
		return
	}
	e.deadline = min(e.deadline, lapse(sent, ttl))
	m.hurry(e)
}

// hurry has a held entry renewed at once, by a renewal that begins now. m.mu is held.
func (m *Manager) hurry(e *entry) {
	e.since = m.now()
	e.due = e.since
	m.plan(e)
	m.arm()
}

// release passes a release on that a session asks for, or, if by is nil, somebody
// else. The leases it may end are marked before it is sent: a renewal may find
// them over before the release has returned.
func (m *Manager) release(ctx context.Context, by *Session, req locks.ReleaseRequest) (locks.Released, error) {
	meant, hit := m.announce(by, req)
	released, err := m.engine.Release(ctx, req)
	tell(m.released(by, req, meant, hit, released, err))
	return released, err
}

// announce marks the held leases that the request is meant for, and returns
// them, and those of others that it will end by force.
func (m *Manager) announce(by *Session, req locks.ReleaseRequest) (meant, hit []*entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.book.byID[req.ID] {
		switch {
		case e.state != held:
		case req.Force && e.session != by:
			hit = append(hit, e)
		case req.Force || req.Claim.Matches(e.token, e.owner):
			e.releases++
			meant = append(meant, e)
		}
	}
	return meant, hit
}

// released takes in what a release came to.
func (m *Manager) released(by *Session, req locks.ReleaseRequest, meant, hit []*entry, r locks.Released, err error) (losses []loss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	unknown := err != nil && !errors.Is(err, locks.ErrNotOwner)
	ended := err == nil && r.Ended > 0
	var oldest *entry
	for _, e := range meant {
		e.releases--
		switch {
		case e.state != held:
		case (ended || unknown) && req.Claim.Bare() && !req.Force && e.mode == locks.Shared:
			if !e.suspect && (oldest == nil || e.token < oldest.token) {
				oldest = e
			}
		case ended || !unknown && e.session == by:
			m.remove(e) // ended, or it was over before, and its holder has been told so
		default:
			e.suspect = e.suspect || unknown
			m.hurry(e)
		}
	}
	if oldest != nil {
		// Of anonymous leases that share a lock, the bare release ends the oldest: this
		// one, unless there is one that no session has.
		oldest.suspect = true
		m.hurry(oldest)
	}
	for _, e := range hit {
		switch {
		case e.state != held:
		case unknown:
			m.hurry(e)
		default:
			losses = append(losses, m.lose(e, errForced))
		}
	}
	if ended || unknown {
		m.doubtAsked(req)
	}
	return losses
}

// doubtAsked marks the acquires under way that may bring a lease which the
// release has ended. m.mu is held.
func (m *Manager) doubtAsked(req locks.ReleaseRequest) {
	for _, e := range m.book.byID[req.ID] {
		if e.state == asked && (req.Force || req.Claim.Matches(e.token, e.owner)) {
			e.suspect = true
		}
	}
}
