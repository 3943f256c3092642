package upstream

import (
	"context"
	"fmt"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// Release implements locks.Engine.
func (e *Engine) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	var c call
	e.askRelease(&c, req)
	e.do(ctx, &c)
	return released(req, &c)
}

// askRelease makes the call a release. A copy of it says when the first was sent.
func (e *Engine) askRelease(c *call, req locks.ReleaseRequest) {
	c.release = script.Release{
		Number: newNumber(), Token: int64(req.Claim.Token), Owner: string(req.Claim.Owner), Force: req.Force, Untold: req.Untold,
	}
	c.op = c.release.Append(c.about(e, req.ID))
}

// released reads the reply to a release.
func released(req locks.ReleaseRequest, c *call) (locks.Released, error) {
	r, err := c.outcome()
	if err == nil {
		switch r.status {
		case statusNone:
			return locks.Released{}, nil
		case statusNotOwner:
			return locks.Released{Held: true}, locks.ErrNotOwner
		case statusDone:
			if r.fields == nil {
				return locks.Released{Ended: int(r.value)}, nil
			}
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
// 256, each group in one batch.
func (e *Engine) ReleaseAll(ctx context.Context, reqs []locks.ReleaseRequest) []locks.ReleaseResult {
	return inGroups(ctx, e, reqs, e.askRelease, func(req locks.ReleaseRequest, c *call) (r locks.ReleaseResult) {
		r.Released, r.Err = released(req, c)
		return r
	})
}
