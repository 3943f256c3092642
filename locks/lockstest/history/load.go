package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Conn is a client's way to a candado, or to an engine. What its operations
// return is what those of locks.Engine do; other errors mean that there was no
// answer. One goroutine at a time uses it.
type Conn interface {
	// Acquire acquires; if bound, for as long as the connection lasts. When ctx
	// ends the client leaves: the connection may be of no use then.
	Acquire(ctx context.Context, req locks.AcquireRequest, bound bool) (locks.Lease, error)

	Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error)
	Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error)
	Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error)
	Info(ctx context.Context, id locks.ID) (locks.Info, error)

	// Close ends the connection, and with it the leases that are bound to it.
	Close() error

	// Candado is the number of the process that is asked.
	Candado() int

	// Waits and Binds say whether the way knows requests that wait, and leases
	// that are bound to a connection.
	Waits() bool
	Binds() bool
}

// Load is what clients do. What each client asks for follows from the seed alone;
// what comes of it does not.
type Load struct {
	Dial     func(client int, r *rand.Rand) (Conn, error)
	Recorder *Recorder
	Seed     uint64
	Clients  int
	For      time.Duration // after that, clients end what they are at

	// TTLs to choose from, and how long a request waits at most.
	TTLs []time.Duration
	Wait time.Duration

	// Hold is how long a client mostly keeps a lease, at most; Look, how often the
	// locks are described.
	Hold, Look time.Duration

	// Fierce has some releases be by force.
	Fierce bool
}

// The locks of a load: of the first kind, leases are exclusive; of the second,
// also shared; of the third, shared up to a limit of two.
const (
	exclusiveLock locks.ID = "exclusive"
	mixedLock     locks.ID = "mixed"
	limitedLock   locks.ID = "limited"

	limit = 2
)

// IDs returns the locks that the clients of a load use.
func (l Load) IDs() []locks.ID { return []locks.ID{exclusiveLock, mixedLock, limitedLock} }

// Run lets the clients loose, and returns when all have ended, their leases
// released or run out of their hands.
func (l Load) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := l.Recorder.Now() + l.For
	var clients, lookers sync.WaitGroup
	for n := range l.Clients {
		c := l.client(n)
		clients.Go(func() { c.run(ctx, end) })
	}
	looker := l.client(l.Clients)
	lookers.Go(func() { looker.look(ctx) })
	clients.Wait()
	cancel()
	lookers.Wait()
}

func (l Load) client(n int) *client {
	return &client{Load: l, n: n, r: rand.New(rand.NewPCG(l.Seed, uint64(n)))}
}

// client is one of a load's.
type client struct {
	Load
	n    int
	r    *rand.Rand
	conn Conn
	name int // of the connection, among all
}

func (c *client) run(ctx context.Context, end time.Duration) {
	defer c.hangUp()
	for ctx.Err() == nil && c.Recorder.Now() < end {
		c.pause(ctx, c.Hold)
		if c.connect() {
			c.turn(ctx)
		}
	}
}

// chance is true with that many per cent.
func (c *client) chance(percent int) bool { return c.r.IntN(100) < percent }

// upTo draws a duration below d.
func (c *client) upTo(d time.Duration) time.Duration { return time.Duration(c.r.Int64N(int64(d))) }

// pause sleeps for up to d.
func (c *client) pause(ctx context.Context, d time.Duration) { sleep(ctx, c.upTo(d)+1) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (c *client) connect() bool {
	if c.conn != nil {
		return true
	}
	conn, err := c.Dial(c.n, c.r)
	if err != nil {
		return false
	}
	c.conn, c.name = conn, c.Recorder.name()
	return true
}

// hangUp ends the connection.
func (c *client) hangUp() {
	if c.conn == nil {
		return
	}
	c.Recorder.Record(Event{Client: c.n, Conn: c.name, Candado: c.conn.Candado(), Op: OpDisconnect}, func(*Event) { _ = c.conn.Close() })
	c.conn = nil
}

// do records an operation. After one that got no answer, the connection is given
// up.
func (c *client) do(ctx context.Context, e Event, what func(e *Event) error) Event {
	if !c.connect() {
		e.Outcome = Nothing
		return e
	}
	e.Client, e.Conn, e.Candado = c.n, c.name, c.conn.Candado()
	e = c.Recorder.Record(e, func(e *Event) { e.outcome(ctx, what(e)) })
	if e.Outcome == Unknown || e.Outcome == Left || e.Outcome == Nothing {
		c.hangUp()
		c.pause(ctx, c.Hold)
	}
	return e
}

// turn is one acquisition and what follows.
func (c *client) turn(ctx context.Context) {
	req, bound, leave := c.draw()
	got := c.acquire(ctx, req, bound, leave)
	if got.Outcome == Unknown && req.Owner != "" && c.chance(85) {
		got = c.acquire(ctx, req, bound, 0) // as one should
	}
	if got.Outcome != Done {
		return
	}
	if req.Wait != 0 && c.chance(90) || c.chance(30) {
		c.heartbeat(ctx, req, got.Got)
	}
	switch n := c.r.IntN(20); n {
	case 0: // for longer than the lease lasts, unless it is a session's
		if req.TTL <= c.Wait {
			sleep(ctx, req.TTL+c.upTo(c.Hold))
		}
	case 1, 2: // for so long that it has to be renewed
		for range 1 + c.r.IntN(3) {
			sleep(ctx, min(req.TTL/2, 3*c.Hold))
			c.heartbeat(ctx, req, got.Got)
		}
	default:
		c.pause(ctx, c.Hold)
	}
	if c.chance(30) {
		c.check(ctx, req.ID, got.Got)
	}
	c.end(ctx, req, got.Got, bound)
}

// draw chooses what to ask for, and when to leave while waiting (0: never).
func (c *client) draw() (req locks.AcquireRequest, bound bool, leave time.Duration) {
	req.ID = c.IDs()[c.r.IntN(3)]
	req.TTL = c.TTLs[c.r.IntN(len(c.TTLs))]
	switch n := c.r.IntN(20); {
	case n < 14:
		req.Owner = locks.Owner(fmt.Sprintf("owner-%d", c.n))
	case n < 16: // which others use too
		req.Owner = locks.Owner(fmt.Sprintf("pair-%d", c.n/2))
	}
	switch {
	case req.ID == limitedLock:
		req.Mode, req.Limit = locks.Shared, limit
	case req.ID == mixedLock && c.chance(60):
		req.Mode = locks.Shared
	}
	if c.chance(70) && c.conn.Waits() {
		req.Wait = c.Wait/4 + c.upTo(c.Wait)
		if c.chance(10) {
			leave = c.upTo(c.Wait / 4)
		}
	}
	return req, c.conn.Binds() && c.chance(20), leave
}

func (c *client) acquire(ctx context.Context, req locks.AcquireRequest, bound bool, leave time.Duration) Event {
	e := Event{Op: OpAcquire, ID: req.ID, Owner: req.Owner, Mode: req.Mode, Limit: req.Limit, TTL: req.TTL, Wait: req.Wait, Session: bound}
	if leave > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, leave)
		defer cancel()
	}
	return c.do(ctx, e, func(e *Event) error {
		lease, err := c.conn.Acquire(ctx, req, bound)
		e.Got = lease.Token
		return err
	})
}

func (c *client) heartbeat(ctx context.Context, req locks.AcquireRequest, token locks.Token) {
	claim := locks.Claim{Token: token}
	if req.Owner != "" && c.chance(20) {
		claim = locks.Claim{Owner: req.Owner}
	}
	c.do(ctx, Event{Op: OpHeartbeat, ID: req.ID, Owner: claim.Owner, Token: claim.Token}, func(e *Event) error {
		lease, err := c.conn.Heartbeat(ctx, locks.HeartbeatRequest{ID: req.ID, Claim: claim})
		e.Got = lease.Token
		if err == nil && lease.TTL == 0 {
			return locks.ErrHeld // None: the lock was free
		}
		return err
	})
}

func (c *client) check(ctx context.Context, id locks.ID, token locks.Token) {
	c.do(ctx, Event{Op: OpCheck, ID: id, Token: token}, func(*Event) error {
		live, err := c.conn.Check(ctx, id, token)
		if err == nil && !live {
			return locks.ErrHeld
		}
		return err
	})
}

// end gives a lease back in one of several ways, or leaves it to its TTL.
func (c *client) end(ctx context.Context, req locks.AcquireRequest, token locks.Token, bound bool) {
	switch n := c.r.IntN(20); {
	case bound && n < 8:
		c.hangUp()
		if c.connect() {
			c.pause(ctx, c.Hold)
			c.check(ctx, req.ID, token)
		}
	case n < 2 && req.TTL <= c.Wait: // it runs out
	case n < 6 && req.Owner != "":
		c.release(ctx, locks.ReleaseRequest{ID: req.ID, Claim: locks.Claim{Owner: req.Owner}})
	case n < 7 && req.Owner == "":
		c.release(ctx, locks.ReleaseRequest{ID: req.ID})
	case n == 8 && c.Fierce:
		c.release(ctx, locks.ReleaseRequest{ID: req.ID, Force: true})
	default:
		c.release(ctx, locks.ReleaseRequest{ID: req.ID, Claim: locks.Claim{Token: token}})
	}
	if c.chance(20) {
		c.check(ctx, req.ID, token)
	}
}

// release releases, and once more if it was not answered.
func (c *client) release(ctx context.Context, req locks.ReleaseRequest) {
	e := Event{Op: OpRelease, ID: req.ID, Owner: req.Claim.Owner, Token: req.Claim.Token, Force: req.Force}
	for range 2 {
		got := c.do(ctx, e, func(e *Event) error {
			released, err := c.conn.Release(ctx, req)
			e.Ended = released.Ended
			if err == nil && released.Ended == 0 {
				return locks.ErrHeld // None: the lock was free
			}
			return err
		})
		if got.Outcome != Unknown {
			return
		}
	}
}

// look describes the locks again and again.
func (c *client) look(ctx context.Context) {
	defer c.hangUp()
	for ctx.Err() == nil {
		c.pause(ctx, 2*c.Look)
		id := c.IDs()[c.r.IntN(3)]
		c.do(context.WithoutCancel(ctx), Event{Op: OpInfo, ID: id}, func(e *Event) error {
			info, err := c.conn.Info(context.WithoutCancel(ctx), id)
			e.Waiters = info.Waiters
			for _, h := range info.Holders {
				e.Holders = append(e.Holders, h.Token)
			}
			return err
		})
	}
}
