package memory

import (
	"github.com/goodjobtech/candado/locks"
)

// The steps of explore_test.go: what a world does, and what was seen of it.

// kind is which step a deed was.
type kind int

const (
	passed kind = iota
	acquired
	released
	renewed
	left
	passedOn
)

// deed is a step that was made: what was asked, and what came back.
type deed struct {
	kind    kind
	stood   []*waiter // who stood in the queue before
	index   int       // which of them left
	claim   locks.Claim
	force   bool
	req     locks.AcquireRequest
	lease   locks.Lease
	waiter  *waiter // of the request, if it waits
	outcome locks.Released
	err     error
}

// mutation is a fault that a world's steps have.
type mutation int

const (
	nothing mutation = iota
	repeatTokens
	ignoreTime
	skipQueue
	ignoreLimit
	serveLast
	forgetToServe
	leaveUnserved
	answerTwice
	forgetToken
	keepAnnex
	moveDeadline
	endStranger
	mutations
)

func (m mutation) String() string {
	return [...]string{"nothing", "tokens repeat", "leases do not expire", "newcomers pass the queue", "limits are ignored",
		"the last in the queue is served", "a release serves nobody", "leaving serves nobody", "a waiter is answered twice",
		"the last token is forgotten", "the annex is kept", "the deadline is late", "a release ends another lease"}[m]
}

func (w *world) passStep(ticks int) *deed {
	d := &deed{kind: passed, stood: w.queued()}
	w.now += instant(ticks) * instant(tick)
	if w.broken != ignoreTime {
		w.settle(w.now, w)
	}
	return d
}

func (w *world) acquireStep(req locks.AcquireRequest, most int) *deed {
	d := &deed{kind: acquired, stood: w.queued(), req: req}
	if w.broken == ignoreLimit {
		req.Limit = 0
	}
	if w.broken == skipQueue && req.Owner == "" && w.admits(req) {
		d.lease, d.err = w.grant(req, w.now, w)
		return d
	}
	w.settle(w.now, w)
	d.lease, d.waiter, d.err = w.acquire(req, w.now, w, most)
	if w.broken == moveDeadline && d.lease.Token != 0 {
		w.sole.expires += instant(tick)
	}
	return d
}

func (w *world) releaseStep(req locks.ReleaseRequest) *deed {
	d := &deed{kind: released, stood: w.queued(), claim: req.Claim, force: req.Force}
	if w.broken == serveLast && w.waiters() > 1 {
		w.annex.queue.order.MoveToFront(w.annex.queue.order.Back())
	}
	w.settle(w.now, w)
	mine := w.claimed(req.Claim)
	if w.broken == forgetToServe && mine != nil {
		w.drop(mine, w.now)
		d.outcome = locks.Released{Ended: 1, Held: w.held()}
		return d
	}
	if w.broken == endStranger && mine == nil && w.held() && !req.Force {
		req.Force = true
	}
	d.outcome, d.err = w.release(req, w.now, w)
	switch {
	case w.broken == answerTwice && len(d.stood) > 0 && d.stood[0].place == nil:
		d.stood[0].answer <- answer{err: locks.ErrHeld}
	case w.broken == forgetToken && !w.held():
		w.sole.token = 0
	case w.broken == keepAnnex && !w.held():
		w.annex = &annex{}
	}
	return d
}

func (w *world) heartbeatStep(req locks.HeartbeatRequest) *deed {
	d := &deed{kind: renewed, stood: w.queued(), claim: req.Claim}
	w.settle(w.now, w)
	d.lease, d.err = w.heartbeat(req, w.now)
	return d
}

func (w *world) leaveStep(i int) *deed {
	d := &deed{kind: left, stood: w.queued(), index: i}
	w.settle(w.now, w)
	if w.broken == leaveUnserved {
		w.annex.queue.remove(d.stood[i])
		w.trim()
		return d
	}
	if !w.leave(d.stood[i], w.now, w) {
		d.err = locks.ErrHeld
	}
	return d
}

func (w *world) passOnStep(token locks.Token) *deed {
	d := &deed{kind: passedOn, stood: w.queued(), claim: locks.Claim{Token: token}}
	w.settle(w.now, w)
	w.passOn(token, w.now, w)
	return d
}
