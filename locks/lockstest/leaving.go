package lockstest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Cases about waiters that give up, and about the end of the engine.
func leavingCases() []testCase {
	return []testCase{
		{"CancelledWaiterLeavesNothing", cancelledWaiterLeavesNothing},
		{"LeavingFromTheMiddleKeepsTheOrder", leavingFromTheMiddleKeepsTheOrder},
		{"LeavingHeadLetsOthersIn", leavingHeadLetsOthersIn},
		{"LeavingLimitedHeadLetsOthersIn", leavingLimitedHeadLetsOthersIn},
		{"LeaverMayComeBackAtTheEnd", leaverMayComeBackAtTheEnd},
		{"ManyLeaveAtOnce", manyLeaveAtOnce},
		{"ElapsedWaitLeavesNothing", elapsedWaitLeavesNothing},
		{"WaitLastsNoLongerThanItsContext", waitLastsNoLongerThanItsContext},
		{"EndedContextEntersNoQueue", endedContextEntersNoQueue},
		{"LeavingThatMeetsAReleaseLosesNothing", leavingThatMeetsAReleaseLosesNothing},
		{"LeavingThatMeetsAReleasePassesOn", leavingThatMeetsAReleasePassesOn},
		{"ElapsedWaitThatMeetsAReleaseLosesNothing", elapsedWaitThatMeetsAReleaseLosesNothing},
		{"CloseEndsTheWaits", closeEndsTheWaits},
	}
}

func cancelledWaiterLeavesNothing(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	c := p.wait(exclusive("a", "me"))
	p.leaves(c)
	p.stillWait("a")
	p.heldBy("a", token)
	p.release("a", byToken(token), false) // to nobody
	p.heldBy("a")

	token = p.grant(exclusive("a", "holder"))
	first, second := p.wait(exclusive("a", "me")), p.wait(exclusive("a", "you"))
	p.leaves(first)
	p.stillWait("a", second)
	p.release("a", byToken(token), true)
	p.heldBy("a", p.granted(second))
}

func leavingFromTheMiddleKeepsTheOrder(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	calls := p.queue("a", 12)
	var stay []*call
	for i, c := range calls {
		if i%4 == 1 || i%4 == 2 {
			p.leaves(c)
		} else {
			stay = append(stay, c)
		}
	}
	p.stillWait("a", stay...)
	p.serves("a", token, stay)
}

func leavingHeadLetsOthersIn(p *probe) {
	held := p.grant(shared("a", "holder"))
	head := p.wait(exclusive("a", "head"))
	first, second := p.wait(shared("a", "")), p.wait(shared("a", "me"))
	writer, last := p.wait(exclusive("a", "writer")), p.wait(shared("a", ""))
	p.leaves(head)
	p.heldBy("a", held, p.granted(first), p.granted(second))
	p.stillWait("a", writer, last)
	p.leaves(writer)
	p.granted(last)
	p.stillWait("a")
}

func leavingLimitedHeadLetsOthersIn(p *probe) {
	first, second := p.grant(shared("a", "x")), p.grant(shared("a", "y"))
	head := p.wait(limited(1, shared("a", "head")))
	next, last := p.wait(limited(3, shared("a", ""))), p.wait(limited(3, shared("a", "")))
	p.leaves(head)
	p.heldBy("a", first, second, p.granted(next))
	p.stillWait("a", last)
}

func leaverMayComeBackAtTheEnd(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	first, second := p.wait(exclusive("a", "1")), p.wait(exclusive("a", "2"))
	p.leaves(first)
	first = p.wait(exclusive("a", "1"))
	p.serves("a", token, []*call{second, first})
}

func manyLeaveAtOnce(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	calls := p.queue("a", 36)
	var stay, leave []*call
	for i, c := range calls {
		if i%3 == 0 {
			stay = append(stay, c)
		} else {
			leave = append(leave, c)
		}
	}
	for _, c := range leave {
		c.cancel()
	}
	for _, c := range leave {
		p.ends(c, locks.ErrUnavailable)
	}
	p.stillWait("a", stay...)
	p.serves("a", token, stay)
}

func elapsedWaitLeavesNothing(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	patient := exclusive("a", "patient")
	brief := exclusive("a", "brief")
	brief.Wait = short
	first, second := p.start(brief), p.wait(patient)
	p.ends(first, locks.ErrHeld)
	p.stillWait("a", second)
	p.release("a", byToken(token), true)
	token = p.granted(second)

	brief.Wait = time.Millisecond
	p.ends(p.start(brief), locks.ErrHeld)
	p.stillWait("a")
	p.release("a", byToken(token), false)
	p.heldBy("a")
}

func waitLastsNoLongerThanItsContext(p *probe) {
	p.grant(exclusive("a", "holder"))
	req := exclusive("a", "me")
	req.Wait = time.Hour
	ctx, cancel := context.WithTimeout(p.t.Context(), short)
	defer cancel()
	c := start(ctx, p.Engine, req)
	p.ends(c, locks.ErrUnavailable)
	p.wantErr(c.err, context.DeadlineExceeded, "acquiring", "a")
	p.stillWait("a")
}

func endedContextEntersNoQueue(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	for _, id := range []locks.ID{"a", "b"} {
		_, err := p.Engine.Acquire(ctx, waiting(exclusive(id, "me")))
		p.wantErr(err, locks.ErrUnavailable, "acquiring", id)
		p.stillWait(id)
	}
	p.heldBy("b")
	p.release("a", byToken(token), false)
}

// meet runs these at the same moment and waits until they have run.
func meet(all ...func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, do := range all {
		wg.Go(func() {
			<-begin
			do()
		})
	}
	close(begin)
	wg.Wait()
}

// releaseInAMeeting releases the lease: to nobody or to somebody.
func (p *probe) releaseInAMeeting(token locks.Token) {
	released, err := p.Engine.Release(p.t.Context(), locks.ReleaseRequest{ID: "a", Claim: byToken(token)})
	if err != nil || released.Ended != 1 {
		p.t.Errorf("releasing: %+v, %v", released, err)
	}
}

// settled wants a call that met a release to have either its lease, or the
// error and no lease that is left behind; the lock is free afterwards.
func (p *probe) settled(c *call, want error) {
	p.t.Helper()
	if !c.await() {
		p.t.Fatal("the request that met a release does not return")
	}
	if c.err == nil {
		p.heldBy("a", c.lease.Token)
		p.release("a", byToken(c.lease.Token), false)
		return
	}
	p.ends(c, want)
	p.eventually("the lock is free after its only waiter has left", func() bool { return !p.info("a").Held() })
	equal(p, "the waiters", p.info("a").Waiters, 0)
}

func leavingThatMeetsAReleaseLosesNothing(p *probe) {
	for i := range 60 {
		token := p.grant(exclusive("a", "holder"))
		owner := locks.Owner("me")
		if i%2 == 0 {
			owner = ""
		}
		c := p.wait(exclusive("a", owner))
		meet(c.cancel, func() { p.releaseInAMeeting(token) })
		p.settled(c, locks.ErrUnavailable)
	}
}

func leavingThatMeetsAReleasePassesOn(p *probe) {
	for range 40 {
		token := p.grant(exclusive("a", "holder"))
		head, next := p.wait(exclusive("a", "head")), p.wait(exclusive("a", ""))
		meet(head.cancel, func() { p.releaseInAMeeting(token) })
		if !head.await() {
			p.t.Fatal("the head does not return")
		}
		if head.err == nil {
			p.stillWait("a", next)
			p.release("a", byToken(head.lease.Token), true)
		}
		token = p.granted(next)
		p.heldBy("a", token)
		p.release("a", byToken(token), false)
	}
}

func elapsedWaitThatMeetsAReleaseLosesNothing(p *probe) {
	for i := range 20 {
		token := p.grant(exclusive("a", "holder"))
		req := exclusive("a", "me")
		req.Wait = time.Duration(1+i%4) * time.Millisecond
		c := p.start(req)
		timer := time.NewTimer(req.Wait)
		<-timer.C
		p.releaseInAMeeting(token)
		if !c.await() {
			p.t.Fatal("the request does not return")
		}
		if c.err != nil && !errors.Is(c.err, locks.ErrHeld) {
			p.t.Fatalf("acquiring: error is %v, want %v", c.err, locks.ErrHeld)
		}
		p.settled(c, locks.ErrHeld)
	}
}

func closeEndsTheWaits(p *probe) {
	p.grant(exclusive("a", "holder"))
	p.grant(shared("b", "holder"))
	calls := p.queue("a", 10)
	brief := exclusive("b", "me")
	brief.Wait = time.Hour
	calls = append(calls, p.wait(brief), p.wait(shared("b", "")))
	p.must(p.Engine.Close(), "closing the engine of", "a")
	for _, c := range calls {
		p.ends(c, locks.ErrShutdown)
	}
	p.refuse(waiting(exclusive("a", "me")), locks.ErrShutdown)
	p.refuse(waiting(exclusive("c", "me")), locks.ErrShutdown)
}
