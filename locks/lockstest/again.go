package lockstest

import "github.com/goodjobtech/candado/locks"

// Cases about an owner that asks again while it waits, or waits though it holds.
func againCases() []testCase {
	return []testCase{
		{"WaitingAgainKeepsThePlace", waitingAgainKeepsThePlace},
		{"WaitingAgainTakesOverTheNewRequest", waitingAgainTakesOverTheNewRequest},
		{"WaitingAgainMayBeGrantedAtOnce", waitingAgainMayBeGrantedAtOnce},
		{"WaitingAgainMayLetOthersIn", waitingAgainMayLetOthersIn},
		{"WaitingAgainNeedsNoRoom", waitingAgainNeedsNoRoom},
		{"WaitingAgainOnTheOtherEngineKeepsThePlace", waitingAgainOnTheOtherEngineKeepsThePlace},
		{"AnonymousWaitersAreDifferent", anonymousWaitersAreDifferent},
		{"WaiterThatAsksWithoutAWaitKeepsItsPlace", waiterThatAsksWithoutAWaitKeepsItsPlace},
		{"LeavingOfTheOlderRequestLeavesTheNewerAlone", leavingOfTheOlderRequestLeavesTheNewerAlone},
		{"HolderAcquiresAgainThoughOthersWait", holderAcquiresAgainThoughOthersWait},
		{"HolderThatWaitsInOtherModeIsRefusedAtOnce", holderThatWaitsInOtherModeIsRefusedAtOnce},
	}
}

// waitAgain sends a waiting request in the place of an older one, and wants the
// older one to end.
func (p *probe) waitAgain(older *call, req locks.AcquireRequest) *call {
	p.t.Helper()
	c := p.start(waiting(req))
	p.ends(older, locks.ErrHeld)
	return c
}

func waitingAgainKeepsThePlace(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	first, older, third := p.wait(exclusive("a", "1")), p.wait(exclusive("a", "2")), p.wait(exclusive("a", "3"))
	again := p.waitAgain(older, exclusive("a", "2"))
	again = p.waitAgain(again, exclusive("a", "2"))
	p.stillWait("a", first, again, third)
	p.serves("a", token, []*call{first, again, third})
}

func waitingAgainTakesOverTheNewRequest(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	older := p.wait(lasting(short, exclusive("a", "me")))
	beside := p.wait(shared("a", ""))
	again := p.waitAgain(older, shared("a", "me"))
	p.stillWait("a", again, beside)
	p.release("a", byToken(token), true)
	mine := p.granted(again)
	p.heldBy("a", mine, p.granted(beside))
	p.expire()
	p.live("a", mine, true)

	older = p.wait(exclusive("a", "you"))
	again = p.waitAgain(older, limited(1, shared("a", "you")))
	p.stillWait("a", again)
	p.release("a", bare(), true)
	p.stillWait("a", again)
	p.release("a", byOwner("me"), true)
	p.heldBy("a", p.granted(again))
}

func waitingAgainMayBeGrantedAtOnce(p *probe) {
	held := p.grant(shared("a", "holder"))
	older := p.wait(exclusive("a", "me"))
	again := p.waitAgain(older, shared("a", "me"))
	p.heldBy("a", held, p.granted(again))
	p.stillWait("a")

	older = p.wait(limited(2, shared("a", "you")))
	again = p.waitAgain(older, limited(3, shared("a", "you")))
	p.granted(again)
}

func waitingAgainMayLetOthersIn(p *probe) {
	held := p.grant(shared("a", "holder"))
	older := p.wait(exclusive("a", "me"))
	behind := p.wait(shared("a", "x"))
	writer := p.wait(exclusive("a", "y"))
	again := p.waitAgain(older, shared("a", "me"))
	p.heldBy("a", held, p.granted(again), p.granted(behind))
	p.stillWait("a", writer)
}

func waitingAgainNeedsNoRoom(p *probe) {
	if p.MaxWaiters == 0 {
		p.t.Skip("the queue is too long to be filled")
	}
	token := p.grant(exclusive("a", "holder"))
	calls := p.queue("a", p.MaxWaiters)
	p.refuse(waiting(exclusive("a", "you")), locks.ErrBusy)
	calls[4] = p.waitAgain(calls[4], calls[4].req)
	p.refuse(exclusive("a", calls[4].req.Owner), locks.ErrHeld)
	p.stillWait("a", calls...)
	p.serves("a", token, calls)
}

func waitingAgainOnTheOtherEngineKeepsThePlace(p *probe) {
	other := p.second()
	token := p.grant(exclusive("a", "holder"))
	older, last := p.wait(exclusive("a", "me")), p.wait(exclusive("a", "you"))
	again := other.waitAgain(older, exclusive("a", "me"))
	p.stillWait("a", again, last)
	p.serves("a", token, []*call{again, last})
}

func anonymousWaitersAreDifferent(p *probe) {
	token := p.grant(exclusive("a", ""))
	calls := []*call{p.wait(exclusive("a", "")), p.wait(exclusive("a", "")), p.wait(exclusive("a", ""))}
	p.stillWait("a", calls...)
	p.serves("a", token, calls)
}

func waiterThatAsksWithoutAWaitKeepsItsPlace(p *probe) {
	token := p.grant(shared("a", "holder"))
	calls := []*call{p.wait(exclusive("a", "1")), p.wait(exclusive("a", "2"))}
	p.refuse(exclusive("a", "1"), locks.ErrHeld)
	p.refuse(shared("a", "1"), locks.ErrHeld)
	p.refuse(shared("a", "2"), locks.ErrHeld)
	p.stillWait("a", calls...)
	p.serves("a", token, calls)
}

func leavingOfTheOlderRequestLeavesTheNewerAlone(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	for range 20 {
		older := p.wait(exclusive("a", "me"))
		again := p.start(waiting(exclusive("a", "me")))
		older.cancel() // before or after the newer one is there
		if !older.await() {
			p.t.Fatal("the older request does not return")
		}
		p.eventually("the newer request waits alone", func() bool { return p.info("a").Waiters == 1 })
		p.stillWait("a", again)
		p.release("a", byToken(token), true)
		token = p.granted(again)
		p.release("a", byToken(token), false)
		token = p.grant(exclusive("a", "holder"))
	}
}

func holderAcquiresAgainThoughOthersWait(p *probe) {
	mine := p.grant(lasting(short, exclusive("a", "me")))
	c := p.wait(exclusive("a", "you"))
	equal(p, "the token acquired again", p.grant(exclusive("a", "me")), mine)
	equal(p, "the token acquired again with a wait", p.grant(waiting(exclusive("a", "me"))), mine)
	p.ttl("a", mine, long)
	p.expire()
	p.stillWait("a", c)
	p.heldBy("a", mine)

	crowded := p.grant(shared("b", "me"))
	behind := p.wait(exclusive("b", "you"))
	equal(p, "the token acquired again", p.grant(shared("b", "me")), crowded)
	equal(p, "the token acquired again with a wait", p.grant(waiting(limited(1, shared("b", "me")))), crowded)
	p.heldBy("b", crowded)
	p.stillWait("b", behind)
}

func holderThatWaitsInOtherModeIsRefusedAtOnce(p *probe) {
	mine, crowded := p.grant(exclusive("a", "me")), p.grant(shared("b", "me"))
	p.refuse(waiting(shared("a", "me")), locks.ErrMode)
	p.refuse(waiting(exclusive("b", "me")), locks.ErrMode)
	c := p.wait(exclusive("a", "you"))
	p.refuse(waiting(shared("a", "me")), locks.ErrMode)
	p.heldBy("a", mine)
	p.heldBy("b", crowded)
	p.stillWait("a", c)
	p.stillWait("b")
}
