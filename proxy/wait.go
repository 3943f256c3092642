package proxy

// This file is LOCK.ACQUIRE with BLOCK: a command that waits.

import (
	"context"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/hangup"
)

// wait acquires for a client that waits. Replies that are due go out first. The
// wait ends when the client is gone, and when candado is to stop.
func (c *call) wait(req locks.AcquireRequest, session bool) (locks.Lease, error) {
	if !c.flush() {
		c.sess.guard.hangUp()
		return locks.Lease{}, errGone
	}
	// req holds no part of the command.
	c.args = nil
	c.sess.guard.spare()
	lease, gone, err := hangup.Acquire(c.ctx, c.srv.serving, c.sess.guard.watch, func(ctx context.Context) (locks.Lease, error) {
		return c.ask(ctx, req, session)
	})
	if !gone {
		return lease, err
	}
	if !session { // such a lease ends with the connection
		hangup.PassOn(c.ctx, c.srv.engine, req.ID, lease)
	}
	c.sess.guard.hangUp()
	if c.sess.guard.in.Overrun() {
		c.srv.opts.Exceeded(locks.QuotaAheadBytes)
		return locks.Lease{}, replyError(errAhead.Error())
	}
	return locks.Lease{}, errGone
}

// ask asks the engine, or, for a lease that is to follow the connection, the session.
func (c *call) ask(ctx context.Context, req locks.AcquireRequest, session bool) (locks.Lease, error) {
	if session {
		return c.sess.leases.Acquire(ctx, req)
	}
	return c.srv.engine.Acquire(ctx, req)
}
