package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// This file sees an operation through: which copies of it are sent, and what
// becomes of it if no answer comes.

// do does the operations, which go in order and in one batch, and notes in each
// what it came to. A deadline of ctx is kept; being cancelled ends a call only before
// it is sent, since a reply is due within the engine's time-out.
func (e *Engine) do(ctx context.Context, calls ...*call) {
	// Held to the end, so that Close can wait for what is under way: an acquire
	// that gets no answer must be in the doubts before they are settled last.
	e.running.RLock()
	defer e.running.RUnlock()
	if err := e.serves(); err != nil {
		for _, c := range calls {
			c.failed(err)
		}
		return
	}
	e.send(ctx, calls)
	for _, c := range calls {
		// One that waits is no doubt: an undo would take it out of the queue, or end what it was granted. If a copy of
		// it may still come, that is seen to when it leaves.
		if c.doubtful && c.ran && !answered(c) {
			e.doubts.add(newDoubt(c.req, c.entry, c.deadline))
		}
	}
}

// send sends the calls as often as they may be sent.
func (e *Engine) send(ctx context.Context, calls []*call) {
	now := time.Now()
	u := &unit{ctx: ctx, calls: calls, until: now.Add(e.timeout)}
	if d, ok := ctx.Deadline(); ok && d.Before(u.until) {
		u.until = d
	}
	if err := ctx.Err(); err != nil {
		u.fail(fmt.Errorf("%w: %w", errUnsent, err))
		return
	}
	sent := e.clock.at(now)
	for copies := 1; ; copies++ {
		e.batches.run(u)
		if len(u.calls) > 1 && broken(u.calls[0].err) {
			forbidCopies(u.calls)
		}
		u.calls = e.open(u.calls)
		if len(u.calls) == 0 {
			return
		}
		if copies == maxSends || ctx.Err() != nil || time.Until(u.until) <= 0 {
			break
		}
		for _, c := range u.calls {
			c.again(sent)
		}
	}
	for _, c := range u.calls {
		e.gaveUp(c)
	}
}

// forbidCopies sees to it that no copy is sent of operations on a lock that has several
// of them in the unit. Copies are known by what the first has left behind, if only
// strangers came between; here the client's own next operation did, and the
// copy of an acquire would be granted anew after the release that followed it.
func forbidCopies(calls []*call) {
	type tally struct{ all, changes int }
	of := make(map[locks.ID]tally, len(calls))
	for _, c := range calls {
		n := of[c.id]
		n.all++
		if c.changes() {
			n.changes++
		}
		of[c.id] = n
	}
	for _, c := range calls {
		if n := of[c.id]; n.all > 1 && n.changes > 0 {
			c.once = true
		}
	}
}

// open returns the calls of which a copy is to be sent, and takes note of the others'
// outcome.
func (e *Engine) open(calls []*call) (again []*call) {
	for _, c := range calls {
		switch {
		case c.err == nil:
			e.health.answered()
		case c.sendAgain():
			again = append(again, c)
		default:
			e.gaveUp(c)
		}
	}
	return again
}

// gaveUp takes note that a call has failed for good.
func (e *Engine) gaveUp(c *call) {
	c.err = fmt.Errorf("at key %q: %w", c.key, c.err)
	if !errors.Is(c.err, errUnsent) && !errors.Is(c.err, locks.ErrBusy) { // of which the server knows nothing
		e.health.failed(c.err)
	}
}

// ask does one operation.
func (e *Engine) ask(ctx context.Context, c *call) (reply, error) {
	e.do(ctx, c)
	return c.outcome()
}
