package upstream

import (
	"context"
	"fmt"

	"github.com/goodjobtech/candado/locks"
)

// Release implements locks.Engine.
func (e *Engine) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	r, err := e.do(ctx, e.releaseCall(req))
	return released(req, r, err)
}

// releaseCall is a release. A copy of it says when the first was sent.
func (e *Engine) releaseCall(req locks.ReleaseRequest) *call {
	number := newNumber()
	args := func(sent int64) []any {
		return []any{number[:], token(req.Claim.Token), string(req.Claim.Owner), flag(req.Force), sent, flag(req.Untold)}
	}
	return &call{script: e.scripts.release, id: req.ID, key: e.keys.record(req.ID), args: args(0), again: args}
}

// released reads the reply to a release.
func released(req locks.ReleaseRequest, r reply, err error) (locks.Released, error) {
	if err == nil {
		switch r.status {
		case statusNone:
			return locks.Released{}, nil
		case statusNotOwner:
			return locks.Released{Held: true}, locks.ErrNotOwner
		case statusDone:
			var ended, left int64
			if err = r.scan(&ended, &left); err == nil {
				return locks.Released{Ended: int(ended), Held: left > 0}, nil
			}
		default:
			err = r.unexpected()
		}
	}
	return locks.Released{}, fmt.Errorf("releasing %q: %w", req.ID, err)
}

// ReleaseAll implements locks.Engine. The requests go to the server in groups of
// 256, each group in one round trip.
func (e *Engine) ReleaseAll(ctx context.Context, reqs []locks.ReleaseRequest) []locks.ReleaseResult {
	return inGroups(ctx, e, reqs, e.releaseCall, func(req locks.ReleaseRequest, o outcome) (r locks.ReleaseResult) {
		r.Released, r.Err = released(req, o.reply, o.err)
		return r
	})
}
