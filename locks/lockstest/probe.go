package lockstest

import (
	"errors"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// TTLs of the cases' leases.
const (
	short = 100 * time.Millisecond // to be seen expiring
	long  = 30 * time.Second       // not to expire meanwhile
	slack = 20 * time.Millisecond  // beyond an expiry, for clocks that are real
)

// exclusive and shared ask for a lease with the TTL long.
func exclusive(id locks.ID, owner locks.Owner) locks.AcquireRequest {
	return locks.AcquireRequest{ID: id, Owner: owner, TTL: long}
}

func shared(id locks.ID, owner locks.Owner) locks.AcquireRequest {
	return locks.AcquireRequest{ID: id, Owner: owner, Mode: locks.Shared, TTL: long}
}

// lasting returns the request with another TTL.
func lasting(ttl time.Duration, req locks.AcquireRequest) locks.AcquireRequest {
	req.TTL = ttl
	return req
}

// limited returns the request with a limit.
func limited(n int, req locks.AcquireRequest) locks.AcquireRequest {
	req.Limit = n
	return req
}

// The claims on a lease.
func byToken(token locks.Token) locks.Claim { return locks.Claim{Token: token} }
func byOwner(owner locks.Owner) locks.Claim { return locks.Claim{Owner: owner} }

func bare() locks.Claim { return locks.Claim{} }

// probe asks the engine on behalf of a case, and ends the case at a reply that
// is not what the case says it must be.
type probe struct {
	*Fixture
	t     *testing.T
	calls *[]*call // requests that run beside the case
}

func newProbe(f *Fixture, t *testing.T) *probe { return &probe{Fixture: f, t: t, calls: &[]*call{}} }

// expire lets every lease with the TTL short run out.
func (p *probe) expire() { p.Advance(short + slack) }

func (p *probe) must(err error, doing string, id locks.ID) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s %q: %v", doing, id, err)
	}
}

func (p *probe) wantErr(err, want error, doing string, id locks.ID) {
	p.t.Helper()
	if !errors.Is(err, want) {
		p.t.Fatalf("%s %q: error is %v, want %v", doing, id, err, want)
	}
}

func equal[T comparable](p *probe, what string, got, want T) {
	p.t.Helper()
	if got != want {
		p.t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

// grant acquires, and checks that the lease is the one asked for.
func (p *probe) grant(req locks.AcquireRequest) locks.Token {
	p.t.Helper()
	lease, err := p.Engine.Acquire(p.t.Context(), req)
	p.must(err, "acquiring", req.ID)
	if lease.Token <= 0 || lease.Token > locks.MaxToken {
		p.t.Fatalf("acquiring %q: token is %d", req.ID, lease.Token)
	}
	equal(p, "the lease", lease, locks.Lease{Token: lease.Token, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL})
	return lease.Token
}

// refuse acquires and wants the error.
func (p *probe) refuse(req locks.AcquireRequest, want error) {
	p.t.Helper()
	lease, err := p.Engine.Acquire(p.t.Context(), req)
	p.wantErr(err, want, "acquiring", req.ID)
	equal(p, "the lease of a refused request", lease, locks.Lease{})
}

// release wants that the claim ends one lease, and that the lock is then held
// by others or not.
func (p *probe) release(id locks.ID, claim locks.Claim, heldAfter bool) {
	p.t.Helper()
	p.releases(locks.ReleaseRequest{ID: id, Claim: claim}, locks.Released{Ended: 1, Held: heldAfter})
}

func (p *probe) releases(req locks.ReleaseRequest, want locks.Released) {
	p.t.Helper()
	got, err := p.Engine.Release(p.t.Context(), req)
	p.must(err, "releasing", req.ID)
	equal(p, "what the release did", got, want)
}

// releaseFails wants the claim refused, and the lock to stay held.
func (p *probe) releaseFails(id locks.ID, claim locks.Claim) {
	p.t.Helper()
	released, err := p.Engine.Release(p.t.Context(), locks.ReleaseRequest{ID: id, Claim: claim})
	p.wantErr(err, locks.ErrNotOwner, "releasing", id)
	equal(p, "what the refused release did", released, locks.Released{Held: true})
}

// heartbeat wants that the claimed lease is renewed; ttl 0 asks for none.
func (p *probe) heartbeat(id locks.ID, claim locks.Claim, ttl time.Duration, want locks.Lease) {
	p.t.Helper()
	got, err := p.Engine.Heartbeat(p.t.Context(), locks.HeartbeatRequest{ID: id, Claim: claim, TTL: ttl})
	p.must(err, "renewing", id)
	equal(p, "the renewed lease", got, want)
}

func (p *probe) heartbeatFails(id locks.ID, claim locks.Claim) {
	p.t.Helper()
	lease, err := p.Engine.Heartbeat(p.t.Context(), locks.HeartbeatRequest{ID: id, Claim: claim})
	p.wantErr(err, locks.ErrNotOwner, "renewing", id)
	equal(p, "the lease of a refused heartbeat", lease, locks.Lease{})
}

// live wants the token to be that of a live lease, or not.
func (p *probe) live(id locks.ID, token locks.Token, want bool) {
	p.t.Helper()
	got, err := p.Engine.Check(p.t.Context(), id, token)
	p.must(err, "checking", id)
	if got != want {
		p.t.Fatalf("token %d of %q is live: %v, want %v", token, id, got, want)
	}
}

func (p *probe) info(id locks.ID) locks.Info {
	p.t.Helper()
	info, err := p.Engine.Info(p.t.Context(), id)
	p.must(err, "describing", id)
	return info
}

// heldBy wants exactly these tokens to hold the lock, in this order; none means
// that it is free.
func (p *probe) heldBy(id locks.ID, tokens ...locks.Token) {
	p.t.Helper()
	info := p.info(id)
	equal(p, "whether the lock is held", info.Held(), len(tokens) > 0)
	equal(p, "whether the mode is free", info.Mode == locks.Free, len(tokens) == 0)
	equal(p, "the number of holders", len(info.Holders), len(tokens))
	for i, h := range info.Holders {
		equal(p, "a holder's token", h.Token, tokens[i])
		equal(p, "a holder's mode", h.Mode, info.Mode)
		p.live(id, h.Token, true)
	}
}

// ttl wants a holder's remaining time to be what it is just after it was set.
func (p *probe) ttl(id locks.ID, token locks.Token, want time.Duration) {
	p.t.Helper()
	for _, h := range p.info(id).Holders {
		if h.Token != token {
			continue
		}
		late := want - h.TTL
		if late < 0 || p.Virtual && late > 0 || want == locks.NoExpiry && late != 0 || late > 5*time.Second {
			p.t.Fatalf("token %d of %q lasts for %v, want %v", token, id, h.TTL, want)
		}
		return
	}
	p.t.Fatalf("token %d of %q is not among the holders", token, id)
}
