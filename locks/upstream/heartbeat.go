package upstream

import (
	"context"
	"fmt"

	"github.com/goodjobtech/candado/locks"
)

// Heartbeat implements locks.Engine.
func (e *Engine) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	r, err := e.do(ctx, e.heartbeatCall(req))
	return e.renewed(req, r, err)
}

func (e *Engine) heartbeatCall(req locks.HeartbeatRequest) *call {
	ttl := any("")
	if req.TTL != 0 {
		ttl = millis(req.TTL)
	}
	return &call{
		script: e.scripts.heartbeat, id: req.ID, key: e.keys.record(req.ID), once: req.Claim.Bare(),
		args: []any{token(req.Claim.Token), string(req.Claim.Owner), ttl},
	}
}

// renewed reads the reply to a heartbeat.
func (e *Engine) renewed(req locks.HeartbeatRequest, r reply, err error) (locks.Lease, error) {
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
// 256, each group in one round trip.
func (e *Engine) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	return inGroups(ctx, e, reqs, e.heartbeatCall, func(req locks.HeartbeatRequest, o outcome) (r locks.Renewed) {
		r.Lease, r.Err = e.renewed(req, o.reply, o.err)
		return r
	})
}
