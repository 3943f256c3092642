package lockstest

import (
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Cases about time: how leases end by themselves, and what is kept of them.
func expiryCases() []testCase {
	return []testCase{
		{"LeaseEndsAtItsExpiry", leaseEndsAtItsExpiry},
		{"ExpiredLockIsGranted", expiredLockIsGranted},
		{"LeaseIsDeadFromTheInstantOfItsExpiry", leaseIsDeadFromTheInstantOfItsExpiry},
		{"ExpiredHolderIsAStranger", expiredHolderIsAStranger},
		{"NoExpiryLasts", noExpiryLasts},
		{"SharedLeasesExpireOneByOne", sharedLeasesExpireOneByOne},
		{"ExpiredSharedLeaseMakesRoom", expiredSharedLeaseMakesRoom},
		{"LastSharedExpiryFrees", lastSharedExpiryFrees},
		{"ForceCountsLiveLeasesOnly", forceCountsLiveLeasesOnly},
		{"LastTokenIsKeptForTheRetention", lastTokenIsKeptForTheRetention},
		{"RetentionCountsFromTheExpiry", retentionCountsFromTheExpiry},
		{"LongestTTLLasts", longestTTLLasts},
	}
}

func leaseEndsAtItsExpiry(p *probe) {
	const ttl = 3 * short
	owned := p.grant(lasting(ttl, exclusive("a", "me")))
	anonymous := p.grant(lasting(ttl, exclusive("b", "")))
	crowded := p.grant(lasting(ttl, shared("c", "me")))
	p.Advance(ttl / 2)
	p.heldBy("a", owned)
	p.heldBy("b", anonymous)
	p.heldBy("c", crowded)
	p.Advance(ttl/2 + slack)
	for id, token := range map[locks.ID]locks.Token{"a": owned, "b": anonymous, "c": crowded} {
		p.live(id, token, false)
		p.heartbeat(id, byToken(token), 0, locks.Lease{})
		p.releases(locks.ReleaseRequest{ID: id, Claim: byToken(token)}, locks.Released{})
		p.heldBy(id)
		equal(p, "the last token", p.info(id).LastToken, token)
	}
}

func expiredLockIsGranted(p *probe) {
	first := p.grant(lasting(short, exclusive("a", "me")))
	p.grant(lasting(short, exclusive("b", "")))
	p.grant(lasting(short, shared("c", "")))
	p.refuse(exclusive("a", "you"), locks.ErrHeld)
	p.expire()
	second := p.grant(exclusive("a", "me"))
	if second <= first {
		p.t.Fatalf("token %d follows %d: an expired lease was renewed", second, first)
	}
	p.heldBy("a", second)
	p.grant(shared("b", ""))
	p.grant(exclusive("c", ""))
}

func leaseIsDeadFromTheInstantOfItsExpiry(p *probe) {
	if !p.Virtual {
		p.t.Skip("needs a clock that stands still")
	}
	token := p.grant(lasting(short, exclusive("a", "")))
	member := p.grant(lasting(short, shared("b", "")))
	p.Advance(short - time.Nanosecond)
	p.live("a", token, true)
	p.refuse(exclusive("a", ""), locks.ErrHeld)
	p.ttl("a", token, time.Millisecond)
	p.ttl("b", member, time.Millisecond)
	p.Advance(time.Nanosecond)
	p.live("a", token, false)
	p.live("b", member, false)
	p.grant(exclusive("a", ""))
	p.grant(exclusive("b", ""))
}

func expiredHolderIsAStranger(p *probe) {
	stale := p.grant(lasting(short, exclusive("a", "me")))
	p.expire()
	token := p.grant(exclusive("a", "you"))
	p.releaseFails("a", byToken(stale))
	p.releaseFails("a", byOwner("me"))
	p.heartbeatFails("a", byToken(stale))
	p.heartbeatFails("a", byOwner("me"))
	p.refuse(exclusive("a", "me"), locks.ErrHeld)
	p.heldBy("a", token)
}

func noExpiryLasts(p *probe) {
	wait := short + slack
	if p.Virtual {
		wait = 1000 * time.Hour
	}
	token := p.grant(lasting(locks.NoExpiry, exclusive("a", "me")))
	member := p.grant(lasting(locks.NoExpiry, shared("b", "")))
	ending := p.grant(lasting(short, shared("b", "")))
	p.Advance(wait)
	p.heldBy("a", token)
	p.ttl("a", token, locks.NoExpiry)
	p.heldBy("b", member)
	p.live("b", ending, false)
	p.release("a", byOwner("me"), false)
	p.release("b", bare(), false)
}

func sharedLeasesExpireOneByOne(p *probe) {
	first := p.grant(lasting(3*short, shared("a", "x")))
	second := p.grant(lasting(short, shared("a", "y")))
	third := p.grant(lasting(short, shared("a", "")))
	fourth := p.grant(shared("a", ""))
	p.heldBy("a", first, second, third, fourth)
	p.expire()
	p.heldBy("a", first, fourth)
	p.refuse(exclusive("a", ""), locks.ErrHeld)
	p.releaseFails("a", byOwner("y"))
	p.Advance(2 * short)
	p.heldBy("a", fourth)
	p.release("a", bare(), false)
}

func expiredSharedLeaseMakesRoom(p *probe) {
	p.grant(limited(2, lasting(short, shared("a", ""))))
	kept := p.grant(limited(2, shared("a", "")))
	p.refuse(limited(2, shared("a", "")), locks.ErrHeld)
	p.expire()
	late := p.grant(limited(2, shared("a", "")))
	p.refuse(limited(2, shared("a", "")), locks.ErrHeld)
	p.heldBy("a", kept, late)
}

func lastSharedExpiryFrees(p *probe) {
	p.grant(lasting(short, shared("a", "me")))
	last := p.grant(lasting(short, shared("a", "")))
	p.expire()
	info := p.info("a")
	equal(p, "the mode", info.Mode, locks.Free)
	equal(p, "the last token", info.LastToken, last)
	p.grant(exclusive("a", "me"))
}

func forceCountsLiveLeasesOnly(p *probe) {
	p.grant(lasting(short, shared("a", "")))
	p.grant(shared("a", ""))
	p.grant(lasting(short, exclusive("b", "")))
	p.expire()
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: 1})
	p.releases(locks.ReleaseRequest{ID: "b", Force: true}, locks.Released{})
}

func lastTokenIsKeptForTheRetention(p *probe) {
	tokens := map[locks.ID]locks.Token{"a": p.grant(exclusive("a", "")), "b": p.grant(shared("b", "me")), "c": p.grant(exclusive("c", "me"))}
	p.release("a", bare(), false)
	p.release("b", byOwner("me"), false)
	p.releases(locks.ReleaseRequest{ID: "c", Force: true}, locks.Released{Ended: 1})
	for id, token := range tokens {
		equal(p, "the last token", p.info(id).LastToken, token)
	}
	if !p.Virtual {
		return
	}
	p.Advance(locks.Retention - time.Millisecond)
	for id, token := range tokens {
		equal(p, "the last token", p.info(id).LastToken, token)
	}
	p.Advance(2 * time.Millisecond) // to the millisecond nobody promises
	for id, token := range tokens {
		equal(p, "the last token after the retention", p.info(id).LastToken, 0)
		if next := p.grant(exclusive(id, "")); next <= token {
			p.t.Fatalf("token %d follows %d", next, token)
		}
	}
}

func retentionCountsFromTheExpiry(p *probe) {
	if !p.Virtual {
		p.t.Skip("would take a minute")
	}
	a := p.grant(lasting(short, exclusive("a", "")))
	p.grant(lasting(short, shared("b", "")))
	b := p.grant(lasting(2*short, shared("b", "")))
	p.Advance(short + locks.Retention - time.Millisecond)
	equal(p, "the last token", p.info("a").LastToken, a)
	p.Advance(2 * time.Millisecond)
	equal(p, "the last token after the retention", p.info("a").LastToken, 0)
	equal(p, "the last token", p.info("b").LastToken, b)
	p.Advance(short)
	equal(p, "the last token after the retention", p.info("b").LastToken, 0)
}

func longestTTLLasts(p *probe) {
	token := p.grant(lasting(locks.DefaultMax, exclusive("a", "")))
	p.ttl("a", token, locks.DefaultMax)
	if p.Virtual {
		p.Advance(locks.DefaultMax - time.Millisecond)
		p.ttl("a", token, time.Millisecond)
		p.Advance(time.Millisecond)
		p.heldBy("a")
	}
}
