package session

// This file gives leases back: a queue, and a few goroutines for as long as
// there is something in it.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	// maxWorkers is how many releases are under way at most.
	maxWorkers = 16

	// A release that got no answer is sent again after firstBackoff, then after twice
	// as long, and so on.
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// batch is what ended together, for somebody who waits for it.
type batch struct {
	left int
	done chan struct{}
}

// dismiss takes all leases from a session and releases them.
func (m *Manager) dismiss(s *Session, end bool) *batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dismissLocked(s, end)
}

func (m *Manager) dismissLocked(s *Session, end bool) *batch {
	s.ended = s.ended || end
	b := &batch{done: make(chan struct{})}
	for e := range s.entries {
		m.let(e, b)
	}
	s.entries = nil
	if b.left == 0 {
		close(b.done)
	}
	return b
}

// let releases a held lease, and makes sure that one which is asked for is
// released when it comes (see granted). From here on it is not renewed: tick looks at
// the state under the same mutex. A renewal that is under way can't bring it back, for
// heartbeats create nothing. m.mu is held.
func (m *Manager) let(e *entry, b *batch) {
	if e.state == asked {
		e.state = unwanted
		e.cancel()
		m.detach(e)
		return
	}
	m.holding--
	m.detach(e)
	m.enqueue(e, b)
}

// enqueue makes an entry, which is nobody's any more, releasing. m.mu is held.
func (m *Manager) enqueue(e *entry, b *batch) {
	e.state, e.batch = releasing, b
	if b != nil {
		b.left++
	}
	m.leaving++
	m.book.byName[e.name()] = e
	m.book.schedule(e, never)
	m.send(e)
}

func (m *Manager) send(e *entry) {
	m.waiting = append(m.waiting, e)
	if m.workers < maxWorkers {
		m.workers++
		go m.work()
	}
}

// wait returns when a batch is released or ctx has ended.
func (m *Manager) wait(ctx context.Context, b *batch) error {
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("releasing leases of a session: %w: %w", locks.ErrUnavailable, context.Cause(ctx))
	}
}

// work releases what waits until nothing does.
func (m *Manager) work() {
	for e := m.take(); e != nil; e = m.take() {
		ctx, cancel := context.WithTimeout(m.giving, m.timeout)
		_, err := m.engine.Release(ctx, locks.ReleaseRequest{ID: e.id, Claim: locks.Claim{Token: e.token}})
		cancel()
		m.landed(e, err)
	}
}

// take returns the next entry to release. If there is none, its worker counts no
// more: the worker of an entry that comes later is a new one.
func (m *Manager) take() *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.waiting) > 0 {
		e := m.waiting[0]
		m.waiting[0] = nil
		m.waiting = m.waiting[1:]
		if e.state == releasing { // and not taken over by its owner meanwhile
			e.inFlight = true
			return e
		}
	}
	m.waiting = nil
	m.workers--
	m.settle()
	return nil
}

// landed takes in what a release came to. One that got no answer is sent again
// for as long as the lease may live.
func (m *Manager) landed(e *entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.inFlight = false
	e.tries++
	if e.landed != nil {
		close(e.landed)
		e.landed = nil
	}
	if e.owner != "" { // who may have been granted this lease again meanwhile
		m.doubtAsked(locks.ReleaseRequest{ID: e.id, Claim: locks.Claim{Owner: e.owner}})
	}
	now := m.now()
	over := after(e.sent, e.ttl)
	if e.ttl != locks.NoExpiry {
		over = after(over, m.timeout) // a renewal without answer may have been taken so much later
	}
	if err == nil || errors.Is(err, locks.ErrNotOwner) || errors.Is(err, locks.ErrShutdown) || m.abandoned || now >= over {
		m.finish(e)
		return
	}
	m.book.schedule(e, after(now, min(firstBackoff<<min(e.tries-1, 10), lastBackoff)))
	m.arm()
}

// finish forgets a releasing entry. m.mu is held.
func (m *Manager) finish(e *entry) {
	m.leaving--
	m.book.remove(e)
	if b := e.batch; b != nil {
		if b.left--; b.left == 0 {
			close(b.done)
		}
	}
	m.settle()
}
