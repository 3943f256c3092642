package session

// This file gives leases back: queues, and a few goroutines for as long as
// there is something in them.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	// maxWorkers is how many calls that release are under way at most.
	maxWorkers = 4

	// turn is how many leases of one session are released before it is another's turn.
	turn = 16

	// A release that got no answer is sent again after firstBackoff, then after twice
	// as long, and so on.
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// batch is what parted together, for somebody who may wait for it.
type batch struct {
	left    int // not yet released
	done    chan struct{}
	waiting []*parting
	queued  bool // it is in Manager.queue
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// dismiss takes all leases from a session and releases those that no other has.
func (m *Manager) dismiss(s *Session, end bool) *batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dismissLocked(s, end)
}

// dismissLocked makes sure that what is asked for is given back when it comes (see
// granted). From here on what was held is not renewed: a renewal looks into the book
// under the same mutex. One that is under way can't bring a lease back, for
// heartbeats create nothing.
func (m *Manager) dismissLocked(s *Session, end bool) *batch {
	s.ended = s.ended || end
	for a := range s.asks {
		a.cancel(errEnded)
	}
	b := newBatch()
	for h := range s.leases {
		if m.detach(h, s); len(h.sessions) == 0 {
			m.book.remove(h)
			m.part(b, &parting{name: h.name, owner: h.owner, until: h.until})
		}
	}
	m.sendAll(b)
	return b
}

// part takes a parting lease into the book.
func (m *Manager) part(b *batch, p *parting) {
	p.batch = b
	b.left++
	b.waiting = append(b.waiting, p)
	m.book.addParting(p)
}

func (m *Manager) sendAll(b *batch) {
	if b.left == 0 {
		close(b.done)
		return
	}
	m.enqueue(b)
}

// send releases a lease again.
func (m *Manager) send(p *parting) {
	p.batch.waiting = append(p.batch.waiting, p)
	m.enqueue(p.batch)
}

func (m *Manager) enqueue(b *batch) {
	if !b.queued {
		b.queued = true
		m.queue = append(m.queue, b)
	}
	m.help()
}

// help starts another worker.
func (m *Manager) help() {
	if m.workers < maxWorkers {
		m.workers++
		go m.work()
	}
}

// wait returns when a batch is released or ctx has ended.
func wait(ctx context.Context, b *batch) error {
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("releasing leases of a session: %w: %w", locks.ErrUnavailable, context.Cause(ctx))
	}
}

// work releases what waits until nothing does.
func (m *Manager) work() {
	for some := m.take(); len(some) > 0; some = m.take() {
		reqs := make([]locks.ReleaseRequest, len(some))
		for i, p := range some {
			reqs[i] = locks.ReleaseRequest{ID: p.id, Claim: locks.Claim{Token: p.token}, Untold: p.untold}
		}
		ctx, cancel := context.WithTimeout(m.giving, m.opts.Timeout)
		results := m.engine.ReleaseAll(ctx, reqs)
		cancel()
		m.landedAll(some, results)
	}
}

// take returns what one call releases next. Sessions take turns: one that has few
// leases does not wait for all of another's. If nothing is left, the worker counts no
// more: the worker of what comes later is a new one.
func (m *Manager) take() (some []*parting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) > 0 && len(some) < chunk {
		b := m.queue[0]
		m.queue[0] = nil
		m.queue = m.queue[1:]
		n := min(turn, chunk-len(some), len(b.waiting))
		for _, p := range b.waiting[:n] {
			if m.book.parts(p) { // and was not taken over by its owner meanwhile
				p.inFlight, p.landed = true, make(chan struct{})
				some = append(some, p)
			}
		}
		clear(b.waiting[:n])
		if b.waiting = b.waiting[n:]; len(b.waiting) > 0 {
			m.queue = append(m.queue, b)
		} else {
			b.waiting, b.queued = nil, false
		}
	}
	switch {
	case len(some) == 0:
		m.queue = nil
		m.workers--
		m.settle()
	case len(m.queue) > 0:
		m.help()
	}
	return some
}

func (m *Manager) landedAll(some []*parting, results []locks.ReleaseResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range some {
		close(p.landed)
		if m.book.parts(p) {
			m.landed(p, results[i].Err)
		}
	}
	m.arm()
}

// landed takes in what a release came to. One that got no answer is sent again
// for as long as the lease may live.
func (m *Manager) landed(p *parting, err error) {
	p.inFlight = false
	p.tries++
	if p.owner != "" && !p.untold { // who may have been granted this lease again meanwhile
		m.doubt(locks.ReleaseRequest{ID: p.id, Claim: locks.Claim{Owner: p.owner}})
	}
	now := m.now()
	if err == nil || errors.Is(err, locks.ErrNotOwner) || errors.Is(err, locks.ErrShutdown) || m.abandoned || now >= p.until {
		m.finish(p)
		return
	}
	m.book.schedule(&p.slot, after(now, min(firstBackoff<<min(p.tries-1, 10), lastBackoff)))
}

// finish forgets a parting lease. m.mu is held.
func (m *Manager) finish(p *parting) {
	m.book.removeParting(p)
	if p.batch.left--; p.batch.left == 0 {
		close(p.batch.done)
	}
	m.settle()
}
