package lockstest

import (
	"reflect"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Cases about looking at a lock: Check and Info.
func infoCases() []testCase {
	return []testCase{
		{"CheckKnowsLiveTokensOnly", checkKnowsLiveTokensOnly},
		{"UnknownLockIsFree", unknownLockIsFree},
		{"InfoDescribesAnExclusiveHolder", infoDescribesAnExclusiveHolder},
		{"InfoOrdersHoldersByToken", infoOrdersHoldersByToken},
		{"InfoRemembersTheLastToken", infoRemembersTheLastToken},
		{"RemainingTimeIsRoundedUpAndAgeDown", remainingTimeIsRoundedUpAndAgeDown},
		{"LookingChangesNothing", lookingChangesNothing},
	}
}

func checkKnowsLiveTokensOnly(p *probe) {
	p.live("a", 1, false)
	for id, ask := range map[locks.ID]func(locks.ID, locks.Owner) locks.AcquireRequest{"a": exclusive, "b": shared} {
		first := p.grant(ask(id, ""))
		p.live(id, first, true)
		for _, other := range []locks.Token{0, 1, first - 1, first + 1, first * 10, locks.MaxToken} {
			p.live(id, other, false)
		}
		p.release(id, byToken(first), false)
		p.live(id, first, false)
	}
}

func unknownLockIsFree(p *probe) {
	got := p.info("a")
	if want := (locks.Info{ID: "a", Mode: locks.Free}); len(got.Holders) > 0 || got.ID != want.ID || got.Mode != want.Mode || got.LastToken != 0 || got.Waiters != 0 {
		p.t.Fatalf("an unknown lock is %+v, want %+v", got, want)
	}
}

func infoDescribesAnExclusiveHolder(p *probe) {
	token := p.grant(exclusive("a", "me"))
	info := p.info("a")
	equal(p, "the ID", info.ID, "a")
	equal(p, "the mode", info.Mode, locks.Exclusive)
	equal(p, "the last token", info.LastToken, token)
	equal(p, "the waiters", info.Waiters, 0)
	equal(p, "the number of holders", len(info.Holders), 1)
	h := info.Holders[0]
	equal(p, "the lease", h.Lease, locks.Lease{Token: token, Owner: "me", Mode: locks.Exclusive, TTL: h.TTL})
	p.ttl("a", token, long)
	if h.Held < 0 || p.Virtual && h.Held > 0 {
		p.t.Fatalf("a fresh lease is %v old", h.Held)
	}
}

func infoOrdersHoldersByToken(p *probe) {
	var want []locks.Token
	for _, owner := range []locks.Owner{"d", "", "a", "c", "", "b"} {
		want = append(want, p.grant(shared("s", owner)))
	}
	p.heartbeat("s", byOwner("d"), time.Hour, locks.Lease{Token: want[0], Owner: "d", Mode: locks.Shared, TTL: time.Hour})
	p.heldBy("s", want...)
	info := p.info("s")
	equal(p, "the last token", info.LastToken, want[len(want)-1])
	equal(p, "an owner", info.Holders[3].Owner, "c")
	equal(p, "an anonymous owner", info.Holders[1].Owner, "")
}

func infoRemembersTheLastToken(p *probe) {
	p.grant(shared("a", "me"))
	last := p.grant(shared("a", "you"))
	p.release("a", byOwner("you"), true)
	equal(p, "the last token", p.info("a").LastToken, last)
	p.release("a", byOwner("me"), false)
	info := p.info("a")
	equal(p, "the last token", info.LastToken, last)
	equal(p, "the mode", info.Mode, locks.Free)
}

func remainingTimeIsRoundedUpAndAgeDown(p *probe) {
	if !p.Virtual {
		p.t.Skip("needs a clock that stands still")
	}
	p.grant(exclusive("a", ""))
	p.grant(shared("b", "me"))
	for _, step := range []struct{ advance, held, left time.Duration }{
		{0, 0, long},
		{time.Nanosecond, 0, long},
		{time.Millisecond - 2*time.Nanosecond, 0, long},
		{time.Nanosecond, time.Millisecond, long - time.Millisecond},
		{1500 * time.Microsecond, 2 * time.Millisecond, long - 2*time.Millisecond},
	} {
		p.Advance(step.advance)
		for _, id := range []locks.ID{"a", "b"} {
			h := p.info(id).Holders[0]
			equal(p, "the age", h.Held, step.held)
			equal(p, "the remaining time", h.TTL, step.left)
		}
	}
}

func lookingChangesNothing(p *probe) {
	token := p.grant(lasting(locks.NoExpiry, exclusive("a", "me")))
	before := p.info("a")
	p.live("a", token, true)
	p.live("a", token+1, false)
	p.scanAll("", 3)
	after := p.info("a")
	before.Holders[0].Held, after.Holders[0].Held = 0, 0
	if !reflect.DeepEqual(before, after) {
		p.t.Fatalf("looking turned %+v into %+v", before, after)
	}
}
