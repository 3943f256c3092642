package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// passOnTime bounds the release of a lease whose client is gone.
const passOnTime = 5 * time.Second

// goneError ends a request whose client has left while it waited, and with it
// the connection. Only a client that closed its half of it can read the reply.
type goneError string

func (e goneError) Error() string { return string(e) }

const (
	errGone  goneError = "the connection, or the client's half of it, was closed while the request waited"
	errAhead goneError = "more than 64 KiB were sent behind a request that waits"
)

// ask asks the engine for a lease. A request that waits ends when its client is
// gone, and when candado is to stop.
func (s *Server) ask(c call, req locks.AcquireRequest) (locks.Lease, error) {
	if req.Wait == 0 {
		return s.options.Engine.Acquire(c.ctx, req)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	defer context.AfterFunc(s.waiting, cancel)()
	stop := c.conn.watch(cancel)
	lease, err := s.options.Engine.Acquire(ctx, req)
	gone := stop()
	switch {
	case gone:
		return locks.Lease{}, s.leave(c, lease)
	case errors.Is(err, locks.ErrUnavailable) && s.waiting.Err() != nil:
		return locks.Lease{}, locks.ErrShutdown
	}
	return lease, err
}

// leave passes on the lease that a client was granted in the moment in which it
// left. Had the engine known in time, it would have done that itself.
func (s *Server) leave(c call, lease locks.Lease) error {
	if lease.Token != 0 {
		// The base context may have ended: the client then was cut off by candado.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), passOnTime)
		defer cancel()
		// It may fail, as when the lease was ended meanwhile; then its TTL is all that is left to end it.
		_, _ = s.options.Engine.Release(ctx, locks.ReleaseRequest{ID: c.id, Claim: locks.Claim{Token: lease.Token}, Untold: true})
	}
	if c.conn.in.Overrun() {
		return errAhead
	}
	return errGone
}
