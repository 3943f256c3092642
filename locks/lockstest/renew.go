package lockstest

import (
	"context"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Cases about many heartbeats, or releases, at once.
func renewCases() []testCase {
	return []testCase{
		{"RenewOfNothingIsNothing", renewOfNothingIsNothing},
		{"RenewAnswersEachInOrder", renewAnswersEachInOrder},
		{"RenewFallsBackToTheAcquiredTTL", renewFallsBackToTheAcquiredTTL},
		{"RenewTakesOneLeaseTwice", renewTakesOneLeaseTwice},
		{"RenewTakesMany", renewTakesMany},
		{"RenewFailsAsAWhole", renewFailsAsAWhole},
		{"ReleaseAllAnswersEachInOrder", releaseAllAnswersEachInOrder},
		{"ReleaseAllTakesMany", releaseAllTakesMany},
	}
}

// renew wants each request to come to what is expected of it.
func (p *probe) renew(reqs []locks.HeartbeatRequest, want []locks.Renewed) {
	p.t.Helper()
	got := p.Engine.Renew(p.t.Context(), reqs)
	equal(p, "the number of results", len(got), len(want))
	for i, g := range got {
		if want[i].Err == nil {
			p.must(g.Err, "renewing", reqs[i].ID)
		} else {
			p.wantErr(g.Err, want[i].Err, "renewing", reqs[i].ID)
		}
		equal(p, fmt.Sprintf("lease %d", i), g.Lease, want[i].Lease)
	}
}

func renewOfNothingIsNothing(p *probe) { p.renew(nil, nil) }

func renewAnswersEachInOrder(p *probe) {
	a := locks.Lease{Token: p.grant(lasting(short, exclusive("a", "me"))), Owner: "me", TTL: long}
	s := locks.Lease{Token: p.grant(lasting(short, shared("s", ""))), Mode: locks.Shared, TTL: long}
	gone := p.grant(exclusive("gone", "me"))
	p.release("gone", byToken(gone), false)
	taken := p.grant(exclusive("taken", "you"))
	waiter := p.wait(exclusive("taken", "me"))
	p.renew([]locks.HeartbeatRequest{
		{ID: "free", Claim: byToken(7)},
		{ID: "a", Claim: byToken(a.Token), TTL: long},
		{ID: "taken", Claim: byOwner("me")},
		{ID: "a", Claim: byToken(a.Token + 1), TTL: long},
		{ID: "gone", Claim: byToken(gone), TTL: long},
		{ID: "s", Claim: bare(), TTL: long},
		{ID: "a", Claim: byOwner("me"), TTL: long},
	}, []locks.Renewed{{}, {Lease: a}, {Err: locks.ErrNotOwner}, {Err: locks.ErrNotOwner}, {}, {Lease: s}, {Lease: a}})
	p.expire()
	p.heldBy("a", a.Token)
	p.heldBy("s", s.Token)
	p.heldBy("taken", taken)
	p.heldBy("free")
	p.heldBy("gone")
	p.stillWait("taken", waiter)
}

func renewFallsBackToTheAcquiredTTL(p *probe) {
	a := locks.Lease{Token: p.grant(exclusive("a", "me")), Owner: "me", TTL: long}
	b := locks.Lease{Token: p.grant(lasting(locks.NoExpiry, shared("b", "me"))), Owner: "me", Mode: locks.Shared, TTL: locks.NoExpiry}
	hourA, hourB := a, b
	hourA.TTL, hourB.TTL = time.Hour, time.Hour
	ask := func(ttl time.Duration) []locks.HeartbeatRequest {
		return []locks.HeartbeatRequest{{ID: "a", Claim: byOwner("me"), TTL: ttl}, {ID: "b", Claim: byToken(b.Token), TTL: ttl}}
	}
	p.renew(ask(time.Hour), []locks.Renewed{{Lease: hourA}, {Lease: hourB}})
	p.ttl("a", a.Token, time.Hour)
	p.ttl("b", b.Token, time.Hour)
	p.renew(ask(0), []locks.Renewed{{Lease: a}, {Lease: b}})
	p.ttl("a", a.Token, long)
	p.ttl("b", b.Token, locks.NoExpiry)
}

func renewTakesOneLeaseTwice(p *probe) {
	lease := locks.Lease{Token: p.grant(exclusive("a", "")), TTL: time.Hour}
	again := lease
	again.TTL = time.Minute
	p.renew([]locks.HeartbeatRequest{{ID: "a", TTL: time.Hour}, {ID: "a", TTL: time.Minute}}, []locks.Renewed{{Lease: lease}, {Lease: again}})
	p.ttl("a", lease.Token, time.Minute)
}

func renewTakesMany(p *probe) {
	var reqs []locks.HeartbeatRequest
	var want []locks.Renewed
	for i := range 300 {
		id := locks.ID(fmt.Sprint("lock/", i))
		req, renewed := locks.HeartbeatRequest{ID: id, Claim: byOwner("me"), TTL: long}, locks.Renewed{}
		switch i % 3 {
		case 0:
			renewed.Lease = locks.Lease{Token: p.grant(lasting(short, exclusive(id, "me"))), Owner: "me", TTL: long}
		case 1:
			p.grant(exclusive(id, "you"))
			renewed.Err = locks.ErrNotOwner
		}
		reqs, want = append(reqs, req), append(want, renewed)
		if i%3 == 0 { // a real clock may not let it live until all are there
			p.heartbeat(id, byOwner("me"), long, renewed.Lease)
		}
	}
	p.renew(reqs, want)
}

func renewFailsAsAWhole(p *probe) {
	token := p.grant(exclusive("a", "me"))
	reqs := []locks.HeartbeatRequest{{ID: "a", Claim: byToken(token), TTL: time.Hour}, {ID: "b"}}
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	fails := func(ctx context.Context, want error) {
		got := p.Engine.Renew(ctx, reqs)
		equal(p, "the number of results", len(got), len(reqs))
		for i, g := range got {
			p.wantErr(g.Err, want, "renewing", reqs[i].ID)
			equal(p, "the lease", g.Lease, locks.Lease{})
		}
	}
	fails(ctx, locks.ErrUnavailable)
	p.ttl("a", token, long)
	p.must(p.Engine.Close(), "closing the engine of", "a")
	fails(p.t.Context(), locks.ErrShutdown)
}

func (p *probe) releaseAll(reqs []locks.ReleaseRequest, want []locks.ReleaseResult) {
	p.t.Helper()
	got := p.Engine.ReleaseAll(p.t.Context(), reqs)
	equal(p, "the number of results", len(got), len(want))
	for i, g := range got {
		if want[i].Err == nil {
			p.must(g.Err, "releasing", reqs[i].ID)
		} else {
			p.wantErr(g.Err, want[i].Err, "releasing", reqs[i].ID)
		}
		equal(p, fmt.Sprintf("release %d", i), g.Released, want[i].Released)
	}
}

func releaseAllAnswersEachInOrder(p *probe) {
	p.releaseAll(nil, nil)
	a, taken := p.grant(exclusive("a", "me")), p.grant(exclusive("taken", "you"))
	first, second := p.grant(shared("s", "")), p.grant(shared("s", "me"))
	known := p.grant(exclusive("known", "me"))
	equal(p, "the token acquired again", p.grant(exclusive("known", "me")), known)
	waited := p.grant(exclusive("waited", ""))
	waiter := p.wait(exclusive("waited", "me"))
	p.releaseAll([]locks.ReleaseRequest{
		{ID: "free", Claim: byToken(7)},
		{ID: "a", Claim: byToken(a)},
		{ID: "taken", Claim: byToken(taken + 1)},
		{ID: "s", Claim: byToken(first)},
		{ID: "s", Claim: byToken(second)},
		{ID: "known", Claim: byToken(known), Untold: true},
		{ID: "waited", Claim: byToken(waited)},
	}, []locks.ReleaseResult{
		{},
		{Released: locks.Released{Ended: 1}},
		{Released: locks.Released{Held: true}, Err: locks.ErrNotOwner},
		{Released: locks.Released{Ended: 1, Held: true}},
		{Released: locks.Released{Ended: 1}},
		{Released: locks.Released{Held: true}},
		{Released: locks.Released{Ended: 1, Held: true}},
	})
	p.heldBy("waited", p.granted(waiter))
	p.heldBy("taken", taken)
	p.heldBy("known", known)
	p.heldBy("a")
	p.heldBy("s")
}

func releaseAllTakesMany(p *probe) {
	var reqs []locks.ReleaseRequest
	var want []locks.ReleaseResult
	for i := range 300 {
		id := locks.ID(fmt.Sprint("lock/", i))
		reqs = append(reqs, locks.ReleaseRequest{ID: id, Claim: byToken(p.grant(exclusive(id, "")))})
		want = append(want, locks.ReleaseResult{Released: locks.Released{Ended: 1}})
	}
	p.releaseAll(reqs, want)
	p.scanned("", 0)
}
