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
	return locks.Lease{}, c.giveUp(errGone)
}

// giveUp ends the connection of a client that has left, or has sent too much, while a
// command of its waited. It returns what the command ends with: left, or that it was too much.
func (c *call) giveUp(left replyError) error {
	g := c.sess.guard
	g.hangUp()
	if !g.in.Overrun() {
		return left
	}
	c.srv.opts.Exceeded(locks.QuotaAheadBytes)
	if g.frames.stranger {
		return replyError(errStrangerAhead.Error())
	}
	return replyError(errAhead.Error())
}

// untold is a lease that a client has waited for, and of which it does not know yet.
type untold struct {
	id    locks.ID
	lease locks.Lease
	end   int // where the reply ends that tells of it
}

// grant replies with a lease that was waited for. Unless it ends with the connection, it is to
// be given back if the client never gets to know of it.
func (c *call) grant(id locks.ID, lease locks.Lease, session bool) {
	c.int(int64(lease.Token))
	if !session && !c.muted {
		c.untold = append(c.untold, untold{id, lease, len(c.b)})
	}
}

// told takes note that so many bytes of the replies that were due are on their way, and
// that the others never will be.
func (c *call) told(n int) {
	for _, u := range c.untold {
		if u.end > n {
			hangup.PassOn(c.ctx, c.srv.engine, u.id, u.lease)
		}
	}
	c.untold = nil
}

// ask asks the engine, or, for a lease that is to follow the connection, the session.
func (c *call) ask(ctx context.Context, req locks.AcquireRequest, session bool) (locks.Lease, error) {
	if session {
		return c.sess.leases.Acquire(ctx, req)
	}
	return c.srv.engine.Acquire(ctx, req)
}
