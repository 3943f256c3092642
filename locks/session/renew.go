package session

// This file keeps leases.

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	// A lease is renewed when this part of its TTL has passed, and after maxInterval
	// at the latest: until then its holder does not hear that it was ended elsewhere.
	renewPart   = 3
	maxInterval = 10 * time.Second

	// chunk is the most leases that one call renews or releases. It is what the engine
	// on Redis takes in one round trip: what one such call came to is known when it is,
	// and not when all are.
	chunk = 256

	// maxRenewers is how many calls renew at the same time what came due at the same
	// time.
	maxRenewers = 8

	// A renewal that failed is tried again after a tenth of the TTL, within these
	// bounds.
	minRetry = time.Millisecond
	maxRetry = time.Second
)

// next returns when a lease is renewed that was renewed at the instant given. Leases that
// are due near each other shall go in one call: so the time is put back to a
// grid, of 1 ms times a power of two and at most an eighth of the interval. Grids of
// different TTLs have their lines in common.
func next(sent instant, ttl time.Duration) instant {
	interval := instant(min(ttl/renewPart, maxInterval))
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

// latest returns when a lease has surely run out whose TTL is set by a call that is under
// way or has just ended.
func (m *Manager) latest(ttl time.Duration) instant {
	if ttl == locks.NoExpiry {
		return never
	}
	return after(after(m.now(), m.opts.Timeout), ttl)
}

// hurry has a lease renewed at once, by a renewal that begins after this instant.
// m.mu is held.
func (m *Manager) hurry(h *held) {
	h.since = m.now() + 1
	h.due = h.since
	m.plan(h)
}

// sending plans the renewal after the one that is about to be sent. A call that hangs is
// not waited for: if it has not come back when the next is due, there will be two.
func (m *Manager) sending(h *held, now instant) {
	h.due = next(now, h.lasts(now))
	m.book.schedule(&h.slot, min(h.due, h.deadline))
}

// renewAll renews leases by calls of up to chunk, some at the same time. m.mu is held.
func (m *Manager) renewAll(due []*held) {
	n := (len(due) + chunk - 1) / chunk
	todo := make(chan []*held, n)
	for some := range slices.Chunk(due, chunk) {
		todo <- some
	}
	close(todo)
	n = min(n, maxRenewers)
	m.calls += n
	for range n {
		go func() {
			for some := range todo {
				m.renew(some)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.calls--
			m.settle()
		}()
	}
}

// renew renews leases in one call. Each renewal sets the lease's own TTL, whatever
// others have set.
func (m *Manager) renew(some []*held) {
	m.mu.Lock()
	some = slices.DeleteFunc(some, func(h *held) bool { return !m.keeps(h) })
	reqs := make([]locks.HeartbeatRequest, len(some))
	sent := m.now()
	for i, h := range some {
		reqs[i] = locks.HeartbeatRequest{ID: h.id, Claim: locks.Claim{Token: h.token}, TTL: h.ttl}
		h.until = max(h.until, after(after(sent, m.opts.Timeout), h.ttl))
	}
	m.mu.Unlock()
	if len(some) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(m.keeping, m.opts.Timeout)
	results := m.engine.Renew(ctx, reqs)
	cancel()

	m.mu.Lock()
	var losses []loss
	for i, h := range some {
		if m.keeps(h) {
			losses = append(losses, m.judge(h, sent, results[i])...)
		}
	}
	m.mu.Unlock()
	m.tell(losses)
}

// judge takes in what a renewal came to. A lease that is over stays over, so that
// verdict holds in whatever order renewals come back; a success counts only if
// it was sent after whatever else is known of the lease. m.mu is held.
func (m *Manager) judge(h *held, sent instant, r locks.Renewed) []loss {
	switch {
	case r.Err == nil && r.Lease.Token == h.token:
		m.confirm(h, sent)
	case r.Err == nil || errors.Is(r.Err, locks.ErrNotOwner):
		return m.over(h, errOverElsewhere)
	default:
		h.due = min(h.due, retry(m.now(), h.ttl))
		m.plan(h)
	}
	return nil
}

// confirm takes in that a call which was sent at the instant given found the lease alive
// and set its TTL. Of calls that overlap, the engine may have taken any as the last; it
// took that one after each of them was sent. m.mu is held.
func (m *Manager) confirm(h *held, sent instant) {
	if sent >= h.since && sent >= h.confirmed {
		ttl := h.lasts(sent)
		h.confirmed, h.deadline = sent, m.lapse(sent, ttl)
		h.due = min(h.due, next(sent, ttl))
		h.releases = slices.DeleteFunc(h.releases, func(r *release) bool { return r.back })
	}
	m.plan(h)
}
