package lockstest

import (
	"math/rand/v2"
	"strconv"

	"github.com/goodjobtech/candado/locks"
)

// Cases about shared holders and limits.
func sharedCases() []testCase {
	return []testCase{
		{"SharedHoldersShare", sharedHoldersShare},
		{"SharedExcludesExclusive", sharedExcludesExclusive},
		{"LastSharedReleaseFrees", lastSharedReleaseFrees},
		{"LimitIsKept", limitIsKept},
		{"LimitCountsEverySharedHolder", limitCountsEverySharedHolder},
		{"LimitDoesNotRefuseAHolder", limitDoesNotRefuseAHolder},
		{"ContendersKeepTheLimit", contendersKeepTheLimit},
		{"ManySharedHoldersAreEachReleased", manySharedHoldersAreEachReleased},
		{"ModeChangesOnceFree", modeChangesOnceFree},
	}
}

func sharedHoldersShare(p *probe) {
	first := p.grant(shared("a", "me"))
	second := p.grant(shared("a", "you"))
	third := p.grant(shared("a", ""))
	fourth := p.grant(shared("a", ""))
	if first >= second || second >= third || third >= fourth {
		p.t.Fatalf("tokens %d, %d, %d, %d do not increase", first, second, third, fourth)
	}
	p.heldBy("a", first, second, third, fourth)
	equal(p, "the mode", p.info("a").Mode, locks.Shared)
}

func sharedExcludesExclusive(p *probe) {
	token := p.grant(shared("a", "me"))
	p.refuse(exclusive("a", "you"), locks.ErrHeld)
	p.refuse(exclusive("a", ""), locks.ErrHeld)
	p.heldBy("a", token)
}

func lastSharedReleaseFrees(p *probe) {
	first, second := p.grant(shared("a", "me")), p.grant(shared("a", ""))
	p.release("a", byToken(first), true)
	p.refuse(exclusive("a", "you"), locks.ErrHeld)
	p.release("a", byToken(second), false)
	p.grant(exclusive("a", "you"))
}

func limitIsKept(p *probe) {
	first := p.grant(limited(2, shared("a", "")))
	second := p.grant(limited(2, shared("a", "me")))
	p.refuse(limited(2, shared("a", "")), locks.ErrHeld)
	p.refuse(limited(1, shared("a", "you")), locks.ErrHeld)
	p.heldBy("a", first, second)
	p.release("a", byToken(first), true)
	third := p.grant(limited(2, shared("a", "")))
	p.refuse(limited(2, shared("a", "")), locks.ErrHeld)
	p.heldBy("a", second, third)
}

func limitCountsEverySharedHolder(p *probe) {
	first := p.grant(shared("a", ""))
	second := p.grant(shared("a", ""))
	p.refuse(limited(2, shared("a", "")), locks.ErrHeld)
	third := p.grant(limited(3, shared("a", "")))
	fourth := p.grant(shared("a", "")) // who names no limit keeps none
	p.heldBy("a", first, second, third, fourth)
}

func limitDoesNotRefuseAHolder(p *probe) {
	token := p.grant(limited(1, shared("a", "me")))
	equal(p, "the token acquired again", p.grant(limited(1, shared("a", "me"))), token)
	p.refuse(limited(1, shared("a", "you")), locks.ErrHeld)
}

func contendersKeepTheLimit(p *probe) {
	granted, tokens := contend(p, 200, func(i int) locks.AcquireRequest {
		if i%2 == 0 {
			return limited(7, shared("a", ""))
		}
		return limited(7, shared("a", locks.Owner(strconv.Itoa(i))))
	})
	equal(p, "the number of leases", granted, 7)
	equal(p, "the number of tokens", len(tokens), 7)
}

func manySharedHoldersAreEachReleased(p *probe) {
	const n = 300
	held := map[locks.Token]locks.Owner{}
	var order []locks.Token
	for i := range n {
		owner := locks.Owner("")
		if i%2 == 0 {
			owner = locks.Owner(strconv.Itoa(i))
		}
		token := p.grant(shared("a", owner))
		held[token], order = owner, append(order, token)
	}
	p.heldBy("a", order...)
	rand.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, token := range order {
		claim := byToken(token)
		if owner := held[token]; owner != "" && i%3 == 0 {
			claim = byOwner(owner)
		}
		p.release("a", claim, i < n-1)
		p.live("a", token, false)
	}
	p.grant(exclusive("a", ""))
}

func modeChangesOnceFree(p *probe) {
	for range 3 {
		p.grant(exclusive("a", "me"))
		p.release("a", byOwner("me"), false)
		p.grant(shared("a", "me"))
		equal(p, "the mode", p.info("a").Mode, locks.Shared)
		p.release("a", byOwner("me"), false)
	}
	equal(p, "the mode", p.info("a").Mode, locks.Free)
}
