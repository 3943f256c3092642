package lockstest

import (
	"strconv"

	"github.com/goodjobtech/candado/locks"
)

// Cases about the queue: who enters, in which order it is served, and who
// shares.
func queueCases() []testCase {
	return []testCase{
		{"FreeLockIsGrantedToWhoWouldWait", freeLockIsGrantedToWhoWouldWait},
		{"WaitersAreServedInOrder", waitersAreServedInOrder},
		{"WaitersAreServedInOrderHoweverLeasesEnd", waitersAreServedInOrderHoweverLeasesEnd},
		{"NewcomersAreRefusedWhileOthersWait", newcomersAreRefusedWhileOthersWait},
		{"SharedNeverOvertakesAWaiter", sharedNeverOvertakesAWaiter},
		{"SharedWaitersAreGrantedTogether", sharedWaitersAreGrantedTogether},
		{"ExclusiveWaitsForTheWholeSharedGroup", exclusiveWaitsForTheWholeSharedGroup},
		{"LimitIsKeptInTheQueue", limitIsKeptInTheQueue},
		{"LimitedHeadHoldsBackEverybody", limitedHeadHoldsBackEverybody},
		{"EachWaiterHasItsOwnLimit", eachWaiterHasItsOwnLimit},
		{"FullQueueIsBusy", fullQueueIsBusy},
		{"QueuesOfLocksAreApart", queuesOfLocksAreApart},
		{"EnginesOnOneStoreShareTheQueue", enginesOnOneStoreShareTheQueue},
		{"AnyBytesWait", anyBytesWait},
	}
}

func freeLockIsGrantedToWhoWouldWait(p *probe) {
	token := p.grant(waiting(exclusive("a", "me")))
	p.heldBy("a", token)
	first, second := p.grant(waiting(shared("b", "me"))), p.grant(waiting(limited(2, shared("b", ""))))
	p.heldBy("b", first, second)
	p.stillWait("a")
	p.stillWait("b")
}

// owners returns that many different owners, and an anonymous one now and then.
func owners(n int) []locks.Owner {
	all := make([]locks.Owner, n)
	for i := range all {
		if i%3 != 2 {
			all[i] = locks.Owner(strconv.Itoa(i))
		}
	}
	return all
}

// queue lets that many exclusive requests wait for the lock.
func (p *probe) queue(id locks.ID, n int) []*call {
	p.t.Helper()
	var calls []*call
	for _, owner := range owners(n) {
		calls = append(calls, p.wait(exclusive(id, owner)))
	}
	return calls
}

// serves wants each release to hand over to the next of these calls, and the
// lock to be free in the end.
func (p *probe) serves(id locks.ID, token locks.Token, calls []*call) {
	p.t.Helper()
	for i, c := range calls {
		p.release(id, byToken(token), true)
		token = p.granted(c)
		p.heldBy(id, token)
		equal(p, "the number of waiters", p.info(id).Waiters, len(calls)-i-1)
	}
	p.release(id, byToken(token), false)
	p.heldBy(id)
}

func waitersAreServedInOrder(p *probe) {
	token := p.grant(exclusive("a", "holder"))
	calls := p.queue("a", 20)
	p.stillWait("a", calls...)
	p.serves("a", token, calls)
}

func waitersAreServedInOrderHoweverLeasesEnd(p *probe) {
	last := p.grant(exclusive("a", "holder"))
	calls := p.queue("a", 12)
	owner := locks.Owner("holder")
	for i, c := range calls {
		switch {
		case i%4 == 0:
			p.heartbeat("a", byToken(last), short, locks.Lease{Token: last, Owner: owner, TTL: short})
			p.expire()
			p.settle()
		case i%4 == 1:
			p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: 1, Held: true})
		case owner == "":
			p.release("a", bare(), true)
		default:
			p.release("a", byOwner(owner), true)
		}
		token := p.granted(c)
		if token <= last {
			p.t.Fatalf("token %d follows %d", token, last)
		}
		p.heldBy("a", token)
		last, owner = token, c.req.Owner
		p.stillWait("a", calls[i+1:]...)
	}
}

func newcomersAreRefusedWhileOthersWait(p *probe) {
	token := p.grant(shared("a", "holder"))
	c := p.wait(exclusive("a", "waiter"))
	p.refuse(exclusive("a", "you"), locks.ErrHeld)
	p.refuse(shared("a", "you"), locks.ErrHeld)
	p.refuse(shared("a", ""), locks.ErrHeld)
	p.refuse(limited(9, shared("a", "")), locks.ErrHeld)
	p.heldBy("a", token)
	p.stillWait("a", c)
	p.leaves(c)
	p.grant(shared("a", "you"))
}

func sharedNeverOvertakesAWaiter(p *probe) {
	held := p.grant(shared("a", "holder"))
	first := p.wait(exclusive("a", "writer"))
	second := p.wait(shared("a", "reader"))
	third := p.wait(shared("a", ""))
	p.stillWait("a", first, second, third)
	p.release("a", byToken(held), true)
	token := p.granted(first)
	p.stillWait("a", second, third)
	p.release("a", byToken(token), true)
	p.heldBy("a", p.granted(second), p.granted(third))
}

func sharedWaitersAreGrantedTogether(p *probe) {
	held := p.grant(exclusive("a", "holder"))
	group := []*call{p.wait(shared("a", "x")), p.wait(shared("a", "")), p.wait(shared("a", "y")), p.wait(shared("a", ""))}
	writer := p.wait(exclusive("a", "writer"))
	late := p.wait(shared("a", "z"))
	p.release("a", byToken(held), true)
	var tokens []locks.Token
	for _, c := range group {
		tokens = append(tokens, p.granted(c))
	}
	p.heldBy("a", tokens...) // in the order of the queue
	p.stillWait("a", writer, late)
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: 4, Held: true})
	p.heldBy("a", p.granted(writer))
	p.stillWait("a", late)
}

func exclusiveWaitsForTheWholeSharedGroup(p *probe) {
	tokens := []locks.Token{p.grant(shared("a", "x")), p.grant(shared("a", "")), p.grant(shared("a", "y"))}
	writer := p.wait(exclusive("a", "writer"))
	for i, token := range tokens {
		p.stillWait("a", writer)
		p.release("a", byToken(token), true)
		if i < len(tokens)-1 {
			p.heldBy("a", tokens[i+1:]...)
		}
	}
	p.heldBy("a", p.granted(writer))
}

func limitIsKeptInTheQueue(p *probe) {
	held := p.grant(exclusive("a", "holder"))
	var calls []*call
	for _, owner := range owners(7) {
		calls = append(calls, p.wait(limited(3, shared("a", owner))))
	}
	p.release("a", byToken(held), true)
	tokens := []locks.Token{p.granted(calls[0]), p.granted(calls[1]), p.granted(calls[2])}
	for i, c := range calls[3:] {
		p.heldBy("a", tokens...)
		p.stillWait("a", calls[3+i:]...)
		p.release("a", byToken(tokens[1]), true)
		tokens = []locks.Token{tokens[0], tokens[2], p.granted(c)}
	}
	p.heldBy("a", tokens...)
}

func limitedHeadHoldsBackEverybody(p *probe) {
	first, second := p.grant(shared("a", "x")), p.grant(shared("a", "y"))
	head := p.wait(limited(2, shared("a", "head")))
	free := p.wait(shared("a", "free")) // would be granted, were it first
	p.stillWait("a", head, free)
	p.release("a", byToken(first), true)
	p.heldBy("a", second, p.granted(head), p.granted(free))
}

func eachWaiterHasItsOwnLimit(p *probe) {
	held := p.grant(exclusive("a", "holder"))
	calls := []*call{p.wait(shared("a", "0")), p.wait(limited(2, shared("a", "1"))), p.wait(limited(5, shared("a", "2"))), p.wait(limited(3, shared("a", "3"))), p.wait(shared("a", "4"))}
	p.release("a", byToken(held), true)
	first, second, third := p.granted(calls[0]), p.granted(calls[1]), p.granted(calls[2])
	p.heldBy("a", first, second, third)
	p.stillWait("a", calls[3:]...)
	p.release("a", byToken(second), true)
	p.heldBy("a", first, third, p.granted(calls[3]), p.granted(calls[4]))
}

func fullQueueIsBusy(p *probe) {
	if p.MaxWaiters == 0 {
		p.t.Skip("the queue is too long to be filled")
	}
	token := p.grant(exclusive("a", "holder"))
	calls := p.queue("a", p.MaxWaiters)
	p.refuse(waiting(exclusive("a", "you")), locks.ErrBusy)
	p.refuse(waiting(shared("a", "")), locks.ErrBusy)
	p.refuse(exclusive("a", "you"), locks.ErrHeld) // who does not wait needs no room
	p.refuse(shared("a", ""), locks.ErrHeld)
	equal(p, "the holder's token", p.grant(waiting(exclusive("a", "holder"))), token)
	p.grant(waiting(exclusive("b", "you"))) // each lock has its own queue
	p.stillWait("a", calls...)

	p.leaves(calls[3])
	last := p.wait(exclusive("a", "you"))
	p.refuse(waiting(exclusive("a", "late")), locks.ErrBusy)
	calls = append(append(calls[:3:3], calls[4:]...), last)
	p.release("a", byToken(token), true)
	token = p.granted(calls[0])
	calls = append(calls[1:], p.wait(exclusive("a", "late")))
	p.refuse(waiting(exclusive("a", "later")), locks.ErrBusy)
	p.serves("a", token, calls)
}

func queuesOfLocksAreApart(p *probe) {
	a, b := p.grant(exclusive("a", "holder")), p.grant(exclusive("b", "holder"))
	waitsForA, waitsForB := p.wait(exclusive("a", "me")), p.wait(exclusive("b", "me")) // one owner, two queues
	p.release("b", byToken(b), true)
	b = p.granted(waitsForB)
	p.heldBy("a", a)
	p.stillWait("a", waitsForA)
	p.stillWait("b")
	p.release("a", byToken(a), true)
	p.granted(waitsForA)
	p.heldBy("b", b)
}

func enginesOnOneStoreShareTheQueue(p *probe) {
	other := p.second()
	token := p.grant(exclusive("a", "holder"))
	var calls []*call
	for i, owner := range owners(12) {
		side := p
		if i%3 != 0 {
			side = other
		}
		calls = append(calls, side.wait(exclusive("a", owner)))
	}
	p.stillWait("a", calls...)
	other.stillWait("a", calls...)
	other.refuse(exclusive("a", "you"), locks.ErrHeld)
	p.serves("a", token, calls) // this engine hands over to the other's waiters

	token = p.grant(exclusive("a", "holder"))
	here, there := p.wait(exclusive("a", "here")), other.wait(exclusive("a", "there"))
	other.release("a", byToken(token), true)
	token = p.granted(here)
	other.release("a", byToken(token), true)
	p.heldBy("a", p.granted(there))
}

func anyBytesWait(p *probe) {
	for _, id := range strangeIDs() {
		token := p.grant(exclusive(id, "holder"))
		owner := locks.Owner(id)[:min(len(id), locks.MaxOwnerLen)]
		first, second := p.wait(exclusive(id, owner)), p.wait(exclusive(id, ""))
		p.release(id, byToken(token), true)
		p.granted(first)
		p.release(id, byOwner(owner), true)
		p.release(id, byToken(p.granted(second)), false)
	}
}
