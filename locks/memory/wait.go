package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// This file is what a waiting request's goroutine does: it sleeps until it has
// an answer, its time is over, or its caller has gone.

// wait returns what a request in the queue comes to.
func (e *Engine) wait(ctx context.Context, w *waiter) (locks.Lease, error) {
	var over <-chan time.Time
	if w.req.Wait != locks.Forever {
		timer := time.NewTimer(w.req.Wait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case a := <-w.answer:
		return e.take(ctx, w, a)
	case <-over:
		return e.giveUp(ctx, w)
	case <-ctx.Done():
		return e.abandon(ctx, w)
	}
}

// take hands an answer to the caller. The select takes any case that is ready,
// so a lease may come out of it though the caller had gone before the grant.
func (e *Engine) take(ctx context.Context, w *waiter, a answer) (locks.Lease, error) {
	if a.err == nil && ctx.Err() != nil {
		return e.decline(ctx, w, a.lease.Token)
	}
	if a.err != nil {
		return locks.Lease{}, waitError(w.req.ID, a.err)
	}
	return a.lease, nil
}

// giveUp leaves the queue at the end of the wait. If the answer came first, the
// caller gets it: it is still there.
func (e *Engine) giveUp(ctx context.Context, w *waiter) (locks.Lease, error) {
	if e.leave(w) {
		return locks.Lease{}, waitError(w.req.ID, locks.ErrHeld)
	}
	return e.take(ctx, w, <-w.answer)
}

// abandon leaves the queue because the caller has gone. If the grant came first,
// the lease is passed on.
func (e *Engine) abandon(ctx context.Context, w *waiter) (locks.Lease, error) {
	if e.leave(w) {
		return locks.Lease{}, waitError(w.req.ID, ended(ctx))
	}
	return e.take(ctx, w, <-w.answer)
}

// decline passes on a lease whose caller has gone.
func (e *Engine) decline(ctx context.Context, w *waiter, token locks.Token) (locks.Lease, error) {
	// An engine that was closed meanwhile has no leases left to pass on.
	_ = e.shardFor(w.req.ID).step("passing on", w.req.ID, false, func(l *lock, now instant) error {
		l.passOn(token, now, e)
		return nil
	})
	return locks.Lease{}, waitError(w.req.ID, ended(ctx))
}

// leave takes a waiter out of its queue, and reports whether it was still in. If
// not, its answer is in its channel: also when the engine was closed, for every
// waiter is told.
func (e *Engine) leave(w *waiter) (left bool) {
	_ = e.shardFor(w.req.ID).step("leaving", w.req.ID, false, func(l *lock, now instant) error {
		left = l.leave(w, now, e)
		return nil
	})
	return left
}

func waitError(id locks.ID, err error) error { return fmt.Errorf("waiting for %q: %w", id, err) }
