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
	sent := w.m.sent(req.ID)
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
	under := make([]*release, len(reqs))
	for i, req := range reqs {
		under[i] = w.m.depart(nil, req)
	}
	defer w.m.land(under)
	results := w.Engine.ReleaseAll(ctx, reqs)
	for i := range results {
		under[i].result = results[i]
	}
	return results
}

// Heartbeat passes the request on. The next renewal gives a lease of a session its
// own TTL again.
func (w watched) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	sent := w.m.sent(req.ID)
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
	sent := m.pass(ctx, by, ops)
	for i := range ops {
		switch op := &ops[i]; {
		case op.Kind == locks.OpHeartbeat:
			m.renewed(op.Heartbeat, sent, op.Lease, op.Err)
		case op.Kind == locks.OpAcquire && (op.Err == nil || errors.Is(op.Err, locks.ErrUnavailable)):
			m.reacquired(op.Acquire, sent)
		}
	}
}

// pass has operations done, and says when they were sent.
func (m *Manager) pass(ctx context.Context, by *Session, ops []locks.Op) (sent instant) {
	var room [16]*release
	under := room[:0]
	for i := range ops {
		switch op := &ops[i]; {
		case op.Kind == locks.OpRelease:
			under = append(under, m.depart(by, op.Release))
		case sent != 0:
		case op.Kind == locks.OpHeartbeat:
			sent = m.sent(op.Heartbeat.ID)
		case op.Kind == locks.OpAcquire && op.Acquire.Owner != "":
			sent = m.sent(op.Acquire.ID)
		}
	}
	defer func() { m.land(under) }()
	if len(ops) == 1 {
		locks.DoEach(ctx, m.engine, ops) // nothing is gained by Do
	} else {
		m.engine.Do(ctx, ops)
	}
	n := 0
	for i := range ops {
		if op := &ops[i]; op.Kind == locks.OpRelease {
			under[n].result = locks.ReleaseResult{Released: op.Released, Err: op.Err}
			n++
		}
	}
	return sent
}

// sent returns the instant at which a call about the lock is sent, for changedAll. If the
// book has nothing of the lock, it is 0, which is as good: what is kept when the call has
// returned was confirmed after it was sent, and only the later of the two counts.
func (m *Manager) sent(id locks.ID) instant {
	if !m.book.watches(id) {
		return 0
	}
	return m.now()
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
	if !m.book.watches(id) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	page := m.book.read(id)
	for h := range page.held.all() {
		if claim.Matches(h.token, h.owner) && m.shed(h) {
			m.changed(h, ttl, sent)
		}
	}
	for p := range page.partings.all() {
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
	under := [1]*release{m.depart(by, req)}
	defer func() { m.land(under[:]) }()
	released, err := m.engine.Release(ctx, req)
	under[0].result = locks.ReleaseResult{Released: released, Err: err}
	return released, err
}

// announce notes a release that is about to be sent, and what it is meant for. What is
// granted while it is under way is added by adopt.
func (m *Manager) announce(r *release) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.book.addRelease(r)
	for h := range r.page.held.all() {
		if m.shed(h) {
			r.aim(h)
		}
	}
	r.early, r.seen = len(r.meant), true
}

// returned takes in what releases came to.
func (m *Manager) returned(under []*release) (losses []loss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range under {
		r.back = true
		m.book.removeRelease(r)
		err := r.result.Err
		refused := errors.Is(err, locks.ErrBusy) || errors.Is(err, locks.ErrShutdown) // it was not even tried
		unknown := err != nil && !refused && !errors.Is(err, locks.ErrNotOwner)
		ended := err == nil && r.result.Released.Ended > 0
		if ended || unknown {
			m.doubt(r.req)
		}
		oldest := m.oldest(r)
		for n, h := range r.meant {
			early, oneOfMany := n < r.early, m.oneOfMany(r, h)
			switch {
			case !m.keeps(h):
			case ended && early && !oneOfMany:
				losses = append(losses, m.over(h, errForced)...) // to whom it is lost, that is why
			case (ended || unknown) && (!oneOfMany || h == oldest):
				m.suspect(r, h)
				m.hurry(h) // it may be over: the next renewal says so
			case ended || unknown || refused:
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
		if m.keeps(h) && !accused && (oldest == nil || h.token < oldest.token) {
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
	if len(h.stakes) > 0 {
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

// suspect notes that the release may have ended the lease. One that excuses nobody whom
// another does not is not remembered as well: while the engine is away, there may be any number.
func (m *Manager) suspect(r *release, h *held) {
	if slices.ContainsFunc(h.releases, func(other *release) bool {
		return other != r && other.back && (!other.req.Force || r.req.Force && other.by == r.by)
	}) {
		m.clear(r, h)
	}
}

// doubt marks the acquires under way that may bring a lease which the
// release has ended. m.mu is held.
func (m *Manager) doubt(req locks.ReleaseRequest) {
	for a := range m.book.read(req.ID).asks.all() {
		named := req.Claim.Token != 0
		switch {
		case req.Force, named && (a.token == 0 || a.token == req.Claim.Token), !named && req.Claim.Owner == a.req.Owner:
			a.suspect = true
		}
	}
}
