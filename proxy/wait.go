package proxy

// This file is LOCK.ACQUIRE with BLOCK: a command that waits.

import (
	"context"
	"errors"
	"time"

	"github.com/tidwall/redcon"

	"github.com/goodjobtech/candado/locks"
)

// passOnTime bounds the release of a lease whose client is gone.
const passOnTime = 5 * time.Second

// wait acquires for a client that waits. Replies that are due go out first. The
// wait ends when the client is gone, and when candado is to stop.
func (c *call) wait(req locks.AcquireRequest, session bool) (locks.Lease, error) {
	if !c.sess.flush(c.conn) {
		c.sess.guard.hangUp()
		return locks.Lease{}, errGone
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	defer context.AfterFunc(c.srv.waiting, cancel)()
	stop := c.sess.guard.watch(cancel)
	lease, err := c.ask(ctx, req, session)
	gone := stop()
	switch {
	case gone:
		return locks.Lease{}, c.leave(ctx, req.ID, lease, session)
	case errors.Is(err, locks.ErrUnavailable) && c.srv.waiting.Err() != nil:
		return locks.Lease{}, locks.ErrShutdown
	}
	return lease, err
}

// ask asks the engine, or, for a lease that is to follow the connection, the session.
func (c *call) ask(ctx context.Context, req locks.AcquireRequest, session bool) (locks.Lease, error) {
	if session {
		return c.sess.leases.Acquire(ctx, req)
	}
	return c.srv.engine.Acquire(ctx, req)
}

// leave ends a connection whose client has left while it waited. A lease that
// it was granted in the very last moment is passed on: had the engine known in
// time, it would have done that itself. A session lease ends with the connection.
func (c *call) leave(ctx context.Context, id locks.ID, lease locks.Lease, session bool) error {
	if lease.Token != 0 && !session {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), passOnTime)
		defer cancel()
		// It may fail, as when the lease was ended meanwhile; then its TTL is all that is left to end it.
		_, _ = c.srv.engine.Release(ctx, locks.ReleaseRequest{ID: id, Claim: locks.Claim{Token: lease.Token}, Untold: true})
	}
	c.sess.guard.hangUp()
	if c.sess.guard.in.Overrun() {
		return replyError(errAhead.Error())
	}
	return errGone
}

// flush writes the replies that redcon holds back until the end of the batch.
// It reports whether the client still takes them.
func (s *session) flush(conn redcon.Conn) bool {
	w := redcon.BaseWriter(conn)
	if s.pending == 0 || w == nil {
		return true
	}
	s.pending = 0
	return w.Flush() == nil
}
