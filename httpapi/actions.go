package httpapi

import (
	"errors"

	"github.com/goodjobtech/candado/locks"
)

// acquire asks for a lease, and waits for it if the client says so.
func (s *Server) acquire(c call) (outcome, error) {
	req := locks.AcquireRequest{ID: c.id, Owner: c.params.owner, Limit: c.params.limit, TTL: c.params.ttl, Wait: c.params.wait}
	if c.params.has(paramShared | paramLimit) {
		req.Mode = locks.Shared
	}
	if req.TTL == 0 {
		req.TTL = s.options.Limits.DefaultTTL
	}
	lease, err := s.ask(c, req)
	if err != nil {
		return outcome{}, err
	}
	return c.leased(lease), nil
}

// release asks for the end of a lease, or of all.
func (s *Server) release(c call) (outcome, error) {
	released, err := s.options.Engine.Release(c.ctx, locks.ReleaseRequest{
		ID:    c.id,
		Claim: c.params.claim(),
		Force: c.params.has(paramForce),
	})
	if err != nil {
		return outcome{}, err
	}
	if released.Ended == 0 {
		return outcome{}, errFree
	}
	return outcome{held: released.Held, token: c.params.token, owner: c.params.owner}, nil
}

// heartbeat asks for a lease's TTL to be set anew. Without any parameter it is
// also the question whether the lock is held, which has no wrong answer. A
// client that names its lease must learn that it is over.
func (s *Server) heartbeat(c call) (outcome, error) {
	claim := c.params.claim()
	lease, err := s.options.Engine.Heartbeat(c.ctx, locks.HeartbeatRequest{ID: c.id, Claim: claim, TTL: c.params.ttl})
	switch {
	case errors.Is(err, locks.ErrNotOwner) && c.params.given == 0:
		return outcome{held: true}, nil
	case err != nil:
		return outcome{}, err
	case lease.Token != 0:
		return c.leased(lease), nil
	case !claim.Bare():
		return outcome{}, errFree
	}
	return outcome{}, nil
}

// leased is the success of a request that granted or renewed a lease.
func (c call) leased(lease locks.Lease) outcome {
	o := outcome{held: true}
	if c.params.given != 0 {
		o.token, o.ttl, o.owner = lease.Token, lease.TTL, lease.Owner
	}
	return o
}
