package history

import (
	"context"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// On returns a connection to an engine in the same process, whose sessions the
// manager keeps. The candado is its number.
func On(m *session.Manager, candado int) Conn {
	return &engineConn{engine: m.Engine(), session: m.Open(nil), candado: candado}
}

type engineConn struct {
	engine  locks.Engine
	session *session.Session
	candado int
}

func (c *engineConn) Acquire(ctx context.Context, req locks.AcquireRequest, bound bool) (locks.Lease, error) {
	if bound {
		return c.session.Acquire(ctx, req)
	}
	return c.engine.Acquire(ctx, req)
}

func (c *engineConn) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	return c.session.Release(ctx, req)
}

func (c *engineConn) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	return c.engine.Heartbeat(ctx, req)
}

func (c *engineConn) Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error) {
	return c.engine.Check(ctx, id, token)
}

func (c *engineConn) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	return c.engine.Info(ctx, id)
}

// Close waits for the session's leases to be released.
func (c *engineConn) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.session.Close(ctx)
}

func (c *engineConn) Candado() int { return c.candado }
func (c *engineConn) Waits() bool  { return true }
func (c *engineConn) Binds() bool  { return true }
