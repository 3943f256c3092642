package session

// This file is what a session asks for.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

var (
	errOver    = errors.New("the lease was over before it could be kept")
	errEnded   = errors.New("the session has ended, or was reset")
	errSuspect = errors.New("a release may have ended the lease")
)

// attempts is how often an acquire asks, if what it was granted is over each time; and
// how often it confirms what it was granted, if a release comes back each time.
const attempts = 3

// Session is the leases of one holder that may go away, such as a connection.
// It is safe for concurrent use.
type Session struct {
	m    *Manager
	gone func(reason error)

	// Behind m.mu.
	asks  map[*ask]struct{}
	stay  *stay
	ended bool
}

// Open begins a session. lost is called at most once, when a lease of the
// session was lost: the session has ended by then, and what else it has is released
// when lost has returned. It must not block. A session that has no leases costs
// nothing but its memory, so one that is never closed is no leak.
func (m *Manager) Open(lost func(reason error)) *Session {
	s := &Session{m: m, gone: lost}
	s.stay = &stay{session: s}
	return s
}

// Acquire acquires a lease as the engine does, and keeps it: it is renewed for as long
// as the session has it. A lease belongs to every session that was told of it
// (its owner asked again, on another connection): it is released when the last of
// them has ended or was reset, or when one of them releases it; and if it is
// lost, all of them are. Its TTL is that of the latest request, but at least
// Options.MinTTL; one that is asked for with locks.NoExpiry is kept with
// Options.PersistTTL.
//
// If the acquire took long, or the lease may have been released meanwhile, it is
// confirmed before it is given out. If it is over by then, Acquire asks again,
// within the time that the request would wait; and returns locks.ErrUnavailable
// if that happens time and again: not locks.ErrHeld, which says that others were
// in the way, and that a request which waits for ever must not get.
//
// It returns locks.ErrBusy if the session has as many leases as it may have,
// locks.ErrShutdown if the session has ended or the manager is closed, and
// locks.ErrUnavailable if that happened while it was under way, or ctx has ended.
// With an error nothing is kept: what was granted is given back, unless others know
// of it.
func (s *Session) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	began, asked := time.Now(), req
	req.TTL = s.m.opts.ttl(req.TTL)
	for range attempts {
		lease, err := s.acquire(ctx, req)
		if err == nil {
			if asked.TTL == locks.NoExpiry {
				lease.TTL = locks.NoExpiry
			}
			return lease, nil
		}
		if !errors.Is(err, errOver) {
			return locks.Lease{}, fmt.Errorf("for a session: %w", err)
		}
		if asked.Wait > 0 {
			req.Wait = max(asked.Wait-time.Since(began), 0)
		}
	}
	return locks.Lease{}, fmt.Errorf("acquiring %q for a session: %w: %w", req.ID, locks.ErrUnavailable, errOver)
}

func (s *Session) acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	m := s.m
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a, err := s.begin(req, cancel)
	if err != nil {
		return locks.Lease{}, err
	}
	defer m.end(a) // also if the engine panics: Close must not wait for it
	sent := m.now()
	lease, err := m.engine.Acquire(ctx, req)
	if err != nil {
		if errors.Is(err, locks.ErrUnavailable) {
			m.reacquired(req, sent) // it may have been executed
		}
		return locks.Lease{}, err
	}
	for err = errSuspect; err == errSuspect; err = m.keep(ctx, a, lease, sent) {
		if m.doubtful(ctx, a, lease, sent) {
			sent = m.now()
			again, err := m.engine.Heartbeat(ctx, locks.HeartbeatRequest{ID: req.ID, Claim: locks.Claim{Token: lease.Token}, TTL: req.TTL})
			if err != nil || again.Token != lease.Token {
				return locks.Lease{}, m.unconfirmed(a, lease, sent, err)
			}
		}
	}
	return lease, err
}

// begin notes that an acquire is under way.
func (s *Session) begin(req locks.AcquireRequest, cancel context.CancelCauseFunc) (*ask, error) {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed || s.ended:
		return nil, fmt.Errorf("acquiring %q: %w: %w", req.ID, locks.ErrShutdown, errEnded)
	case len(s.asks)+len(s.stay.leases) >= m.opts.MaxLeases && !s.has(req):
		return nil, fmt.Errorf("acquiring %q: %w", req.ID, &locks.QuotaError{Quota: locks.QuotaSessionLeases})
	}
	a := &ask{req: req, session: s, cancel: cancel}
	m.book.ask(a)
	if s.asks == nil {
		s.asks = make(map[*ask]struct{})
	}
	s.asks[a] = struct{}{}
	return a, nil
}

// has reports whether the session has, or asks for, what the request would acquire
// again.
func (s *Session) has(req locks.AcquireRequest) bool {
	if req.Owner == "" {
		return false
	}
	page := s.m.book.read(req.ID)
	for a := range page.asks.all() {
		if a.session == s && a.req.Owner == req.Owner {
			return true
		}
	}
	for h := range page.held.all() {
		if h.owner == req.Owner && s.stay.has(h) {
			return true
		}
	}
	return false
}

// end forgets an ask.
func (m *Manager) end(a *ask) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(a)
	m.settle()
}

func (m *Manager) endLocked(a *ask) {
	m.book.forget(a)
	delete(a.session.asks, a)
}

// Holds reports whether the session has leases.
func (s *Session) Holds() bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return len(s.stay.leases) > 0
}

// Release releases as the engine does, on behalf of the session's holder. What
// it ends, whichever sessions have it, is ended on purpose and not lost; except
// what is ended by force: that is lost to the other sessions that have it.
func (s *Session) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	return s.m.release(ctx, s, req)
}

// Do does operations as the engine does, releases on behalf of the session's holder (see
// Release). What they acquire is not the session's.
func (s *Session) Do(ctx context.Context, ops []locks.Op) { s.m.do(ctx, s, ops) }

// Reset gives up all leases of the session, which goes on. It returns when those that
// no other session has are released; or, when ctx ends first, an error: then they are
// released in the background. An acquire that is under way is cancelled, and what it
// still brings is given back at once.
func (s *Session) Reset(ctx context.Context) error { return wait(ctx, s.m.dismiss(s, false)) }

// Close ends the session and gives up all its leases. It returns as Reset does.
// Closing again waits for nothing.
func (s *Session) Close(ctx context.Context) error { return wait(ctx, s.m.dismiss(s, true)) }

// End is Close without the wait.
func (s *Session) End() { s.m.dismiss(s, true) }
