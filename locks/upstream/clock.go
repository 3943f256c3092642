package upstream

import (
	"sync/atomic"
	"time"
)

// clock estimates the server's clock, so that a request can carry the moment
// after which it must not run any more. It is as fresh as the latest reply. It
// never decides who holds a lock; but a short lease that seems to be over when
// its waiter hears of it is not given out. A reply may have been long on its way,
// or this process have stood still, so for that the clock is taken to be as late as it can be.
// Safe for concurrent use.
type clock struct {
	start  time.Time    // monotonic zero
	offset atomic.Int64 // server's µs minus µs since start; 0: not known yet
	most   atomic.Int64 // the same, if the server said its time when it was asked, and the reply took long
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) sinceStart(t time.Time) int64 { return t.Sub(c.start).Microseconds() }

// seen takes note of the server's time in a reply that has just arrived, to what was
// sent then.
func (c *clock) seen(now int64, sent time.Time) {
	c.most.Store(now - c.sinceStart(sent))
	c.offset.Store(now - c.sinceStart(time.Now()))
}

func (c *clock) known() bool { return c.offset.Load() != 0 }

// at returns the server's time, in µs, at a moment of our own.
func (c *clock) at(t time.Time) int64 { return c.offset.Load() + c.sinceStart(t) }

// latest returns the latest that the server's clock can show, in µs, at a moment of
// our own.
func (c *clock) latest(t time.Time) int64 { return c.most.Load() + c.sinceStart(t) }
