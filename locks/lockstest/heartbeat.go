package lockstest

import (
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Cases about heartbeats.
func heartbeatCases() []testCase {
	return []testCase{
		{"HeartbeatCreatesNothing", heartbeatCreatesNothing},
		{"HeartbeatByTokenOwnerOrBare", heartbeatByTokenOwnerOrBare},
		{"HeartbeatByStrangerFails", heartbeatByStrangerFails},
		{"HeartbeatKeepsALeaseAlive", heartbeatKeepsALeaseAlive},
		{"HeartbeatFallsBackToTheAcquiredTTL", heartbeatFallsBackToTheAcquiredTTL},
		{"HeartbeatMayShorten", heartbeatMayShorten},
		{"HeartbeatMayLiftAndSetTheExpiry", heartbeatMayLiftAndSetTheExpiry},
		{"BareHeartbeatRenewsTheOldestAnonymous", bareHeartbeatRenewsTheOldestAnonymous},
		{"HeartbeatRenewsOneSharedLease", heartbeatRenewsOneSharedLease},
		{"HeartbeatLeavesTheAgeAlone", heartbeatLeavesTheAgeAlone},
	}
}

func heartbeatCreatesNothing(p *probe) {
	for _, claim := range []locks.Claim{bare(), byToken(7), byOwner("me")} {
		p.heartbeat("a", claim, 0, locks.Lease{})
		p.heartbeat("a", claim, long, locks.Lease{})
	}
	p.heldBy("a")
	token := p.grant(exclusive("a", "me"))
	p.release("a", byOwner("me"), false)
	p.heartbeat("a", byToken(token), 0, locks.Lease{})
	p.heldBy("a")
}

func heartbeatByTokenOwnerOrBare(p *probe) {
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		want := locks.Lease{Token: p.grant(ask(id, "me")), Owner: "me", Mode: ask(id, "").Mode, TTL: long}
		p.heartbeat(id, byToken(want.Token), 0, want)
		p.heartbeat(id, byOwner("me"), 0, want)
		p.release(id, byOwner("me"), false)
		want = locks.Lease{Token: p.grant(ask(id, "")), Mode: want.Mode, TTL: long}
		p.heartbeat(id, byToken(want.Token), 0, want)
		p.heartbeat(id, bare(), 0, want)
		p.heldBy(id, want.Token)
	}
}

func heartbeatByStrangerFails(p *probe) {
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		token := p.grant(ask(id, "me"))
		for _, claim := range []locks.Claim{byToken(token + 1), byToken(token - 1), byOwner("you"), bare()} {
			p.heartbeatFails(id, claim)
		}
		p.heldBy(id, token)
	}
	p.grant(exclusive("c", ""))
	p.heartbeatFails("c", byOwner("me"))
}

func heartbeatKeepsALeaseAlive(p *probe) {
	const ttl = 3 * short
	lease := locks.Lease{Token: p.grant(lasting(ttl, exclusive("a", "me"))), Owner: "me", TTL: ttl}
	crowded := locks.Lease{Token: p.grant(lasting(ttl, shared("b", ""))), Mode: locks.Shared, TTL: ttl}
	for range 3 {
		p.Advance(ttl * 6 / 10)
		p.heartbeat("a", byOwner("me"), 0, lease)
		p.heartbeat("b", bare(), 0, crowded)
	}
	p.heldBy("a", lease.Token)
	p.heldBy("b", crowded.Token)
	p.Advance(ttl + slack)
	p.heartbeat("a", byOwner("me"), 0, locks.Lease{})
	p.heartbeat("b", bare(), 0, locks.Lease{})
}

func heartbeatFallsBackToTheAcquiredTTL(p *probe) {
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		lease := locks.Lease{Token: p.grant(ask(id, "me")), Owner: "me", Mode: ask(id, "").Mode}
		for _, ttl := range []time.Duration{time.Hour, 0, time.Minute, locks.NoExpiry, 0} {
			lease.TTL = ttl
			if ttl == 0 {
				lease.TTL = long
			}
			p.heartbeat(id, byOwner("me"), ttl, lease)
			p.ttl(id, lease.Token, lease.TTL)
		}
	}
	forever := locks.Lease{Token: p.grant(lasting(locks.NoExpiry, exclusive("c", ""))), TTL: locks.NoExpiry}
	p.heartbeat("c", bare(), time.Minute, locks.Lease{Token: forever.Token, TTL: time.Minute})
	p.heartbeat("c", bare(), 0, forever)
}

func heartbeatMayShorten(p *probe) {
	kept := p.grant(shared("b", ""))
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		token := p.grant(ask(id, "me"))
		p.heartbeat(id, byToken(token), short, locks.Lease{Token: token, Owner: "me", Mode: ask(id, "").Mode, TTL: short})
	}
	p.expire()
	p.heldBy("a")
	p.heldBy("b", kept)
}

func heartbeatMayLiftAndSetTheExpiry(p *probe) {
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		token := p.grant(lasting(short, ask(id, "me")))
		p.heartbeat(id, byOwner("me"), locks.NoExpiry, locks.Lease{Token: token, Owner: "me", Mode: ask(id, "").Mode, TTL: locks.NoExpiry})
	}
	p.expire()
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		holders := p.info(id).Holders
		equal(p, "the number of holders", len(holders), 1)
		p.ttl(id, holders[0].Token, locks.NoExpiry)
		p.heartbeat(id, byOwner("me"), short, locks.Lease{Token: holders[0].Token, Owner: "me", Mode: ask(id, "").Mode, TTL: short})
	}
	p.expire()
	p.heldBy("a")
	p.heldBy("b")
}

func bareHeartbeatRenewsTheOldestAnonymous(p *probe) {
	owned := p.grant(shared("a", "me"))
	first, second := p.grant(lasting(short, shared("a", ""))), p.grant(lasting(short, shared("a", "")))
	p.heartbeat("a", bare(), long, locks.Lease{Token: first, Mode: locks.Shared, TTL: long})
	p.expire()
	p.live("a", second, false)
	p.heldBy("a", owned, first)
}

func heartbeatRenewsOneSharedLease(p *probe) {
	mine, yours := p.grant(lasting(short, shared("a", "me"))), p.grant(lasting(short, shared("a", "you")))
	p.heartbeat("a", byOwner("you"), long, locks.Lease{Token: yours, Owner: "you", Mode: locks.Shared, TTL: long})
	p.expire()
	p.live("a", mine, false)
	p.heldBy("a", yours)
}

func heartbeatLeavesTheAgeAlone(p *probe) {
	token := p.grant(exclusive("a", "me"))
	p.Advance(short)
	p.heartbeat("a", byOwner("me"), 0, locks.Lease{Token: token, Owner: "me", TTL: long})
	p.grant(exclusive("a", "me"))
	if held := p.info("a").Holders[0].Held; held < short || p.Virtual && held > short {
		p.t.Fatalf("a lease granted %v ago says that it was %v ago", short, held)
	}
}
