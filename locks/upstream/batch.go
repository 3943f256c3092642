package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

	// maxQueued is how many operations may wait for a flight. Each takes less
	// than 1 KiB with a short ID and owner.
	maxQueued = 1 << 16

	// spread is the part of the engine's time-out by which the deadlines in one
	// batch may differ: it has the first of them, and nobody's time should be cut
	// short much by a stranger's.
	spread = 8
)

// errUnsent: the request's time was up, or its caller gone, before it was sent.
var errUnsent = errors.New("the time was up before the request could be sent")

var errQueueFull = fmt.Errorf("%d operations wait for the upstream: %w", maxQueued, locks.ErrBusy)

// A unit is what goes in one flight and in order: one client's operations. It
// belongs to the batcher from run until it is done.
type unit struct {
	ctx   context.Context
	calls []*call
	until time.Time
	done  chan struct{} // has an element when each call has its outcome
}

// batcher gathers units and flies them to the server. Safe for concurrent use.
type batcher struct {
	script script.Script
	engine *Engine
	most   int // operations in one script, but for a unit that alone has more
	atOnce int // flights below which a request goes at once
	slack  time.Duration

	mu     sync.Mutex
	flying int     // flights under way
	queue  []*unit // in the order in which they came
	queued int     // operations in queue
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
		b.fly([]*unit{u})
		b.land()
		return
	}
	if b.queued+len(u.calls) > maxQueued {
		b.mu.Unlock()
		u.fail(errQueueFull)
		return
	}
	u.done = make(chan struct{}, 1)
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

// withdraw fails a unit that is still in the queue.
func (b *batcher) withdraw(u *unit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.queue {
		if other == u {
			b.queue = slices.Delete(b.queue, i, i+1)
			b.queued -= len(u.calls)
			u.fail(errUnsent)
			u.done <- struct{}{}
			return
		}
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
		b.fly(units)
		for _, u := range units {
			u.done <- struct{}{}
		}
	}
}

// take takes the units of the next flight from the queue. If there are none, or too
// few for a second one, the flight is over.
func (b *batcher) take() (units []*unit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.enough() {
		b.flying--
		return nil
	}
	ops := 0
	for n, u := range b.queue {
		if ops += len(u.calls); n > 0 && (ops > b.most || u.until.Sub(b.queue[0].until).Abs() > b.slack) {
			ops -= len(u.calls)
			break
		}
		units = append(units, u)
	}
	b.queued -= ops
	if b.queue = b.queue[len(units):]; len(b.queue) == 0 {
		b.queue = nil
	}
	return units
}

// fly sends the units' calls as one batch, and notes in each what it came to.
func (b *batcher) fly(units []*unit) {
	calls, until := boarding(units)
	if len(calls) == 0 {
		return
	}
	items, now, err := b.send(calls, until)
	for n, c := range calls {
		r, err := reply{}, err
		if err == nil {
			r, err = b.engine.item(c, items[n], now)
		}
		if c.reply, c.err = r, nil; err != nil {
			c.failed(err)
		}
	}
}

// boarding returns the calls to be sent, and their deadline. Nothing is done any
// more for a client that has left, or whose time is up.
func boarding(units []*unit) (calls []*call, until time.Time) {
	now := time.Now()
	for _, u := range units {
		switch {
		case !u.until.After(now) || u.ctx.Err() != nil:
			u.fail(errUnsent)
			continue
		case len(calls) == 0:
			calls, until = u.calls[:len(u.calls):len(u.calls)], u.until
			continue
		case u.until.Before(until):
			until = u.until
		}
		calls = append(calls, u.calls...)
	}
	return calls, until
}

func (u *unit) fail(err error) {
	for _, c := range u.calls {
		c.failed(err)
	}
}

// send sends a batch a single time, and returns what the operations came to, and
// the server's time.
func (b *batcher) send(calls []*call, until time.Time) (items []any, now int64, err error) {
	e, ctx := b.engine, deadline{context.Background(), until}
	if err := e.learnTime(ctx); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errUnsent, err)
	}
	v, err := b.eval(ctx, b.command(calls, e.clock.at(until)))
	if err != nil {
		return nil, 0, err
	}
	status, now, items, err := beginning(v)
	if err != nil {
		return nil, 0, err
	}
	e.clock.seen(now)
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
func (b *batcher) eval(ctx context.Context, args []any) (any, error) {
	cmd := redis.NewCmd(ctx, args...)
	err := b.engine.client.Process(ctx, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		args[0], args[1] = "eval", b.script.Source
		cmd = redis.NewCmd(ctx, args...)
		err = b.engine.client.Process(ctx, cmd)
	}
	return cmd.Val(), err
}

// item reads what one operation of a batch came to.
func (e *Engine) item(c *call, v any, now int64) (reply, error) {
	n, ok := v.(int64)
	if !ok {
		return e.parse(c, v)
	}
	return reply{status: min(n, statusDone), now: now, value: n}, nil
}

// deadline is a context that has a deadline and no timer: the client library
// bounds each read and write by it.
type deadline struct {
	context.Context
	at time.Time
}

// Deadline implements context.Context.
func (d deadline) Deadline() (time.Time, bool) { return d.at, true }
