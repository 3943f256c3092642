package session

// This file is a manager's life.

import (
	"cmp"
	"context"
	"fmt"
	"math"
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

	// MinTTL is the shortest TTL that a lease is kept with: one that is asked for with
	// less gets this. It ends with its session anyhow; the TTL says only how
	// soon it ends if the process dies, and each renewal costs. Default: 1 s.
	MinTTL time.Duration

	// PersistTTL is the TTL that a lease is kept with which is asked for with
	// locks.NoExpiry: as it is renewed for ever, it does not expire, and yet it ends if
	// the process dies. Default: 30 s.
	PersistTTL time.Duration
}

const (
	defaultMaxLeases  = 100_000
	defaultTimeout    = 5 * time.Second
	defaultMinTTL     = time.Second
	defaultPersistTTL = 30 * time.Second
)

func (o Options) withDefaults() Options {
	o.MaxLeases = cmp.Or(o.MaxLeases, defaultMaxLeases)
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.MinTTL = cmp.Or(o.MinTTL, defaultMinTTL)
	o.PersistTTL = max(cmp.Or(o.PersistTTL, defaultPersistTTL), o.MinTTL)
	return o
}

// ttl returns the TTL that a lease is kept with.
func (o Options) ttl(asked time.Duration) time.Duration {
	if asked == locks.NoExpiry {
		return o.PersistTTL
	}
	return max(asked, o.MinTTL)
}

// Manager keeps the leases of sessions. It has no goroutine of its own: a timer
// for what is next, and goroutines for the calls under way. It is safe for
// concurrent use.
type Manager struct {
	engine locks.Engine
	opts   Options
	start  time.Time

	keeping     context.Context // of renewals; ends when Close begins
	stopKeeping context.CancelFunc
	giving      context.Context // of releases; ends when Close has done what it can
	stopGiving  context.CancelFunc

	spares sync.Pool // of *release

	mu      sync.Mutex
	book    book // its watch also answers without mu
	timer   *time.Timer
	wake    instant  // when the timer fires
	queue   []*batch // those that have something to release, in turn
	workers int      // goroutines that release
	calls   int      // goroutines that renew, or say what to renew
	leaves  uint64   // stays that were left so far
	lost    struct{ sessions, leases uint64 }

	closed    bool          // no acquire begins any more
	abandoned bool          // what could not be released stays
	drained   chan struct{} // closed once closed, and nothing is under way
	empty     bool          // drained is closed
}

// New returns a manager of leases on the engine. The engine must outlive it.
func New(engine locks.Engine, o Options) *Manager {
	m := &Manager{
		engine:  engine,
		opts:    o.withDefaults(),
		start:   time.Now(),
		wake:    never,
		book:    book{watch: newWatch()},
		drained: make(chan struct{}),
	}
	m.keeping, m.stopKeeping = context.WithCancel(context.Background())
	m.giving, m.stopGiving = context.WithCancel(context.Background())
	return m
}

// Leases returns how many leases are kept for sessions. One that several sessions
// have counts once.
func (m *Manager) Leases() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.book.n.held
}

// Lost returns how many sessions were lost so far.
func (m *Manager) Lost() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost.sessions
}

// LostLeases returns how many leases were lost so far: those that could not be renewed in
// time or were ended by others, and those that were released because their session was
// lost. One that several sessions had counts once, and not while one of them goes on with it.
func (m *Manager) LostLeases() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost.leases
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
	var stays []*stay
	for _, pg := range m.book.pages {
		for a := range pg.asks.all() {
			if !a.session.ended {
				stays = append(stays, m.leave(a.session, true))
			}
		}
		for h := range pg.held.all() {
			for _, of := range h.stakes {
				if of.stay.left == 0 {
					stays = append(stays, m.leave(of.stay.session, true))
				}
			}
		}
	}
	m.clearOut(stays)
	m.settle()
}

// abandon drops what waits for its release. Calls under way are cancelled, and
// what they release is dropped when they return.
func (m *Manager) abandon() (left int) {
	m.stopGiving()
	m.mu.Lock()
	defer m.mu.Unlock()
	left = m.book.n.partings + m.book.n.asks + m.book.n.held
	m.abandoned = true
	for _, pg := range m.book.pages {
		for p := range pg.partings.all() {
			if !p.inFlight {
				m.finish(p)
			}
		}
	}
	m.settle()
	return left
}

// settle lets Close return if nothing is under way. It belongs at the end of each step
// that ends something. m.mu is held.
func (m *Manager) settle() {
	if m.closed && !m.empty && m.book.n.asks+m.book.n.held+m.book.n.partings+m.calls+m.workers == 0 {
		m.empty = true
		if m.timer != nil {
			m.timer.Stop()
		}
		close(m.drained)
	}
}

func (m *Manager) now() instant { return instant(time.Since(m.start)) }

// plan puts a held lease on the agenda: for its renewal, or the end of its time.
// m.mu is held.
func (m *Manager) plan(h *held) {
	m.book.schedule(&h.slot, min(h.due, h.deadline))
	m.arm()
}

// ticking is what wake is while tick is at it: then nobody needs to set the timer.
const ticking instant = math.MinInt64

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

// tick does what is due. It judges by time alone and waits for no call: one that
// hangs holds up no other lease, and no loss. It judges all by the same instant, so that what
// is due together is renewed together; what is planned for later, while it lets others have
// the mutex, it sets the timer for in the end.
func (m *Manager) tick() {
	m.mu.Lock()
	m.calls++ // Close does not end while what is due is in nobody's hands
	m.wake = ticking
	now := m.now()
	var due []*held
	var losses []loss
	for n := 1; len(m.book.agenda) > 0 && m.book.agenda[0].at <= now; n++ {
		if n%most == 0 {
			m.breathe() // and what is next is to be looked at anew
			continue
		}
		switch next := m.book.agenda[0].slot; {
		case next.parting != nil:
			m.book.schedule(next, never)
			m.send(next.parting)
		case !m.keeps(next.held):
		case next.held.deadline <= now:
			losses = append(losses, m.lapsed(next.held)...)
		default:
			due = append(due, next.held)
			m.sending(next.held, now)
		}
	}
	m.wake = never
	m.arm()
	m.renewAll(due)
	m.calls--
	m.settle()
	m.mu.Unlock()
	m.tell(losses)
}
