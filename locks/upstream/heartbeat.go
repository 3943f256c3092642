package upstream

import (
	"context"
	"fmt"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// Heartbeat implements locks.Engine.
func (e *Engine) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	var c call
	e.askHeartbeat(&c, req)
	e.do(ctx, &c)
	return e.renewed(req, &c)
}

func (e *Engine) askHeartbeat(c *call, req locks.HeartbeatRequest) {
	op := script.Heartbeat{Token: int64(req.Claim.Token), Owner: string(req.Claim.Owner), Keep: req.TTL == 0, TTL: millis(req.TTL)}
	c.op = op.Append(c.about(e, req.ID))
	c.once = req.Claim.Bare()
}

// renewed reads the reply to a heartbeat.
func (e *Engine) renewed(req locks.HeartbeatRequest, c *call) (locks.Lease, error) {
	r, err := c.outcome()
	if err == nil {
		switch r.status {
		case statusNone:
			return locks.Lease{}, nil
		case statusNotOwner:
			return locks.Lease{}, locks.ErrNotOwner
		case statusDone:
			var token, ms, mode int64
			var owner string
			if err = r.scan(&token, &ms, &mode, &owner); err == nil {
				e.saw(token)
				return locks.Lease{Token: locks.Token(token), Owner: locks.Owner(owner), Mode: locks.Mode(mode), TTL: duration(ms, 0)}, nil
			}
		default:
			err = r.unexpected()
		}
	}
	return locks.Lease{}, fmt.Errorf("renewing lease of %q: %w", req.ID, err)
}

// Renew implements locks.Engine. The requests go to the server in groups of
// 256, each group in one batch.
func (e *Engine) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	return inGroups(ctx, e, reqs, e.askHeartbeat, func(req locks.HeartbeatRequest, c *call) (r locks.Renewed) {
		r.Lease, r.Err = e.renewed(req, c)
		return r
	})
}
