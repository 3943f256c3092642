package memory

import (
	"math"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// This file is one lock as a pure machine: a step is a function of the lock's
// state, the request and the time. It knows no clock, mutex, map or timer.
// Every step begins with settle; the caller sees to that.

// instant is a moment on the engine's clock: nanoseconds since it started.
type instant int64

// never is the instant that does not come.
const never instant = math.MaxInt64

// after returns the instant at which what begins now and lasts d is over. More
// than a century is as good as never, and sums with it would overflow.
func after(now instant, d time.Duration) instant {
	if d == locks.NoExpiry || d >= time.Duration(never/2-now) {
		return never
	}
	return now + instant(d)
}

// lease is a live lease of a lock.
type lease struct {
	token   locks.Token
	owner   locks.Owner
	ttl     time.Duration // the one it was acquired with
	granted instant
	expires instant // it is dead from this instant on
}

// lock is the state of one lock. It is small because most locks are held by
// one exclusive holder: what shared holders and waiters need lies behind a pointer.
type lock struct {
	id locks.ID

	// sole is the holder's lease, if mode is Exclusive. In the other modes nothing
	// counts of it but its token and its expiry: see last and deadline.
	sole lease

	annex     *annex // nil unless mode is Shared or somebody waits
	index     int32  // place in the shard's heap of deadlines
	mode      locks.Mode
	counted   bool // whether the shard's count of held locks includes it
	confirmed bool // whether the sole holder's lease was renewed or acquired again
	inRow     bool // whether the shard's row of locks that were free includes it
}

// annex is what few locks need. An exclusive lock that nobody waits for has none.
type annex struct {
	crowd crowd // the holders, if the lock's mode is Shared
	queue queue // who waits; empty unless the lock is held
}

// minter makes the token of a new lease from the lock's last one.
type minter interface {
	mint(last locks.Token) (locks.Token, error)
}

// newLock returns the lock that nothing is known about: free, never granted.
func newLock(id locks.ID) *lock { return &lock{id: id, mode: locks.Free} }

func (l *lock) place() *int32 { return &l.index }
func (l *lock) held() bool    { return l.mode != locks.Free }

// last returns the highest token granted; 0 if unknown.
func (l *lock) last() locks.Token { return l.sole.token }

// deadline returns when time alone changes the lock next.
func (l *lock) deadline() instant { return l.sole.expires }

// unknown reports whether nothing is left of the lock that is worth keeping.
func (l *lock) unknown() bool { return l.mode == locks.Free && l.last() == 0 }

// crowd returns the shared holders; the lock must be held shared.
func (l *lock) crowd() *crowd { return &l.annex.crowd }

// extended returns the lock's annex, and makes it if there is none.
func (l *lock) extended() *annex {
	if l.annex == nil {
		l.annex = &annex{}
	}
	return l.annex
}

// trim gives up the annex if it is not needed any more. It must follow each
// step that takes the last holder or the last waiter away.
func (l *lock) trim() {
	if l.mode != locks.Shared && l.waiters() == 0 {
		l.annex = nil
	}
}

// settle drops the leases that are over, hands the lock over to who waits for
// it, and drops the last token once its retention is over. A lock that waiters
// get keeps its last token: it has not been free in between.
func (l *lock) settle(now instant, tokens minter) {
	switch {
	case now < l.deadline():
		return
	case l.mode == locks.Exclusive:
		l.free(l.sole.expires)
	case l.mode == locks.Shared:
		l.settleShared(now)
	}
	l.serve(now, tokens)
	if l.mode == locks.Free && l.deadline() <= now {
		l.sole.token = 0
	}
}

func (l *lock) settleShared(now instant) {
	for l.deadline() <= now {
		over := l.crowd().earliest()
		l.drop(over, over.expires)
		if !l.held() {
			return
		}
	}
}

// free leaves the lock without a holder from the instant at on. Who waits is
// then to be served.
func (l *lock) free(at instant) {
	if l.mode == locks.Shared {
		l.annex.crowd = crowd{}
	}
	l.mode, l.sole = locks.Free, lease{token: l.last(), expires: after(at, locks.Retention)}
	l.trim()
}

// drop ends one lease of the lock, at the instant given.
func (l *lock) drop(ended *lease, at instant) {
	if l.mode == locks.Shared {
		l.crowd().remove(ended)
		if l.crowd().len() > 0 {
			l.sole.expires = l.crowd().deadline()
			return
		}
	}
	l.free(at)
}

// claimed returns the live lease that the claim names, or nil.
func (l *lock) claimed(c locks.Claim) *lease {
	switch {
	case l.mode == locks.Shared:
		return l.crowd().claimed(c)
	case l.mode == locks.Exclusive && c.Matches(l.sole.token, l.sole.owner):
		return &l.sole
	}
	return nil
}

// acquire grants a lease, or renews the one that the owner has. If a request
// that waits can't be granted at once, it enters the queue, which takes up to
// most of them, and acquire returns it as a waiter.
func (l *lock) acquire(req locks.AcquireRequest, now instant, tokens minter, most int) (locks.Lease, *waiter, error) {
	if req.Owner != "" {
		if mine := l.claimed(locks.Claim{Owner: req.Owner}); mine != nil {
			lease, err := l.reacquire(mine, req, now)
			return lease, nil, err
		}
	}
	switch {
	case l.waiters() == 0 && l.admits(req):
		lease, err := l.grant(req, now, tokens)
		return lease, nil, err
	case req.Wait == 0:
		return locks.Lease{}, nil, locks.ErrHeld
	}
	w, err := l.enter(req, most)
	if err == nil {
		l.serve(now, tokens) // an owner that asked again at the head may ask for less than before
	}
	return locks.Lease{}, w, err
}

func (l *lock) reacquire(mine *lease, req locks.AcquireRequest, now instant) (locks.Lease, error) {
	if l.mode != req.Mode {
		return locks.Lease{}, locks.ErrMode
	}
	mine.ttl = req.TTL
	return l.renew(mine, req.TTL, now), nil
}

// admits reports whether the lock can be granted to somebody who does not hold
// it, if nobody waits who has been there before.
func (l *lock) admits(req locks.AcquireRequest) bool {
	switch l.mode {
	case locks.Free:
		return true
	case locks.Shared:
		return req.Mode == locks.Shared && (req.Limit == 0 || l.crowd().len() < req.Limit)
	}
	return false
}

// grant makes a lease. It fails, and changes nothing, if there is no token left.
func (l *lock) grant(req locks.AcquireRequest, now instant, tokens minter) (locks.Lease, error) {
	token, err := tokens.mint(l.last())
	if err != nil {
		return locks.Lease{}, err
	}
	granted := lease{token: token, owner: req.Owner, ttl: req.TTL, granted: now, expires: after(now, req.TTL)}
	l.mode = req.Mode
	if req.Mode == locks.Exclusive {
		l.sole, l.confirmed = granted, false
	} else {
		l.extended().crowd.add(granted)
		l.sole = lease{token: token, expires: l.crowd().deadline()}
	}
	return locks.Lease{Token: token, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, nil
}

// renew makes a lease of the lock last for ttl from now on. Who asks for that
// knows of the lease.
func (l *lock) renew(mine *lease, ttl time.Duration, now instant) locks.Lease {
	mine.expires = after(now, ttl)
	if l.mode == locks.Shared {
		l.crowd().renewed(mine)
		l.sole.expires = l.crowd().deadline()
	} else {
		l.confirmed = true
	}
	return locks.Lease{Token: mine.token, Owner: mine.owner, Mode: l.mode, TTL: ttl}
}

func (l *lock) release(req locks.ReleaseRequest, now instant, tokens minter) (locks.Released, error) {
	if !l.held() {
		return locks.Released{}, nil
	}
	if req.Force {
		ended := l.holders()
		l.free(now)
		l.serve(now, tokens)
		return locks.Released{Ended: ended, Held: l.held()}, nil
	}
	mine := l.claimed(req.Claim)
	if mine == nil {
		return locks.Released{Held: true}, locks.ErrNotOwner
	}
	if req.Untold && l.isConfirmed(mine) {
		return locks.Released{Held: true}, nil
	}
	l.drop(mine, now)
	l.serve(now, tokens)
	return locks.Released{Ended: 1, Held: l.held()}, nil
}

func (l *lock) heartbeat(req locks.HeartbeatRequest, now instant) (locks.Lease, error) {
	if !l.held() {
		return locks.Lease{}, nil
	}
	mine := l.claimed(req.Claim)
	if mine == nil {
		return locks.Lease{}, locks.ErrNotOwner
	}
	ttl := req.TTL
	if ttl == 0 {
		ttl = mine.ttl
	}
	return l.renew(mine, ttl, now), nil
}

func (l *lock) check(token locks.Token) bool {
	return token != 0 && l.claimed(locks.Claim{Token: token}) != nil
}

func (l *lock) holders() int {
	switch l.mode {
	case locks.Exclusive:
		return 1
	case locks.Shared:
		return l.crowd().len()
	}
	return 0
}

// info describes the lock; its holders come in no particular order.
func (l *lock) info(now instant) locks.Info {
	info := locks.Info{ID: l.id, Mode: l.mode, Waiters: l.waiters(), LastToken: l.last()}
	switch l.mode {
	case locks.Exclusive:
		info.Holders = []locks.Holder{l.sole.holder(locks.Exclusive, now)}
	case locks.Shared:
		info.Holders = make([]locks.Holder, 0, l.crowd().len())
		for each := range l.crowd().all() {
			info.Holders = append(info.Holders, each.holder(locks.Shared, now))
		}
	}
	return info
}

// holder describes a live lease. What remains of it is rounded up, so that a
// live lease never seems to be over; its age is rounded down.
func (l *lease) holder(mode locks.Mode, now instant) locks.Holder {
	left := locks.NoExpiry
	if l.expires != never {
		left = (time.Duration(l.expires-now) + time.Millisecond - 1).Truncate(time.Millisecond)
	}
	return locks.Holder{
		Lease: locks.Lease{Token: l.token, Owner: l.owner, Mode: mode, TTL: left},
		Held:  time.Duration(now - l.granted).Truncate(time.Millisecond),
	}
}
