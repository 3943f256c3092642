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
	left    int // not yet released; and one more while it may grow
	done    chan struct{}
	waiting []*parting
	queued  bool // it is in Manager.queue
}

func newBatch() *batch { return &batch{left: 1, done: make(chan struct{})} }

// less says that of what is left something is not.
func (b *batch) less() {
	if b.left--; b.left == 0 {
		close(b.done)
	}
}

// part takes a parting lease into the book that was not held, on the page given.
func (m *Manager) part(b *batch, pg *page, p *parting) {
	m.book.addParting(p, pg)
	m.enqueue(b, p)
}

// enqueue has a lease released that is new among the parting.
func (m *Manager) enqueue(b *batch, p *parting) {
	p.batch = b
	b.left++
	m.send(p)
}

// send has a lease released. If its batch is in the queue, a worker will come to it, who then
// sees to it that there are enough of them.
func (m *Manager) send(p *parting) {
	b := p.batch
	b.waiting = append(b.waiting, p)
	if !b.queued {
		b.queued = true
		m.queue = append(m.queue, b)
		m.help()
	}
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
	landed := make(chan struct{})
	for len(m.queue) > 0 && len(some) < chunk {
		b := m.queue[0]
		m.queue[0] = nil
		m.queue = m.queue[1:]
		n := min(turn, chunk-len(some), len(b.waiting))
		for _, p := range b.waiting[:n] {
			if p.page != nil { // and was not taken over by its owner meanwhile
				p.inFlight, p.landed = true, landed
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
	close(some[0].landed) // they have it in common
	for i, p := range some {
		if p.page != nil {
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
	p.batch.less()
	m.settle()
}
