package session

// This file takes note of what others do to leases that sessions have.

import (
	"context"
	"errors"
	"slices"
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

// ReleaseAll passes the requests on.
func (w watched) ReleaseAll(ctx context.Context, reqs []locks.ReleaseRequest) []locks.ReleaseResult {
	return w.m.releaseAll(nil, reqs, func() []locks.ReleaseResult { return w.Engine.ReleaseAll(ctx, reqs) })
}

// Heartbeat passes the request on. The next renewal gives a lease of a session its
// own TTL again.
func (w watched) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	sent := w.m.now()
	lease, err := w.Engine.Heartbeat(ctx, req)
	w.m.renewed(req, sent, lease, err)
	return lease, err
}

// Renew passes the requests on.
func (w watched) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	sent := w.m.now()
	results := w.Engine.Renew(ctx, reqs)
	for i, req := range reqs {
		w.m.renewed(req, sent, results[i].Lease, results[i].Err)
	}
	return results
}

// Do passes the operations on.
func (w watched) Do(ctx context.Context, ops []locks.Op) { w.m.do(ctx, nil, ops) }

// do passes operations on that a session asks for, or, if by is nil, somebody else.
func (m *Manager) do(ctx context.Context, by *Session, ops []locks.Op) {
	var reqs []locks.ReleaseRequest
	for i := range ops {
		if ops[i].Kind == locks.OpRelease {
			reqs = append(reqs, ops[i].Release)
		}
	}
	sent := m.now()
	if len(reqs) == 0 {
		m.engine.Do(ctx, ops)
	} else {
		m.releaseAll(by, reqs, func() []locks.ReleaseResult {
			m.engine.Do(ctx, ops)
			results := make([]locks.ReleaseResult, 0, len(reqs))
			for i := range ops {
				if ops[i].Kind == locks.OpRelease {
					results = append(results, locks.ReleaseResult{Released: ops[i].Released, Err: ops[i].Err})
				}
			}
			return results
		})
	}
	for i := range ops {
		switch op := &ops[i]; {
		case op.Kind == locks.OpHeartbeat:
			m.renewed(op.Heartbeat, sent, op.Lease, op.Err)
		case op.Kind == locks.OpAcquire && (op.Err == nil || errors.Is(op.Err, locks.ErrUnavailable)):
			m.reacquired(op.Acquire, sent)
		}
	}
}

// renewed notes what somebody's heartbeat has set, or may have.
func (m *Manager) renewed(req locks.HeartbeatRequest, sent instant, lease locks.Lease, err error) {
	switch {
	case err == nil && lease.Token != 0:
		m.changedAll(req.ID, locks.Claim{Token: lease.Token}, lease.TTL, sent)
	case errors.Is(err, locks.ErrUnavailable) && req.TTL != 0:
		m.changedAll(req.ID, req.Claim, req.TTL, sent)
	}
}

// reacquired notes that an owner may have acquired again what a session has.
func (m *Manager) reacquired(req locks.AcquireRequest, sent instant) {
	if req.Owner == "" {
		return
	}
	if req.Wait != 0 {
		sent = m.now() // what is held is had at once; a wait was for another lease
	}
	m.changedAll(req.ID, locks.Claim{Owner: req.Owner}, req.TTL, sent)
}

// changedAll notes that the expiry of claimed leases may have been set by a call
// that was sent at the instant given.
func (m *Manager) changedAll(id locks.ID, claim locks.Claim, ttl time.Duration, sent instant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.book.held.of[id] {
		if claim.Matches(h.token, h.owner) {
			m.changed(h, ttl, sent)
		}
	}
	for _, p := range m.book.partings.of[id] {
		if claim.Matches(p.token, p.owner) {
			p.until = max(p.until, m.latest(ttl))
		}
	}
}

// changed sees to it that a lease which may now last for a shorter time is
// renewed at once, and counts as lost in time if that fails; and that one which may now
// last longer is not taken for over too soon. m.mu is held.
func (m *Manager) changed(h *held, ttl time.Duration, sent instant) {
	h.until = max(h.until, m.latest(ttl))
	if ttl != locks.NoExpiry && ttl < h.ttl {
		h.deadline = min(h.deadline, m.lapse(max(sent, h.confirmed), ttl))
		m.hurry(h)
	}
}

// release passes a release on that a session asks for, or, if by is nil, somebody
// else.
func (m *Manager) release(ctx context.Context, by *Session, req locks.ReleaseRequest) (locks.Released, error) {
	r := m.releaseAll(by, []locks.ReleaseRequest{req}, func() []locks.ReleaseResult {
		released, err := m.engine.Release(ctx, req)
		return []locks.ReleaseResult{{Released: released, Err: err}}
	})[0]
	return r.Released, r.Err
}

// releaseAll has requests passed on. The leases that they may end are marked before they
// are sent: a renewal may find them over before the release has returned.
func (m *Manager) releaseAll(by *Session, reqs []locks.ReleaseRequest, pass func() []locks.ReleaseResult) (results []locks.ReleaseResult) {
	under := m.announce(by, reqs)
	defer func() { // also if the engine panics: then the outcome is unknown
		if results == nil {
			results = slices.Repeat([]locks.ReleaseResult{{Err: locks.ErrUnavailable}}, len(reqs))
		}
		m.tell(m.returned(under, results))
	}()
	return pass()
}

// announce notes releases that are about to be sent, and what they are meant for. What is
// granted while they are under way is added by adopt.
func (m *Manager) announce(by *Session, reqs []locks.ReleaseRequest) []*release {
	m.mu.Lock()
	defer m.mu.Unlock()
	under := make([]*release, len(reqs))
	for i, req := range reqs {
		r := &release{req: req, by: by}
		for _, h := range m.book.held.of[req.ID] {
			r.aim(h)
		}
		r.early = len(r.meant)
		m.book.releases.put(req.ID, r, r)
		under[i] = r
	}
	return under
}

// returned takes in what releases came to.
func (m *Manager) returned(under []*release, results []locks.ReleaseResult) (losses []loss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range under {
		r.back = true
		m.book.releases.drop(r.req.ID, r)
		err := results[i].Err
		unknown := err != nil && !errors.Is(err, locks.ErrNotOwner)
		ended := err == nil && results[i].Released.Ended > 0
		if ended || unknown {
			m.doubt(r.req)
		}
		oldest := m.oldest(r)
		for n, h := range r.meant {
			early, oneOfMany := n < r.early, m.oneOfMany(r, h)
			switch {
			case !m.book.keeps(h):
			case ended && early && !oneOfMany:
				losses = append(losses, m.over(h, errForced)...) // to whom it is lost, that is why
			case (ended || unknown) && (!oneOfMany || h == oldest):
				m.hurry(h) // it may be over: the next renewal says so
			case ended || unknown:
				m.clear(r, h)
			default:
				m.spare(r, h, early)
			}
		}
	}
	return losses
}

// oneOfMany reports whether the release may have ended another lease than this one, though it
// is meant for both: of anonymous leases that share a lock, a bare release ends the
// oldest.
func (m *Manager) oneOfMany(r *release, h *held) bool {
	return r.req.Claim.Bare() && !r.req.Force && h.mode == locks.Shared
}

// oldest returns the lease that one of many releases has ended: the oldest that no release
// has come back for; unless there is an older one that no session has. Nil if there is
// none.
func (m *Manager) oldest(r *release) (oldest *held) {
	if !r.req.Claim.Bare() || r.req.Force {
		return nil
	}
	for _, h := range r.meant {
		accused := slices.ContainsFunc(h.releases, func(other *release) bool { return other != r && other.back })
		if m.book.keeps(h) && !accused && (oldest == nil || h.token < oldest.token) {
			oldest = h
		}
	}
	return oldest
}

// spare takes in that a release has ended nothing. The session that asked for it has been
// told so: if it had the lease before, it knows now that it has it no more.
func (m *Manager) spare(r *release, h *held, early bool) {
	m.clear(r, h)
	if early && r.by != nil {
		m.detach(h, r.by)
	}
	if len(h.sessions) > 0 {
		m.hurry(h)
		return
	}
	m.book.remove(h)
	m.settle()
}

// clear notes that the release has not ended the lease.
func (m *Manager) clear(r *release, h *held) {
	h.releases = slices.DeleteFunc(h.releases, func(other *release) bool { return other == r })
}

// doubt marks the acquires under way that may bring a lease which the
// release has ended. m.mu is held.
func (m *Manager) doubt(req locks.ReleaseRequest) {
	for a := range m.book.asks.of[req.ID] {
		if req.Force || req.Claim.Token != 0 || req.Claim.Owner == a.req.Owner {
			a.suspect = true
		}
	}
}
