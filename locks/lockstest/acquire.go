package lockstest

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/goodjobtech/candado/locks"
)

// Cases about acquiring, exclusive locks first.
func acquireCases() []testCase {
	return []testCase{
		{"FreeLockIsGranted", freeLockIsGranted},
		{"HeldLockIsRefusedToOthers", heldLockIsRefusedToOthers},
		{"AnonymousExcludesAnonymous", anonymousExcludesAnonymous},
		{"OwnerAcquiresTheSameLeaseAgain", ownerAcquiresTheSameLeaseAgain},
		{"AcquiringAgainSetsTheTTLAnew", acquiringAgainSetsTheTTLAnew},
		{"OwnerInOtherModeIsRefused", ownerInOtherModeIsRefused},
		{"OwnerGetsNewLeaseAfterRelease", ownerGetsNewLeaseAfterRelease},
		{"LocksDoNotInfluenceEachOther", locksDoNotInfluenceEachOther},
		{"AnyBytesNameALock", anyBytesNameALock},
		{"AnyBytesNameAnOwner", anyBytesNameAnOwner},
		{"ContendersGetOneLease", contendersGetOneLease},
		{"ContendersWithOneOwnerGetOneLease", contendersWithOneOwnerGetOneLease},
	}
}

func freeLockIsGranted(p *probe) {
	p.heldBy("a")
	token := p.grant(exclusive("a", "me"))
	p.heldBy("a", token)
	equal(p, "the mode", p.info("a").Mode, locks.Exclusive)
	anonymous := p.grant(exclusive("b", ""))
	p.heldBy("b", anonymous)
}

func heldLockIsRefusedToOthers(p *probe) {
	token := p.grant(exclusive("a", "me"))
	p.refuse(exclusive("a", "you"), locks.ErrHeld)
	p.refuse(exclusive("a", ""), locks.ErrHeld)
	p.refuse(exclusive("a", "ME"), locks.ErrHeld)
	p.refuse(exclusive("a", "m"), locks.ErrHeld)
	p.refuse(shared("a", "you"), locks.ErrHeld)
	p.refuse(limited(9, shared("a", "")), locks.ErrHeld)
	p.heldBy("a", token)
	p.ttl("a", token, long)
}

func anonymousExcludesAnonymous(p *probe) {
	token := p.grant(exclusive("a", ""))
	p.refuse(exclusive("a", ""), locks.ErrHeld)
	p.refuse(exclusive("a", "me"), locks.ErrHeld)
	p.refuse(shared("a", ""), locks.ErrHeld)
	p.heldBy("a", token)
}

func ownerAcquiresTheSameLeaseAgain(p *probe) {
	for id, req := range map[locks.ID]locks.AcquireRequest{"a": exclusive("a", "me"), "b": shared("b", "me")} {
		token := p.grant(req)
		equal(p, "the token acquired again", p.grant(req), token)
		equal(p, "the token acquired once more", p.grant(req), token)
		p.heldBy(id, token)
		p.release(id, byOwner("me"), false) // nothing was counted
		p.heldBy(id)
	}
}

func acquiringAgainSetsTheTTLAnew(p *probe) {
	for _, req := range []locks.AcquireRequest{exclusive("a", "me"), shared("b", "me")} {
		token := p.grant(lasting(short, req))
		equal(p, "the token", p.grant(req), token)
		p.ttl(req.ID, token, long)
	}
	p.expire()
	for id, mode := range map[locks.ID]locks.Mode{"a": locks.Exclusive, "b": locks.Shared} {
		lease := p.info(id).Holders
		equal(p, "the number of holders", len(lease), 1)
		// The TTL that the lease was acquired with is the latest one.
		p.heartbeat(id, byOwner("me"), 0, locks.Lease{Token: lease[0].Token, Owner: "me", Mode: mode, TTL: long})
	}
}

func ownerInOtherModeIsRefused(p *probe) {
	token := p.grant(exclusive("a", "me"))
	p.refuse(shared("a", "me"), locks.ErrMode)
	p.refuse(limited(1, shared("a", "me")), locks.ErrMode)
	p.heldBy("a", token)

	mine, yours := p.grant(shared("b", "me")), p.grant(shared("b", "you"))
	p.refuse(exclusive("b", "me"), locks.ErrMode)
	p.heldBy("b", mine, yours)
	p.release("b", byOwner("you"), true)
	p.refuse(exclusive("b", "me"), locks.ErrMode) // also when alone
	p.ttl("b", mine, long)
}

func ownerGetsNewLeaseAfterRelease(p *probe) {
	first := p.grant(exclusive("a", "me"))
	p.release("a", byOwner("me"), false)
	second := p.grant(exclusive("a", "me"))
	if second <= first {
		p.t.Fatalf("token %d follows %d", second, first)
	}
	p.live("a", first, false)
}

func locksDoNotInfluenceEachOther(p *probe) {
	a, b := p.grant(exclusive("a", "me")), p.grant(shared("b", "me"))
	p.heldBy("ab")
	p.heldBy("A")
	p.live("a", b, false)
	p.live("b", a, false)
	p.releaseFails("a", byToken(b))
	p.releases(locks.ReleaseRequest{ID: "ab", Force: true}, locks.Released{})
	p.release("a", byOwner("me"), false)
	p.heldBy("b", b)
	p.grant(exclusive("a", "you"))
	p.releases(locks.ReleaseRequest{ID: "b", Force: true}, locks.Released{Ended: 1})
	equal(p, "whether a is held", p.info("a").Held(), true)
}

// strangeIDs are IDs that a careless engine could take for one another, or for
// part of its own syntax.
func strangeIDs() []locks.ID {
	ids := []locks.ID{
		"a", "A", " ", "a ", "\x00", "a\x00", "a\x00b", "\xff\xfe", "é", "e\u0301", "\r\n", "}", "{", "{}", "{a}", "a}b", "%", "%7D", "%25",
		"%257D", "*", "a*", "?", "[a]", `\`, `\*`, ":", "a:h", "a:e", "a:q", "candado:", "{a}:h", "..", "/", "0", "-1", "nil", `"`, "'",
	}
	for _, b := range []string{"x", "\x00", "}", "%", "\xff"} {
		ids = append(ids, locks.ID(strings.Repeat(b, locks.MaxIDLen)), locks.ID(strings.Repeat(b, locks.MaxIDLen-1)))
	}
	return ids
}

func anyBytesNameALock(p *probe) {
	tokens := map[locks.ID]locks.Token{}
	for i, id := range strangeIDs() {
		if i%2 == 0 {
			tokens[id] = p.grant(exclusive(id, ""))
		} else {
			tokens[id] = p.grant(shared(id, ""))
		}
	}
	for _, id := range strangeIDs() {
		p.heldBy(id, tokens[id])
		equal(p, "the ID", p.info(id).ID, id)
		p.release(id, byToken(tokens[id]), false)
		p.heldBy(id)
	}
}

func anyBytesNameAnOwner(p *probe) {
	owners := []locks.Owner{"a", "A", "a\x00", "\x00", "\xff", " ", "}", "0", "-1", "nil", "é", "\r\n", locks.Owner(strings.Repeat("\xfe", locks.MaxOwnerLen))}
	var tokens []locks.Token
	for _, owner := range owners {
		p.grant(exclusive("x", owner))
		equal(p, "the owner", p.info("x").Holders[0].Owner, owner)
		p.release("x", byOwner(owner), false)
		tokens = append(tokens, p.grant(shared("s", owner)))
	}
	p.heldBy("s", tokens...)
	for i, h := range p.info("s").Holders {
		equal(p, "the owner", h.Owner, owners[i])
		p.release("s", byOwner(owners[i]), i < len(owners)-1)
	}
}

// contend sends the requests that ask makes, at the same time, and does with
// each lease that is granted what is to be done. It returns how many were
// granted, and the set of their tokens.
func contend(p *probe, n int, ask func(i int) locks.AcquireRequest, with ...func(locks.Engine, locks.Lease)) (granted int64, tokens map[locks.Token]int) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		count atomic.Int64
		start = make(chan struct{})
	)
	tokens = map[locks.Token]int{}
	for i := range n {
		engine := p.Engine
		if p.Second != nil && i%2 == 1 {
			engine = p.Second
		}
		wg.Go(func() {
			<-start
			req := ask(i)
			lease, err := engine.Acquire(p.t.Context(), req)
			if err != nil {
				if !errors.Is(err, locks.ErrHeld) {
					p.t.Errorf("acquiring %q: %v", req.ID, err)
				}
				return
			}
			count.Add(1)
			for _, do := range with {
				do(engine, lease)
			}
			mu.Lock()
			defer mu.Unlock()
			tokens[lease.Token]++
		})
	}
	close(start)
	wg.Wait()
	return count.Load(), tokens
}

func contendersGetOneLease(p *probe) {
	for _, id := range []locks.ID{"a", "b", "c"} {
		granted, _ := contend(p, 200, func(i int) locks.AcquireRequest {
			if i%3 == 0 {
				return exclusive(id, "")
			}
			return exclusive(id, locks.Owner(strconv.Itoa(i)))
		})
		equal(p, "the number of leases", granted, 1)
	}
}

func contendersWithOneOwnerGetOneLease(p *probe) {
	granted, tokens := contend(p, 100, func(int) locks.AcquireRequest { return exclusive("a", "me") })
	equal(p, "the number of answers", granted, 100)
	equal(p, "the number of leases", len(tokens), 1)
}
