package lockstest

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Cases about the step that ends a lease and hands the lock over.
func handOverCases() []testCase {
	return []testCase{
		{"ReleaseHandsOver", releaseHandsOver},
		{"ForceHandsOver", forceHandsOver},
		{"ExpiryHandsOverByItself", expiryHandsOverByItself},
		{"ExpiryIsSeenHandedOver", expiryIsSeenHandedOver},
		{"ExpiriesHandOverInTurn", expiriesHandOverInTurn},
		{"LastSharedExpiryHandsOver", lastSharedExpiryHandsOver},
		{"ExpiredSharedLeaseMakesRoomForAWaiter", expiredSharedLeaseMakesRoomForAWaiter},
		{"TTLCountsFromTheGrant", ttlCountsFromTheGrant},
		{"GrantedWaiterMayHaveNoExpiry", grantedWaiterMayHaveNoExpiry},
		{"TokensIncreaseOverHandOvers", tokensIncreaseOverHandOvers},
		{"ClaimsDoNotReachWaiters", claimsDoNotReachWaiters},
		{"FormerHolderIsAStranger", formerHolderIsAStranger},
		{"HeartbeatKeepsWaitersWaiting", heartbeatKeepsWaitersWaiting},
		{"InfoAndScanSeeAQueuedLock", infoAndScanSeeAQueuedLock},
		{"ContendersThatWaitTakeTurns", contendersThatWaitTakeTurns},
		{"ServedQueueLeavesNothing", servedQueueLeavesNothing},
	}
}

func releaseHandsOver(p *probe) {
	for _, ask := range []func(locks.ID, locks.Owner) locks.AcquireRequest{exclusive, shared} {
		id := locks.ID(ask("", "").Mode.String())
		token := p.grant(exclusive(id, "holder"))
		c := p.wait(ask(id, "me"))
		p.release(id, byOwner("holder"), true)
		info := p.info(id) // the lock was never free
		equal(p, "the number of holders", len(info.Holders), 1)
		equal(p, "the owner", info.Holders[0].Owner, "me")
		equal(p, "the mode", info.Mode, c.req.Mode)
		equal(p, "the waiters", info.Waiters, 0)
		p.refuse(exclusive(id, "holder"), locks.ErrHeld)
		mine := p.granted(c)
		equal(p, "the token", mine, info.Holders[0].Token)
		equal(p, "the last token", p.info(id).LastToken, mine)
		p.live(id, token, false)
		p.release(id, byOwner("me"), false)
	}
}

func forceHandsOver(p *probe) {
	force := locks.ReleaseRequest{ID: "a", Force: true}
	p.grant(exclusive("a", "holder"))
	first, second, third := p.wait(shared("a", "1")), p.wait(shared("a", "")), p.wait(exclusive("a", "3"))
	p.releases(force, locks.Released{Ended: 1, Held: true})
	p.heldBy("a", p.granted(first), p.granted(second))
	p.releases(force, locks.Released{Ended: 2, Held: true})
	p.heldBy("a", p.granted(third))
	p.releases(force, locks.Released{Ended: 1})
	p.releases(force, locks.Released{})
}

func expiryHandsOverByItself(p *probe) {
	p.grant(lasting(short, exclusive("a", "holder")))
	p.grant(lasting(short, exclusive("b", "")))
	a, behind, b := p.wait(exclusive("a", "me")), p.wait(exclusive("a", "you")), p.wait(shared("b", "me"))
	p.expire()
	p.settle() // and nobody asks
	p.heldBy("a", p.granted(a))
	p.heldBy("b", p.granted(b))
	p.stillWait("a", behind)
}

func expiryIsSeenHandedOver(p *probe) {
	first := p.grant(lasting(short, exclusive("a", "holder")))
	c := p.wait(exclusive("a", "me"))
	p.expire()
	info := p.info("a")
	equal(p, "the number of holders", len(info.Holders), 1)
	equal(p, "the owner", info.Holders[0].Owner, "me")
	equal(p, "the waiters", info.Waiters, 0)
	p.live("a", first, false)
	p.refuse(exclusive("a", "holder"), locks.ErrHeld)
	p.releaseFails("a", byToken(first))
	p.heldBy("a", p.granted(c))
}

func expiriesHandOverInTurn(p *probe) {
	p.grant(lasting(short, exclusive("a", "")))
	const ttl = 4 * short // longer than settling may take
	calls := []*call{p.wait(lasting(ttl, exclusive("a", ""))), p.wait(lasting(ttl, exclusive("a", "me"))), p.wait(lasting(ttl, exclusive("a", "")))}
	p.expire()
	for i, c := range calls {
		p.settle()
		lease := locks.Lease{Token: p.granted(c), Owner: c.req.Owner, TTL: ttl}
		equal(p, "the number of waiters", p.info("a").Waiters, len(calls)-i-1)
		p.heartbeat("a", byToken(lease.Token), 0, lease)
		p.Advance(ttl + slack)
	}
	p.settle()
	p.heldBy("a")
}

func lastSharedExpiryHandsOver(p *probe) {
	p.grant(lasting(short, shared("a", "x")))
	kept := p.grant(shared("a", "y"))
	p.grant(lasting(short, shared("a", "")))
	writer := p.wait(exclusive("a", "writer"))
	p.expire()
	p.stillWait("a", writer)
	p.heartbeat("a", byToken(kept), short, locks.Lease{Token: kept, Owner: "y", Mode: locks.Shared, TTL: short})
	p.expire()
	p.settle()
	p.heldBy("a", p.granted(writer))
}

func expiredSharedLeaseMakesRoomForAWaiter(p *probe) {
	p.grant(lasting(short, shared("a", "x")))
	kept := p.grant(shared("a", "y"))
	first, second := p.wait(limited(2, shared("a", ""))), p.wait(limited(2, shared("a", "")))
	p.expire()
	p.settle()
	p.heldBy("a", kept, p.granted(first))
	p.stillWait("a", second)
}

func ttlCountsFromTheGrant(p *probe) {
	const ttl = 3 * short
	token := p.grant(exclusive("a", "holder"))
	first, second := p.wait(lasting(ttl, exclusive("a", "1"))), p.wait(lasting(ttl, shared("a", "2")))
	p.Advance(ttl + slack) // as long as their leases, but they have none yet
	p.release("a", byToken(token), true)
	token = p.granted(first)
	p.ttl("a", token, ttl)
	if held := p.info("a").Holders[0].Held; held >= ttl {
		p.t.Fatalf("a lease that was just granted says that it is %v old", held)
	}
	p.Advance(ttl * 6 / 10)
	p.live("a", token, true)
	p.release("a", byToken(token), true)
	token = p.granted(second)
	p.ttl("a", token, ttl)
	p.Advance(ttl * 6 / 10)
	p.live("a", token, true)
	p.heartbeat("a", byToken(token), 0, locks.Lease{Token: token, Owner: "2", Mode: locks.Shared, TTL: ttl})
	p.Advance(ttl + slack)
	p.heldBy("a")
}

func grantedWaiterMayHaveNoExpiry(p *probe) {
	p.grant(lasting(short, exclusive("a", "holder")))
	c := p.wait(lasting(locks.NoExpiry, exclusive("a", "me")))
	p.expire()
	p.settle()
	token := p.granted(c)
	p.ttl("a", token, locks.NoExpiry)
	p.Advance(3 * short)
	p.heldBy("a", token)
}

func tokensIncreaseOverHandOvers(p *probe) {
	last := p.grant(exclusive("a", ""))
	for i := range 30 {
		ask := exclusive
		if i%2 == 1 {
			ask = shared
		}
		c := p.wait(ask("a", ""))
		p.release("a", byToken(last), true)
		token := p.granted(c)
		if token <= last {
			p.t.Fatalf("token %d follows %d", token, last)
		}
		last = token
	}
}

func claimsDoNotReachWaiters(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	first, second := p.wait(exclusive("a", "me")), p.wait(exclusive("a", ""))
	for _, claim := range []locks.Claim{byOwner("me"), bare(), byToken(token + 1)} {
		p.releaseFails("a", claim)
		p.heartbeatFails("a", claim)
	}
	p.live("a", token+1, false)
	p.heldBy("a", token)
	p.stillWait("a", first, second)
}

func formerHolderIsAStranger(p *probe) {
	former := p.grant(exclusive("a", "holder"))
	c := p.wait(exclusive("a", "me"))
	p.release("a", byOwner("holder"), true)
	for _, claim := range []locks.Claim{byToken(former), byOwner("holder"), bare()} {
		p.releaseFails("a", claim)
		p.heartbeatFails("a", claim)
	}
	p.heldBy("a", p.granted(c))
}

func heartbeatKeepsWaitersWaiting(p *probe) {
	lease := locks.Lease{Token: p.grant(lasting(4*short, exclusive("a", "holder"))), Owner: "holder", TTL: 4 * short}
	c := p.wait(exclusive("a", "me"))
	for range 3 {
		p.Advance(2 * short)
		p.heartbeat("a", byOwner("holder"), 0, lease)
	}
	p.heldBy("a", lease.Token)
	p.stillWait("a", c)
	p.heartbeat("a", byToken(lease.Token), time.Millisecond, locks.Lease{Token: lease.Token, Owner: "holder", TTL: time.Millisecond})
	p.Advance(slack)
	p.settle()
	p.granted(c)
}

func infoAndScanSeeAQueuedLock(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	p.grant(exclusive("b", ""))
	var calls []*call
	for i := range 5 {
		calls = append(calls, p.wait(shared("a", locks.Owner(strconv.Itoa(i)))))
		equal(p, "the waiters", p.info("a").Waiters, i+1)
	}
	info := p.info("a")
	equal(p, "the number of holders", len(info.Holders), 1)
	equal(p, "the holder's token", info.Holders[0].Token, token)
	equal(p, "the last token", info.LastToken, token)
	equal(p, "the waiters of another lock", p.info("b").Waiters, 0)
	p.scanned("", 0, "a", "b")
	p.release("a", byToken(token), true)
	for _, c := range calls {
		p.granted(c)
	}
	equal(p, "the waiters", p.info("a").Waiters, 0)
	p.scanned("", 0, "a", "b")
}

// contendersThatWaitTakeTurns: each of many finds the lock its own, and none is
// left out.
func contendersThatWaitTakeTurns(p *probe) {
	var inside, turns atomic.Int64
	granted, _ := contend(p, 30, func(int) locks.AcquireRequest { return waiting(exclusive("a", "")) }, func(engine locks.Engine, lease locks.Lease) {
		if n := inside.Add(1); n != 1 {
			p.t.Errorf("%d contenders hold the lock", n)
		}
		turns.Add(1)
		inside.Add(-1)
		if _, err := engine.Release(p.t.Context(), locks.ReleaseRequest{ID: "a", Claim: byToken(lease.Token)}); err != nil {
			p.t.Errorf("releasing: %v", err)
		}
	})
	equal(p, "the number of leases", granted, 30)
	equal(p, "the number of turns", turns.Load(), 30)
	p.heldBy("a")
	p.stillWait("a")
}

func servedQueueLeavesNothing(p *probe) {
	for range 3 {
		token := p.grant(exclusive("a", "holder"))
		p.serves("a", token, p.queue("a", 5))
		p.stillWait("a")
		p.scanned("", 0)
	}
	last := p.info("a").LastToken
	if !p.Virtual {
		return
	}
	p.Advance(locks.Retention + time.Second)
	equal(p, "the last token after the retention", p.info("a").LastToken, 0)
	p.above(last, exclusive("a", ""))
}
