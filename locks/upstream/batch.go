package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// This file sends the operations of all connections to the server, many in one
// script. A request that finds nothing under way goes at once, by its own goroutine.
// While a flight is under way, requests gather, and the next flight takes all
// of them along: so a lone client waits for nobody, and under load the cost of a
// round trip is shared.

const (
	// crowd is how many operations have to wait for a second flight to begin beside
	// the first: while the server runs one batch, the other is on the wire. With
	// fewer, they do better to share a flight.
	crowd = 16

	// MaxQueued is how many operations may wait for a flight. Each takes less
	// than 1 KiB with a short ID and owner.
	MaxQueued = 1 << 16

	// spread is the part of the engine's time-out by which the deadlines in one
	// batch may differ: it has the first of them, and nobody's time should be cut
	// short much by a stranger's.
	spread = 8

	// maxSlow is how many flights may have given their place to others. The
	// rest of the connections is for what goes alone.
	maxSlow = poolSize / 2
)

// errUnsent: the request's time was up, or its caller gone, before it was sent.
var errUnsent = errors.New("the time was up before the request could be sent")

var errQueueFull error = &locks.QuotaError{Quota: locks.QuotaUpstreamOperations}

// A unit is what goes in one flight and in order: one client's operations. It
// belongs to the batcher from run until it is done.
type unit struct {
	ctx   context.Context
	calls []*call
	until time.Time
	done  chan struct{} // has an element when each call has its outcome

	// Guarded by the batcher's mu, once the unit is in its queue:
	taken     bool // by a flight
	withdrawn bool
}

// batcher gathers units and flies them to the server. Safe for concurrent use.
type batcher struct {
	script script.Script
	engine *Engine
	most   int // operations in one script, but for a unit that alone has more
	atOnce int // flights below which a request goes at once
	slack  time.Duration

	mu     sync.Mutex
	flying int     // flights under way, but for slow ones
	slow   int     // flights that have given their place to others
	queue  []*unit // in the order in which they came
	queued int     // operations in queue, but for what was withdrawn
	air    underWay
}

func newBatcher(e *Engine, most int) *batcher {
	b := &batcher{script: e.scripts.Batch, engine: e, most: most, atOnce: 1, slack: e.timeout / spread}
	if most == 1 {
		b.atOnce = poolSize // nothing is gathered, so each needs a connection
	}
	return b
}

// run has the unit's calls done, each once. It returns when each has its
// outcome.
func (b *batcher) run(u *unit) {
	b.mu.Lock()
	if b.flying < b.atOnce {
		b.flying++
		b.mu.Unlock()
		if !b.fly([]*unit{u}) {
			b.land()
		}
		return
	}
	if b.queued+len(u.calls) > MaxQueued {
		b.mu.Unlock()
		u.fail(errQueueFull)
		return
	}
	u.done, u.taken, u.withdrawn = make(chan struct{}, 1), false, false
	b.queue = append(b.queue, u)
	b.queued += len(u.calls)
	if b.queued >= crowd && b.flying == 1 {
		b.flying++
		go b.shuttle()
	}
	b.mu.Unlock()
	// Flights end by the deadlines of what is in them, the engine's time-out. Who has
	// less time than that does not wait for theirs.
	if left := time.Until(u.until); left < b.engine.timeout-b.slack {
		defer time.AfterFunc(left, func() { b.withdraw(u) }).Stop()
	}
	<-u.done
}

// Queued returns how many operations wait for a flight, of MaxQueued that may.
func (e *Engine) Queued() int {
	b := e.batches
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queued
}

// withdraw fails a unit that is still in the queue.
func (b *batcher) withdraw(u *unit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.taken || u.withdrawn {
		return
	}
	if b.drop(u); b.queued == 0 {
		b.queue = nil
	}
}

// land ends a flight of a request's own. If others have come meanwhile, they are
// flown until there are none: not by this goroutine, whose client waits for its
// answer.
func (b *batcher) land() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.enough() {
		go b.shuttle()
		return
	}
	b.flying--
}

// enough reports whether a flight that has landed may go on. b.mu is held.
func (b *batcher) enough() bool {
	if b.flying > b.atOnce {
		return b.queued >= crowd
	}
	return b.queued > 0
}

// shuttle flies what is queued, until nothing is.
func (b *batcher) shuttle() {
	for units := b.take(); len(units) > 0; units = b.take() {
		relieved := b.fly(units)
		for _, u := range units {
			u.done <- struct{}{}
		}
		if relieved {
			return
		}
	}
}

// take takes the units of the next flight from the queue. If there are none, or too
// few for a second one, the flight is over.
func (b *batcher) take() []*unit {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.enough() {
		if units := b.board(time.Now()); len(units) > 0 {
			return units
		}
	}
	b.flying--
	return nil
}

// board takes the first units that can fly together from the queue. Nothing is
// done any more for a client that has left, or whose time is up. b.mu is held.
func (b *batcher) board(now time.Time) (units []*unit) {
	n, ops := 0, 0
	var others []*unit // whose deadlines do not fit
fill:
	for ; n < len(b.queue); n++ {
		switch u := b.queue[n]; {
		case u.withdrawn:
		case !u.until.After(now) || u.ctx.Err() != nil:
			b.drop(u)
		case len(units) > 0 && !b.together(units[0].until, u.until, now):
			others = append(others, u)
		case len(units) > 0 && ops+len(u.calls) > b.most:
			break fill
		default:
			units, ops = append(units, u), ops+len(u.calls)
			b.queued -= len(u.calls)
			u.taken = true
		}
	}
	b.queue = b.queue[n-len(others):]
	copy(b.queue, others)
	if len(b.queue) == 0 {
		b.queue = nil
	}
	return units
}

// drop fails a unit that is in the queue. It stays there until its turn, since
// thousands may be dropped at once; it does not come again. b.mu is held.
func (b *batcher) drop(u *unit) {
	u.withdrawn = true
	b.queued -= len(u.calls)
	u.fail(errUnsent)
	u.done <- struct{}{}
}

// together reports whether units with these deadlines may fly together: neither
// loses much of its time, nor more than half of what is left of it.
func (b *batcher) together(t, u, now time.Time) bool {
	if u.Before(t) {
		t, u = u, t
	}
	return u.Sub(t) <= min(b.slack, t.Sub(now))
}

// fly sends the units' calls as one batch, and notes in each what it came to. It
// reports whether another flight has taken its place meanwhile.
func (b *batcher) fly(units []*unit) (relieved bool) {
	calls, until := aboard(units)
	f := b.begin(until)
	ops, beside := apart(calls)
	takeOuts := b.engine.takeOuts(f, beside)
	items, now, err := b.send(f, ops, takeOuts)
	for n, c := range ops {
		r, err := reply{}, err
		if err == nil {
			r, err = b.engine.item(c, items[n], now, f.begun)
		}
		c.came(r, err)
	}
	for n, c := range beside {
		c.came(b.engine.tookOut(takeOuts[n]))
	}
	return b.end(f)
}

// aboard returns the units' calls, and the first of their deadlines.
func aboard(units []*unit) (calls []*call, until time.Time) {
	first := units[0]
	calls, until = first.calls[:len(first.calls):len(first.calls)], first.until
	for _, u := range units[1:] {
		calls = append(calls, u.calls...)
		if u.until.Before(until) {
			until = u.until
		}
	}
	return calls, until
}

func (u *unit) fail(err error) {
	for _, c := range u.calls {
		c.failed(err)
	}
}

// send sends a batch a single time, with the commands beside it, and returns what
// the operations came to, and the server's time.
func (b *batcher) send(ctx *flight, calls []*call, beside []redis.Cmder) (items []any, now int64, err error) {
	e := b.engine
	if len(calls) == 0 {
		e.process(ctx, beside)
		return nil, 0, nil
	}
	if err := e.learnTime(ctx); err != nil {
		for _, cmd := range beside {
			cmd.SetErr(fmt.Errorf("%w: %w", errUnsent, err))
		}
		return nil, 0, fmt.Errorf("%w: %w", errUnsent, err)
	}
	v, err := b.eval(ctx, b.command(calls, e.clock.at(ctx.until)), beside)
	if err != nil {
		return nil, 0, err
	}
	status, now, items, err := beginning(v)
	if err != nil {
		return nil, 0, err
	}
	e.clock.seen(now, ctx.begun)
	switch {
	case status == statusLate:
		return nil, 0, errLate
	case status != statusDone || len(items) != len(calls):
		return nil, 0, fmt.Errorf("the script's reply has status %d and is about %d operations, want %d", status, len(items), len(calls))
	}
	return items, now, nil
}

// command returns the calls as an EVALSHA.
func (b *batcher) command(calls []*call, deadline int64) []any {
	args := make([]any, 0, 7+2*len(calls))
	args = append(args, "evalsha", b.script.SHA, len(calls))
	for _, c := range calls {
		c.deadline = max(c.deadline, deadline)
		args = append(args, (*keyOf)(c))
	}
	args = append(args, deadline, b.engine.floor.Load(), b.engine.waiting.self, b.engine.most)
	for _, c := range calls {
		args = append(args, (*opOf)(c))
	}
	return args
}

// eval sends an EVALSHA, and an EVAL if the server says that it does not know
// the script, which proves that nothing ran.
func (b *batcher) eval(ctx context.Context, args []any, beside []redis.Cmder) (any, error) {
	cmd := redis.NewCmd(ctx, args...)
	if len(beside) == 0 {
		_ = b.engine.client.Process(ctx, cmd)
	} else {
		b.engine.process(ctx, append(beside, cmd))
	}
	err := cmd.Err()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		args[0], args[1] = "eval", b.script.Source
		cmd = redis.NewCmd(ctx, args...)
		err = b.engine.client.Process(ctx, cmd)
	}
	return cmd.Val(), err
}

// item reads what one operation of a batch came to that was sent then.
func (e *Engine) item(c *call, v any, now int64, sent time.Time) (reply, error) {
	n, ok := v.(int64)
	if !ok {
		return e.parse(c, v, sent)
	}
	return reply{status: min(n, statusDone), now: now, value: n}, nil
}
