// Package memory is the embedded engine: it keeps locks in the process, and
// loses them with it.
//
// machine.go is what happens to one lock, without time or concurrency; crowd.go
// its shared holders, queue.go those who wait for it. shard.go gives the machine
// a mutex, a clock and a timer; engine.go, this file, spreads locks over shards
// and is the whole of the exported interface; wait.go is how a request waits for
// its answer; scan.go lists the held locks.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	defaultShards = 256
	maxShards     = 4096
)

// Options say how an engine works. The zero value is what a service wants.
type Options struct {
	// Now is the clock by which leases expire. Only differences between its
	// readings count, so the monotonic part of time.Now makes it proof against
	// a wall clock that is set. It must be safe for concurrent use. Nil:
	// time.Now.
	Now func() time.Time

	// Wall is the clock in tokens. It must be safe for concurrent use. Nil: Now.
	Wall func() time.Time

	// Shards is over how many mutexes the locks are spread, at most 4096.
	// 0 or less: 256.
	Shards int

	// MaxWaiters is how many requests may wait for one lock. 0 or less:
	// locks.DefaultMaxWaiters.
	MaxWaiters int
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wall == nil {
		o.Wall = o.Now
	}
	if o.Shards <= 0 {
		o.Shards = defaultShards
	}
	o.Shards = min(o.Shards, maxShards)
	if o.MaxWaiters <= 0 {
		o.MaxWaiters = locks.DefaultMaxWaiters
	}
	return o
}

// Engine is a locks.Engine that keeps everything in the process. Leases end
// within 100 ms of their expiry also when nobody asks, which hands over to who
// waits, and their memory is given back. It is safe for concurrent use.
type Engine struct {
	options Options
	start   time.Time
	seed    maphash.Seed
	floor   atomic.Int64 // the highest token granted, of any lock
	shards  []shard
}

var _ locks.Engine = (*Engine)(nil)

// New returns an engine with no locks. Close it to stop its timers.
func New(options Options) *Engine {
	options = options.withDefaults()
	e := &Engine{
		options: options,
		start:   options.Now(),
		seed:    maphash.MakeSeed(),
		shards:  make([]shard, options.Shards),
	}
	for i := range e.shards {
		e.shards[i].engine = e
	}
	return e
}

// Acquire implements locks.Engine. It returns locks.ErrUnavailable also if there
// is no token left, which is so when the clock is past the year 2255.
func (e *Engine) Acquire(ctx context.Context, req locks.AcquireRequest) (lease locks.Lease, err error) {
	var w *waiter
	err = e.step(ctx, "acquiring", req.ID, true, func(l *lock, now instant) (err error) {
		lease, w, err = l.acquire(req, now, e, e.options.MaxWaiters)
		return err
	})
	if w != nil {
		return e.wait(ctx, w)
	}
	return lease, err
}

// Release implements locks.Engine.
func (e *Engine) Release(ctx context.Context, req locks.ReleaseRequest) (released locks.Released, err error) {
	err = e.step(ctx, "releasing", req.ID, false, func(l *lock, now instant) (err error) {
		released, err = l.release(req, now, e)
		return err
	})
	return released, err
}

// Heartbeat implements locks.Engine.
func (e *Engine) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (lease locks.Lease, err error) {
	err = e.step(ctx, "renewing lease of", req.ID, false, func(l *lock, now instant) (err error) {
		lease, err = l.heartbeat(req, now)
		return err
	})
	return lease, err
}

// Renew implements locks.Engine.
func (e *Engine) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	results := make([]locks.Renewed, len(reqs))
	for i, req := range reqs {
		results[i].Lease, results[i].Err = e.Heartbeat(ctx, req)
	}
	return results
}

// ReleaseAll implements locks.Engine.
func (e *Engine) ReleaseAll(ctx context.Context, reqs []locks.ReleaseRequest) []locks.ReleaseResult {
	results := make([]locks.ReleaseResult, len(reqs))
	for i, req := range reqs {
		results[i].Released, results[i].Err = e.Release(ctx, req)
	}
	return results
}

// Do implements locks.Engine.
func (e *Engine) Do(ctx context.Context, ops []locks.Op) { locks.DoEach(ctx, e, ops) }

// Check implements locks.Engine.
func (e *Engine) Check(ctx context.Context, id locks.ID, token locks.Token) (live bool, err error) {
	err = e.step(ctx, "checking token of", id, false, func(l *lock, _ instant) error {
		live = l.check(token)
		return nil
	})
	return live, err
}

// Info implements locks.Engine.
func (e *Engine) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	info := locks.Info{ID: id, Mode: locks.Free}
	err := e.step(ctx, "describing", id, false, func(l *lock, now instant) error {
		info = l.info(now)
		return nil
	})
	if err != nil {
		return locks.Info{}, err
	}
	// Sorted here, outside the mutex: there may be thousands of holders.
	slices.SortFunc(info.Holders, func(a, b locks.Holder) int { return cmp.Compare(a.Token, b.Token) })
	return info, nil
}

// Held returns how many locks are held, at little cost. It counts a lease that
// has expired until the engine notices, which takes less than 100 ms.
func (e *Engine) Held() int {
	var n int64
	for i := range e.shards {
		n += e.shards[i].held.Load()
	}
	return int(n)
}

// Ready implements locks.Engine: the engine is ready until it is closed.
func (e *Engine) Ready(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return fmt.Errorf("asking whether the engine is ready: %w", err)
	}
	s := &e.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return locks.ErrShutdown
	}
	return nil
}

// Close ends every wait, forgets every lock and stops every timer. Waiting
// requests and later operations return locks.ErrShutdown. Closing again does
// nothing. The error is always nil.
func (e *Engine) Close() error {
	for i := range e.shards {
		e.shards[i].close()
	}
	return nil
}

// step runs one step of the machine on the lock, in its shard.
func (e *Engine) step(ctx context.Context, action string, id locks.ID, create bool, do func(l *lock, now instant) error) error {
	if err := ended(ctx); err != nil {
		return fmt.Errorf("%s %q: %w", action, id, err)
	}
	return e.shardFor(id).step(action, id, create, do)
}

func (e *Engine) shardFor(id locks.ID) *shard { return &e.shards[e.shardOf(e.position(id))] }

// ended returns nil, or locks.ErrUnavailable with the reason why ctx is over.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", locks.ErrUnavailable, context.Cause(ctx))
}

func (e *Engine) now() instant { return instant(e.options.Now().Sub(e.start)) }

// mint makes the token of a lease. Locks of different shards mint at the same
// time; with a load and a store in place of the swap, the one with the lower
// token could store last, and lower the floor under the other.
func (e *Engine) mint(last locks.Token) (locks.Token, error) {
	for {
		floor := e.floor.Load()
		token, err := locks.Next(last, e.options.Wall(), locks.Token(floor))
		if err != nil {
			return 0, err
		}
		if e.floor.CompareAndSwap(floor, int64(token)) {
			return token, nil
		}
	}
}
