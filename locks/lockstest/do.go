package lockstest

import (
	"context"
	"errors"
	"fmt"

	"github.com/goodjobtech/candado/locks"
)

// Cases about several operations of one client.
func doCases() []testCase {
	return []testCase{
		{"DoOfNothingDoesNothing", doOfNothingDoesNothing},
		{"DoGoesInOrder", doGoesInOrder},
		{"DoComesToWhatSingleRequestsDo", doComesToWhatSingleRequestsDo},
		{"DoFailsEachAlone", doFailsEachAlone},
		{"DoNeverWaits", doNeverWaits},
		{"DoHandsOver", doHandsOver},
		{"DoTakesMany", doTakesMany},
		{"DoFailsAsAWhole", doFailsAsAWhole},
	}
}

// ops are of these kinds.
func toAcquire(req locks.AcquireRequest) locks.Op {
	return locks.Op{Kind: locks.OpAcquire, Acquire: req}
}

func toRelease(id locks.ID, c locks.Claim) locks.Op {
	return locks.Op{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: id, Claim: c}}
}

func toForce(id locks.ID) locks.Op {
	return locks.Op{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: id, Force: true}}
}

func toRenew(id locks.ID, c locks.Claim) locks.Op {
	return locks.Op{Kind: locks.OpHeartbeat, Heartbeat: locks.HeartbeatRequest{ID: id, Claim: c, TTL: long}}
}

func toCheck(id locks.ID, token locks.Token) locks.Op {
	return locks.Op{Kind: locks.OpCheck, Check: locks.CheckRequest{ID: id, Token: token}}
}

func (p *probe) do(ops ...locks.Op) []locks.Op {
	p.Engine.Do(p.t.Context(), ops)
	return ops
}

// came wants an operation to have come to this, with no error.
func (p *probe) came(op locks.Op, lease locks.Lease, released locks.Released, live bool) {
	p.t.Helper()
	p.must(op.Err, "doing", op.Acquire.ID+op.Release.ID+op.Heartbeat.ID+op.Check.ID)
	equal(p, "the lease", op.Lease, lease)
	equal(p, "what was released", op.Released, released)
	equal(p, "whether the lease lives", op.Live, live)
}

// failed wants an operation to have failed, and to have come to nothing.
func (p *probe) failed(op locks.Op, want error) {
	p.t.Helper()
	p.wantErr(op.Err, want, "doing", op.Acquire.ID+op.Release.ID+op.Heartbeat.ID+op.Check.ID)
	equal(p, "the lease of what failed", op.Lease, locks.Lease{})
	equal(p, "how many leases it ended", op.Released.Ended, 0)
	equal(p, "whether the lease lives", op.Live, false)
}

func doOfNothingDoesNothing(p *probe) { p.do() }

// Operations on one lock see what those before them did.
func doGoesInOrder(p *probe) {
	ops := p.do(
		toRelease("a", bare()),
		toAcquire(exclusive("a", "")),
		toAcquire(exclusive("a", "")),
		toRenew("a", bare()),
		toRelease("a", bare()),
		toRelease("a", bare()),
		toAcquire(exclusive("b", "me")),
		toAcquire(exclusive("a", "me")),
		toAcquire(exclusive("a", "me")),
		toForce("a"),
		toAcquire(exclusive("a", "you")),
		toCheck("b", 1),
	)
	first, last := ops[1].Lease.Token, ops[10].Lease.Token
	anonymous := locks.Lease{Token: first, TTL: long}
	mine := locks.Lease{Token: ops[7].Lease.Token, Owner: "me", TTL: long}
	p.came(ops[0], locks.Lease{}, locks.Released{}, false)
	p.came(ops[1], anonymous, locks.Released{}, false)
	p.failed(ops[2], locks.ErrHeld)
	p.came(ops[3], anonymous, locks.Released{}, false)
	p.came(ops[4], locks.Lease{}, locks.Released{Ended: 1}, false)
	p.came(ops[5], locks.Lease{}, locks.Released{}, false)
	p.came(ops[7], mine, locks.Released{}, false)
	p.came(ops[8], mine, locks.Released{}, false)
	p.came(ops[9], locks.Lease{}, locks.Released{Ended: 1}, false)
	p.came(ops[10], locks.Lease{Token: last, Owner: "you", TTL: long}, locks.Released{}, false)
	p.came(ops[11], locks.Lease{}, locks.Released{}, false)
	if first <= 0 || mine.Token <= first || last <= mine.Token {
		p.t.Fatalf("tokens %d, %d, %d do not increase", first, mine.Token, last)
	}
	p.heldBy("a", last)
	p.heldBy("b", ops[6].Lease.Token)
}

// The same operations on two sets of locks, together and one by one, end alike.
func doComesToWhatSingleRequestsDo(p *probe) {
	plan := func(set locks.ID) []locks.Op {
		return []locks.Op{
			toAcquire(exclusive(set+"x", "me")),
			toAcquire(shared(set+"s", "")),
			toAcquire(limited(2, shared(set+"s", "you"))),
			toAcquire(limited(2, shared(set+"s", "they"))),
			toAcquire(shared(set+"x", "me")),
			toRenew(set+"x", byOwner("me")),
			toRenew(set+"x", byOwner("you")),
			toRenew(set+"none", byOwner("you")),
			toRelease(set+"x", byToken(7)),
			toRelease(set+"s", bare()),
			toCheck(set+"s", 7),
			toForce(set + "s"),
			toRelease(set+"x", byOwner("me")),
			toAcquire(exclusive(set+"s", "")),
		}
	}
	together, single := p.do(plan("t")...), plan("u")
	locks.DoEach(p.t.Context(), p.Engine, single)
	for i := range single {
		g, w := &together[i], &single[i]
		what := fmt.Sprintf("of operation %d, ", i)
		for _, known := range outcomes() {
			equal(p, what+fmt.Sprintf("whether the error is %v", known), errors.Is(g.Err, known), errors.Is(w.Err, known))
		}
		equal(p, what+"whether there is a token", g.Lease.Token != 0, w.Lease.Token != 0)
		g.Lease.Token = w.Lease.Token
		equal(p, what+"the lease", g.Lease, w.Lease)
		equal(p, what+"what was released", g.Released, w.Released)
		equal(p, what+"whether the lease lives", g.Live, w.Live)
	}
}

func doFailsEachAlone(p *probe) {
	theirs := p.grant(exclusive("theirs", "you"))
	mine := p.grant(shared("mine", "me"))
	ops := p.do(
		toAcquire(exclusive("theirs", "me")),
		toAcquire(exclusive("a", "me")),
		toAcquire(exclusive("mine", "me")),
		toRelease("theirs", byOwner("me")),
		toAcquire(exclusive("b", "me")),
		toRenew("theirs", bare()),
		toCheck("mine", mine),
		toCheck("mine", mine+1),
	)
	p.failed(ops[0], locks.ErrHeld)
	p.failed(ops[2], locks.ErrMode)
	p.failed(ops[3], locks.ErrNotOwner)
	p.failed(ops[5], locks.ErrNotOwner)
	p.came(ops[6], locks.Lease{}, locks.Released{}, true)
	p.came(ops[7], locks.Lease{}, locks.Released{}, false)
	p.heldBy("theirs", theirs)
	p.heldBy("mine", mine)
	p.heldBy("a", ops[1].Lease.Token)
	p.heldBy("b", ops[4].Lease.Token)
}

// A lock with waiters is not free for what does not wait.
func doNeverWaits(p *probe) {
	p.grant(exclusive("a", ""))
	waiter := p.wait(exclusive("a", "me"))
	ops := p.do(toAcquire(exclusive("a", "you")), toAcquire(shared("a", "")), toAcquire(exclusive("b", "you")))
	p.failed(ops[0], locks.ErrHeld)
	p.failed(ops[1], locks.ErrHeld)
	p.must(ops[2].Err, "acquiring", "b")
	p.stillWait("a", waiter)
}

// What a release hands over is no more to be had for the operation behind it.
func doHandsOver(p *probe) {
	p.grant(exclusive("a", ""))
	waiter := p.wait(exclusive("a", "me"))
	ops := p.do(toRelease("a", bare()), toAcquire(exclusive("a", "")), toRenew("a", bare()))
	p.came(ops[0], locks.Lease{}, locks.Released{Ended: 1, Held: true}, false)
	p.failed(ops[1], locks.ErrHeld)
	p.failed(ops[2], locks.ErrNotOwner)
	p.granted(waiter)
}

func doTakesMany(p *probe) {
	const n = 700
	var ops []locks.Op
	for i := range n {
		id := locks.ID(fmt.Sprint("lock ", i))
		ops = append(ops, toAcquire(exclusive(id, "")), toRenew(id, bare()), toRelease(id, bare()), toAcquire(exclusive(id, "me")))
	}
	p.do(ops...)
	for i := range n {
		first := ops[4*i]
		p.came(first, locks.Lease{Token: first.Lease.Token, TTL: long}, locks.Released{}, false)
		p.came(ops[4*i+1], first.Lease, locks.Released{}, false)
		p.came(ops[4*i+2], locks.Lease{}, locks.Released{Ended: 1}, false)
		again := ops[4*i+3]
		p.came(again, locks.Lease{Token: again.Lease.Token, Owner: "me", TTL: long}, locks.Released{}, false)
		if again.Lease.Token <= first.Lease.Token {
			p.t.Fatalf("token %d follows %d", again.Lease.Token, first.Lease.Token)
		}
	}
	p.heldBy("lock 0", ops[3].Lease.Token)
	p.heldBy("lock 699", ops[4*n-1].Lease.Token)
}

func doFailsAsAWhole(p *probe) {
	token := p.grant(exclusive("a", ""))
	plan := func() []locks.Op {
		return []locks.Op{toRelease("a", bare()), toAcquire(exclusive("b", "")), toRenew("a", bare()), toCheck("a", token)}
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	ops := plan()
	p.Engine.Do(ctx, ops)
	for _, op := range ops {
		p.failed(op, locks.ErrUnavailable)
	}
	p.heldBy("a", token)
	p.heldBy("b")
	p.must(p.Engine.Close(), "closing the engine of", "a")
	for _, op := range p.do(plan()...) {
		p.failed(op, locks.ErrShutdown)
	}
}
