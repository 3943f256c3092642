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
	errOver  = errors.New("the lease was over before it could be kept")
	errEnded = errors.New("the session has ended")
)

// attempts is how often an acquire asks, if what it was granted is over each time.
const attempts = 3

// A lease whose acquire took longer than this part of its TTL is confirmed before
// it is given out: it may be about to run out, or already have.
const slowPart = 10

// Session is the leases of one holder that may go away, such as a connection.
// It is safe for concurrent use.
type Session struct {
	m    *Manager
	gone func(reason error)

	// Behind m.mu.
	entries map[*entry]struct{} // asked and held ones
	ended   bool
}

// Open begins a session. lost is called at most once, when a lease of the
// session was lost: the session has ended by then, and the rest of its leases
// is being released. It must not block. A session that has no leases costs
// nothing but its memory, so one that is never closed is no leak.
func (m *Manager) Open(lost func(reason error)) *Session {
	return &Session{m: m, gone: lost}
}

// Acquire acquires a lease as the engine does, and keeps it: it is renewed until
// it is released, or the session is closed, reset or lost. A lease that another
// session of the manager has (its owner asked again) moves to this one.
//
// If the acquire took long, or the lease may have been released meanwhile, it is
// confirmed before it is given out. If it is over by then, Acquire asks again,
// within the time that the request would wait; and returns locks.ErrUnavailable
// if that happens time and again: not locks.ErrHeld, which says that others were
// in the way, and that a request which waits for ever must not get.
//
// It returns locks.ErrBusy if the session has as many leases as it may have,
// locks.ErrShutdown if the session has ended or the manager is closed, and
// locks.ErrUnavailable if that happened while it was under way. With an error,
// nothing is kept.
func (s *Session) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	began, wait := time.Now(), req.Wait
	for range attempts {
		lease, err := s.acquire(ctx, req)
		if err == nil {
			return lease, nil
		}
		if !errors.Is(err, errOver) {
			return locks.Lease{}, fmt.Errorf("for a session: %w", err)
		}
		if wait > 0 {
			req.Wait = max(wait-time.Since(began), 0)
		}
	}
	return locks.Lease{}, fmt.Errorf("acquiring %q for a session: %w: %w", req.ID, locks.ErrUnavailable, errOver)
}

func (s *Session) acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	m := s.m
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e, err := s.begin(req, cancel)
	if err != nil {
		return locks.Lease{}, err
	}
	defer m.settled(e)
	sent := m.now()
	lease, err := m.engine.Acquire(ctx, req)
	if err != nil {
		m.refused(e, req, sent, err)
		return locks.Lease{}, err
	}
	if m.doubtful(e, lease, sent) {
		sent = m.now()
		token := lease.Token
		lease, err = m.engine.Heartbeat(ctx, locks.HeartbeatRequest{ID: req.ID, Claim: locks.Claim{Token: token}})
		if err != nil || lease.Token != token {
			return locks.Lease{}, m.unconfirmed(e, err)
		}
	}
	return s.keep(ctx, e, lease, sent)
}

// keep keeps what was granted, unless the very lease is being released for a
// session that has ended: then it waits for that, and the lease is over.
func (s *Session) keep(ctx context.Context, e *entry, lease locks.Lease, sent instant) (locks.Lease, error) {
	landed, err := s.m.granted(e, lease, sent)
	switch {
	case err != nil:
		return locks.Lease{}, err
	case landed == nil:
		return lease, nil
	}
	select {
	case <-landed:
		return locks.Lease{}, errOver
	case <-ctx.Done():
		return locks.Lease{}, fmt.Errorf("%w: %w", locks.ErrUnavailable, context.Cause(ctx))
	}
}

// Release releases as the engine does, on behalf of the session's holder. What
// it ends, whichever session's it is, is ended on purpose and not lost; except
// what is ended by force: those leases are lost to the other sessions that have them.
func (s *Session) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	return s.m.release(ctx, s, req)
}

// Reset releases all leases of the session, which goes on. It returns when they
// are released; or, when ctx ends first, an error: then they are released in the
// background. An acquire that is under way is cancelled, and what it still brings
// is released at once.
func (s *Session) Reset(ctx context.Context) error { return s.m.wait(ctx, s.m.dismiss(s, false)) }

// Close ends the session and releases all its leases. It returns as Reset does.
// Closing again waits for nothing.
func (s *Session) Close(ctx context.Context) error { return s.m.wait(ctx, s.m.dismiss(s, true)) }

// End is Close without the wait.
func (s *Session) End() { s.m.dismiss(s, true) }

// begin notes that an acquire is under way.
func (s *Session) begin(req locks.AcquireRequest, cancel context.CancelFunc) (*entry, error) {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed || s.ended:
		return nil, fmt.Errorf("acquiring %q: %w: %w", req.ID, locks.ErrShutdown, errEnded)
	case len(s.entries) >= m.maxLeases && !s.has(req):
		return nil, fmt.Errorf("acquiring %q: a session may have %d leases: %w", req.ID, m.maxLeases, locks.ErrBusy)
	}
	e := &entry{id: req.ID, owner: req.Owner, mode: req.Mode, ttl: req.TTL, session: s, cancel: cancel}
	m.book.add(e)
	m.asking++
	if s.entries == nil {
		s.entries = make(map[*entry]struct{})
	}
	s.entries[e] = struct{}{}
	return e, nil
}

// has reports whether the session has what the request would acquire again.
func (s *Session) has(req locks.AcquireRequest) bool {
	for _, e := range s.m.book.byID[req.ID] {
		if e.session == s && e.owner != "" && e.owner == req.Owner {
			return true
		}
	}
	return false
}

// refused forgets an acquire that was not granted. One that got no answer may
// have set the expiry of a lease that its owner has.
func (m *Manager) refused(e *entry, req locks.AcquireRequest, sent instant, err error) {
	m.mu.Lock()
	m.remove(e)
	m.mu.Unlock()
	if errors.Is(err, locks.ErrUnavailable) {
		m.reacquired(req, sent)
	}
}

// settled forgets an acquire that has not come to an end by now: the engine
// panicked, and Close must not wait for it.
func (m *Manager) settled(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.state == asked || e.state == unwanted {
		m.remove(e)
	}
}

// doubtful reports whether a lease that was granted has to be confirmed: it may
// be near its end; or a release that was under way at the same time may have ended it.
func (m *Manager) doubtful(e *entry, lease locks.Lease, sent instant) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.token = lease.Token
	slow := lease.TTL != locks.NoExpiry && m.now()-sent > instant(lease.TTL/slowPart)
	old := m.book.byName[e.name()]
	tried := old != nil && old.state == releasing && old.tries > 0
	suspect := e.suspect
	e.suspect = false // what is set from now on is not settled by the heartbeat
	return slow || tried || suspect
}

// unconfirmed drops a lease that is over, or that the engine does not answer for:
// then it is released, in case it lives.
func (m *Manager) unconfirmed(e *entry, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil || errors.Is(err, locks.ErrNotOwner) {
		m.remove(e)
		return errOver
	}
	if old := m.book.byName[e.name()]; old != nil { // it is somebody's already
		m.shorten(old, e.ttl, m.now())
		m.remove(e)
	} else {
		m.handBack(e)
	}
	return fmt.Errorf("confirming the lease of %q: %w", e.id, err)
}

// granted takes a lease into the book. dismiss marks an acquire under the mutex
// that is held here: if the session ends before this line, the mark is seen here
// and the lease is released; if after it, dismiss finds the lease among the
// session's. There is no moment between.
func (m *Manager) granted(e *entry, lease locks.Lease, sent instant) (landed <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.token, e.owner, e.mode, e.ttl = lease.Token, lease.Owner, lease.Mode, lease.TTL
	old := m.book.byName[e.name()]
	switch {
	case e.state == unwanted && old == nil:
		m.handBack(e)
		return nil, fmt.Errorf("acquiring %q: %w: %w", e.id, locks.ErrUnavailable, errEnded)
	case e.state == unwanted:
		// Another session of the same owner has it, or it is being released.
		m.shorten(old, lease.TTL, sent)
		m.remove(e)
		return nil, fmt.Errorf("acquiring %q: %w: %w", e.id, locks.ErrUnavailable, errEnded)
	case old != nil && old.inFlight:
		// The engine may take the release after the acquire: then it ends what was
		// granted here.
		m.remove(e)
		if old.landed == nil {
			old.landed = make(chan struct{})
		}
		return old.landed, nil
	case old != nil && old.state == releasing:
		e.suspect = e.suspect || old.tries > 0
		m.finish(old) // not sent, or sent in vain: the owner is back
	case old != nil:
		m.remove(old)
	}
	m.supersede(e)
	m.adopt(e, sent)
	return nil, nil
}

// supersede forgets what the session had of the same lock and owner: an owner
// has one lease of a lock, so that one is over, and the holder learns of it by
// the new token. m.mu is held.
func (m *Manager) supersede(e *entry) {
	if e.owner == "" {
		return
	}
	for _, old := range m.book.byID[e.id] {
		if old.state == held && old.session == e.session && old.owner == e.owner {
			m.remove(old)
			return
		}
	}
}

// adopt makes an entry held. m.mu is held.
func (m *Manager) adopt(e *entry, sent instant) {
	m.asking--
	m.holding++
	e.state, e.cancel = held, nil
	m.book.byName[e.name()] = e
	e.sent, e.confirmed = sent, sent
	e.deadline, e.due = lapse(sent, e.ttl), next(sent, e.ttl)
	if e.suspect {
		// The holder hears of the lease after the release: if it is over, it is
		// lost, like any other.
		e.suspect = false
		m.hurry(e)
		return
	}
	m.plan(e)
	m.arm()
}

// handBack releases what an acquire brought and nobody keeps. m.mu is held.
func (m *Manager) handBack(e *entry) {
	m.asking--
	m.detach(e)
	e.sent = m.now()
	m.enqueue(e, nil)
}

// remove takes an entry that is asked, unwanted or held out of the book. m.mu is
// held.
func (m *Manager) remove(e *entry) {
	if e.state == held {
		m.holding--
	} else {
		m.asking--
	}
	m.detach(e)
	m.book.remove(e)
	m.settle()
}

func (m *Manager) detach(e *entry) {
	if e.session != nil {
		delete(e.session.entries, e)
		e.session = nil
	}
}
