package lockstest

import (
	"errors"
	"fmt"

	"github.com/goodjobtech/candado/locks"
)

// Cases about releasing.
func releaseCases() []testCase {
	return []testCase{
		{"ReleaseOfFreeLockEndsNothing", releaseOfFreeLockEndsNothing},
		{"ReleaseByTokenOwnerOrBare", releaseByTokenOwnerOrBare},
		{"ReleaseByStrangerFails", releaseByStrangerFails},
		{"BareReleaseSparesOwnedLeases", bareReleaseSparesOwnedLeases},
		{"BareReleaseEndsTheOldestAnonymous", bareReleaseEndsTheOldestAnonymous},
		{"ReleaseRepeatedIsHarmless", releaseRepeatedIsHarmless},
		{"StaleTokenReleasesNothing", staleTokenReleasesNothing},
		{"UntoldReleaseSparesWhatOthersKnowOf", untoldReleaseSparesWhatOthersKnowOf},
		{"ForceEndsEveryLease", forceEndsEveryLease},
		{"ForceIgnoresTheClaim", forceIgnoresTheClaim},
		{"UntoldReleaseSparesWhatOthersKnowOf", untoldReleaseSparesWhatOthersKnowOf},
	}
}

func releaseOfFreeLockEndsNothing(p *probe) {
	for _, claim := range []locks.Claim{bare(), byToken(7), byOwner("me")} {
		p.releases(locks.ReleaseRequest{ID: "a", Claim: claim}, locks.Released{})
	}
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{})
	p.heldBy("a")
}

func releaseByTokenOwnerOrBare(p *probe) {
	for _, ask := range []func(locks.ID, locks.Owner) locks.AcquireRequest{exclusive, shared} {
		owned := p.grant(ask("a", "me"))
		p.release("a", byToken(owned), false)
		p.grant(ask("a", "me"))
		p.release("a", byOwner("me"), false)
		p.grant(ask("a", ""))
		p.release("a", bare(), false)
		anonymous := p.grant(ask("a", ""))
		p.release("a", byToken(anonymous), false)
		p.heldBy("a")
	}
}

func releaseByStrangerFails(p *probe) {
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		token := p.grant(ask(id, "me"))
		for _, claim := range []locks.Claim{byToken(token + 1), byToken(token - 1), byToken(1), byToken(locks.MaxToken), byOwner("you"), byOwner("m"), byOwner("mee"), bare()} {
			p.releaseFails(id, claim)
		}
		p.heldBy(id, token)
		p.ttl(id, token, long)
	}
	token := p.grant(exclusive("c", ""))
	p.releaseFails("c", byOwner("me"))
	p.heldBy("c", token)
}

func bareReleaseSparesOwnedLeases(p *probe) {
	mine := p.grant(shared("a", "me"))
	p.grant(shared("a", ""))
	p.release("a", bare(), true)
	p.heldBy("a", mine)
	p.releaseFails("a", bare())
	p.heldBy("a", mine)
}

func bareReleaseEndsTheOldestAnonymous(p *probe) {
	mine := p.grant(shared("a", "me"))
	first, second, third := p.grant(shared("a", "")), p.grant(shared("a", "")), p.grant(shared("a", ""))
	p.release("a", bare(), true)
	p.live("a", first, false)
	p.heldBy("a", mine, second, third)
	p.release("a", byToken(second), true)
	fourth := p.grant(shared("a", ""))
	p.release("a", bare(), true)
	p.heldBy("a", mine, fourth)
}

func releaseRepeatedIsHarmless(p *probe) {
	token := p.grant(exclusive("a", "me"))
	p.release("a", byToken(token), false)
	p.releases(locks.ReleaseRequest{ID: "a", Claim: byToken(token)}, locks.Released{})
	p.releases(locks.ReleaseRequest{ID: "a", Claim: byOwner("me")}, locks.Released{})
	others := p.grant(exclusive("a", "you"))
	p.releaseFails("a", byToken(token))
	p.releaseFails("a", byOwner("me"))
	p.heldBy("a", others)
}

func staleTokenReleasesNothing(p *probe) {
	stale := p.grant(shared("a", "me"))
	p.release("a", byOwner("me"), false)
	fresh := p.grant(shared("a", "me"))
	p.releaseFails("a", byToken(stale))
	p.heartbeatFails("a", byToken(stale))
	p.live("a", stale, false)
	p.heldBy("a", fresh)
}

func forceEndsEveryLease(p *probe) {
	token := p.grant(exclusive("a", "me"))
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: 1})
	p.live("a", token, false)
	p.heldBy("a")

	for _, owner := range []locks.Owner{"me", "", "you", "", ""} {
		p.grant(shared("a", owner))
	}
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: 5})
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{})
	p.heldBy("a")
	p.grant(exclusive("a", "me"))
}

func forceIgnoresTheClaim(p *probe) {
	p.grant(exclusive("a", "me"))
	p.releases(locks.ReleaseRequest{ID: "a", Claim: byOwner("you"), Force: true}, locks.Released{Ended: 1})
	p.grant(exclusive("a", "me"))
	p.releases(locks.ReleaseRequest{ID: "a", Claim: byToken(1), Force: true}, locks.Released{Ended: 1})
}

func untoldReleaseSparesWhatOthersKnowOf(p *probe) {
	learn := map[string]func(id locks.ID, req locks.AcquireRequest, token locks.Token){
		"nobody": func(locks.ID, locks.AcquireRequest, locks.Token) {},
		"acquired again": func(_ locks.ID, req locks.AcquireRequest, token locks.Token) {
			equal(p, "the token acquired again", p.grant(req), token)
		},
		"renewed": func(id locks.ID, req locks.AcquireRequest, token locks.Token) {
			p.heartbeat(id, byToken(token), long, locks.Lease{Token: token, Owner: req.Owner, Mode: req.Mode, TTL: long})
		},
	}
	for name, by := range learn {
		for i, req := range []locks.AcquireRequest{exclusive("", "me"), shared("", "me")} {
			for _, waited := range []bool{false, true} {
				id := locks.ID(fmt.Sprint(name, i, waited))
				req.ID = id
				var token locks.Token
				if waited {
					held := p.grant(exclusive(id, "holder"))
					c := p.wait(req)
					p.release(id, byToken(held), true)
					token = p.granted(c)
				} else {
					token = p.grant(req)
				}
				by(id, req, token)
				want := locks.Released{Held: true}
				if name == "nobody" {
					want = locks.Released{Ended: 1}
				}
				p.releases(locks.ReleaseRequest{ID: id, Claim: byToken(token), Untold: true}, want)
				equal(p, "whether it lives: "+string(id), p.info(id).Held(), want.Held)
				p.releaseFailsOrFree(id, token+1)
			}
		}
	}
}

// releaseFailsOrFree wants an untold release of no live lease to end nothing.
func (p *probe) releaseFailsOrFree(id locks.ID, token locks.Token) {
	p.t.Helper()
	released, err := p.Engine.Release(p.t.Context(), locks.ReleaseRequest{ID: id, Claim: byToken(token), Untold: true})
	if released.Ended != 0 || err != nil && !errors.Is(err, locks.ErrNotOwner) {
		p.t.Errorf("releasing token %d of %q: %+v, %v", token, id, released, err)
	}
}
