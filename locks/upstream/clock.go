package upstream

import (
	"sync/atomic"
	"time"
)

// clock estimates the server's clock, so that a request can carry the moment
// after which it must not run any more. It is as fresh as the latest reply. It
// never decides who holds a lock; but a short lease that seems to be over when
// its waiter hears of it is not given out. Safe for concurrent use.
type clock struct {
	start  time.Time    // monotonic zero
	offset atomic.Int64 // server's µs minus µs since start; 0: not known yet
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) sinceStart(t time.Time) int64 { return t.Sub(c.start).Microseconds() }

// seen takes note of the server's time in a reply that has just arrived.
func (c *clock) seen(now int64) { c.offset.Store(now - c.sinceStart(time.Now())) }

func (c *clock) known() bool { return c.offset.Load() != 0 }

// at returns the server's time, in µs, at a moment of our own.
func (c *clock) at(t time.Time) int64 { return c.offset.Load() + c.sinceStart(t) }
