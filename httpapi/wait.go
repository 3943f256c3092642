package httpapi

import (
	"context"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/hangup"
)

// goneError ends a request whose client has left while it waited, and with it
// the connection. Only a client that closed its half of it can read the reply.
type goneError string

func (e goneError) Error() string { return string(e) }

const (
	errGone  goneError = "the connection, or the client's half of it, was closed while the request waited"
	errAhead goneError = "more than 64 KiB were sent behind a request that waits"
)

// ask asks the engine for a lease. A request that waits ends when its client is
// gone, when its user is, and when candado is to stop.
func (s *Server) ask(c call, req locks.AcquireRequest) (locks.Lease, error) {
	if req.Wait == 0 {
		return s.options.Engine.Acquire(c.ctx, req)
	}
	ctx, done := s.stay(c)
	defer done()
	lease, gone, err := hangup.Acquire(ctx, s.waiting, c.conn.watch, func(ctx context.Context) (locks.Lease, error) {
		return s.options.Engine.Acquire(ctx, req)
	})
	removed := context.Cause(ctx) == errUserGone
	if !gone && !removed {
		if lease.Token != 0 {
			c.conn.untold = func() { hangup.PassOn(c.ctx, s.options.Engine, c.id, lease) }
		}
		return lease, err
	}
	hangup.PassOn(c.ctx, s.options.Engine, c.id, lease)
	switch {
	case !gone:
		return locks.Lease{}, errUserGone
	case c.conn.in.Overrun():
		c.conn.lingers = true
		s.exceeded(locks.QuotaAheadBytes)
		return locks.Lease{}, errAhead
	}
	return locks.Lease{}, errGone
}
