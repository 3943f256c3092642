package session

// This file is a manager's life.

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Options configures a Manager. The zero value works.
type Options struct {
	// MaxLeases is how many leases one session may have. Default: 100,000.
	MaxLeases int

	// Timeout bounds each call to the engine that renews or releases. Default: 5 s.
	Timeout time.Duration
}

const (
	defaultMaxLeases = 100_000
	defaultTimeout   = 5 * time.Second
)

// Manager keeps the leases of sessions. It has no goroutine of its own: a timer
// for what is next, and goroutines for the calls under way. It is safe for
// concurrent use.
type Manager struct {
	engine    locks.Engine
	maxLeases int
	timeout   time.Duration
	start     time.Time

	keeping     context.Context // of renewals; ends when Close begins
	stopKeeping context.CancelFunc
	giving      context.Context // of releases; ends when Close has done what it can
	stopGiving  context.CancelFunc

	mu      sync.Mutex
	book    book
	timer   *time.Timer
	wake    instant // when the timer fires
	waiting []*entry
	workers int // goroutines that release
	calls   int // renewals under way
	asking  int // entries that are asked or unwanted
	holding int // held ones
	leaving int // releasing ones
	lost    uint64

	closed    bool          // no acquire begins any more
	abandoned bool          // what could not be released stays
	drained   chan struct{} // closed once closed, and nothing is under way
	empty     bool          // drained is closed
}

// New returns a manager of leases on the engine. The engine must outlive it.
func New(engine locks.Engine, o Options) *Manager {
	m := &Manager{
		engine:    engine,
		maxLeases: cmp.Or(o.MaxLeases, defaultMaxLeases),
		timeout:   cmp.Or(o.Timeout, defaultTimeout),
		start:     time.Now(),
		book:      newBook(),
		wake:      never,
		drained:   make(chan struct{}),
	}
	m.keeping, m.stopKeeping = context.WithCancel(context.Background())
	m.giving, m.stopGiving = context.WithCancel(context.Background())
	return m
}

// Leases returns how many leases are kept for sessions.
func (m *Manager) Leases() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.holding
}

// Lost returns how many sessions were lost so far.
func (m *Manager) Lost() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// Close ends every session, without calling its lost function, and releases all
// leases. It returns when they are released, also those of sessions that ended
// before. If ctx ends first, it gives up, and the error says how many leases are
// left to end by their TTL. Later acquires return locks.ErrShutdown. Closing
// again waits in the same way.
func (m *Manager) Close(ctx context.Context) error {
	m.beginClose()
	select {
	case <-m.drained:
		return nil
	case <-ctx.Done():
	}
	if left := m.abandon(); left > 0 {
		return fmt.Errorf("releasing %d leases of sessions: %w", left, ctx.Err())
	}
	return nil
}

func (m *Manager) beginClose() {
	m.stopKeeping()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, peers := range m.book.byID {
		for _, e := range peers {
			if e.session != nil {
				e.session.ended = true
				m.let(e, nil)
			}
		}
	}
	m.settle()
}

// abandon drops what waits for its release. Calls under way are cancelled, and
// their entries dropped when they return.
func (m *Manager) abandon() (left int) {
	m.stopGiving()
	m.mu.Lock()
	defer m.mu.Unlock()
	left = m.leaving + m.asking
	m.abandoned = true
	for _, peers := range m.book.byID {
		for i := len(peers) - 1; i >= 0; i-- { // backwards: finishing one moves the last to its place
			if e := peers[i]; e.state == releasing && !e.inFlight {
				m.finish(e)
			}
		}
	}
	m.settle()
	return left
}

// settle lets Close return if nothing is under way. It belongs at the end of each step
// that ends something. m.mu is held.
func (m *Manager) settle() {
	if m.closed && !m.empty && m.asking+m.holding+m.leaving+m.calls+m.workers == 0 {
		m.empty = true
		if m.timer != nil {
			m.timer.Stop()
		}
		close(m.drained)
	}
}

func (m *Manager) now() instant { return instant(time.Since(m.start)) }

// arm sets the timer for what is next on the agenda. It belongs at the end of
// each step that changes the agenda. m.mu is held.
func (m *Manager) arm() {
	if len(m.book.agenda) == 0 {
		return // a timer that is set fires in vain, once
	}
	at := m.book.agenda[0].at
	if at >= m.wake {
		return
	}
	m.wake = at
	in := time.Duration(at - m.now())
	if m.timer == nil {
		m.timer = time.AfterFunc(in, m.tick)
		return
	}
	m.timer.Reset(in)
}
