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
// one exclusive holder: what shared holders need lies behind a pointer.
type lock struct {
	id       locks.ID
	sole     lease       // the holder, if mode is Exclusive
	crowd    *crowd      // the holders, if mode is Shared
	last     locks.Token // the highest token granted; 0 if unknown
	deadline instant     // when time alone changes the lock next
	index    int32       // place in the shard's heap of deadlines
	mode     locks.Mode
	counted  bool // whether the shard's count of held locks includes it
}

// newLock returns the lock that nothing is known about: free, never granted.
func newLock(id locks.ID) *lock { return &lock{id: id, mode: locks.Free} }

func (l *lock) before(other *lock) bool { return l.deadline < other.deadline }
func (l *lock) place() *int32           { return &l.index }
func (l *lock) held() bool              { return l.mode != locks.Free }

// unknown reports whether nothing is left of the lock that is worth keeping.
func (l *lock) unknown() bool { return l.mode == locks.Free && l.last == 0 }

// settle drops the leases that are over, and the last token once its retention
// is. A queue would be served here: after leases are dropped, grant what can be.
func (l *lock) settle(now instant) {
	switch {
	case now < l.deadline:
		return
	case l.mode == locks.Exclusive:
		l.free(l.sole.expires)
	case l.mode == locks.Shared:
		l.settleShared(now)
	}
	if l.mode == locks.Free && l.deadline <= now {
		l.last = 0
	}
}

func (l *lock) settleShared(now instant) {
	for l.deadline <= now {
		over := l.crowd.earliest()
		l.drop(over, over.expires)
		if !l.held() {
			return
		}
	}
}

// free leaves the lock without a holder from the instant at on.
func (l *lock) free(at instant) {
	l.mode, l.sole, l.crowd = locks.Free, lease{}, nil
	l.deadline = after(at, locks.Retention)
}

// drop ends one lease of the lock, at the instant given.
func (l *lock) drop(ended *lease, at instant) {
	if l.mode == locks.Shared {
		l.crowd.remove(ended)
		if l.crowd.len() > 0 {
			l.deadline = l.crowd.deadline()
			return
		}
	}
	l.free(at)
}

// claimed returns the live lease that the claim names, or nil.
func (l *lock) claimed(c locks.Claim) *lease {
	switch {
	case l.mode == locks.Shared:
		return l.crowd.claimed(c)
	case l.mode == locks.Exclusive && c.Matches(l.sole.token, l.sole.owner):
		return &l.sole
	}
	return nil
}

// acquire grants a lease whose token mint makes from the lock's last one, or
// renews the one that the owner has.
func (l *lock) acquire(req locks.AcquireRequest, now instant, mint func(last locks.Token) (locks.Token, error)) (locks.Lease, error) {
	if req.Owner != "" {
		if mine := l.claimed(locks.Claim{Owner: req.Owner}); mine != nil {
			return l.reacquire(mine, req, now)
		}
	}
	if !l.admits(req) {
		return locks.Lease{}, locks.ErrHeld
	}
	token, err := mint(l.last)
	if err != nil {
		return locks.Lease{}, err
	}
	l.grant(lease{token: token, owner: req.Owner, ttl: req.TTL, granted: now, expires: after(now, req.TTL)}, req.Mode)
	return locks.Lease{Token: token, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, nil
}

func (l *lock) reacquire(mine *lease, req locks.AcquireRequest, now instant) (locks.Lease, error) {
	if l.mode != req.Mode {
		return locks.Lease{}, locks.ErrMode
	}
	mine.ttl = req.TTL
	return l.renew(mine, req.TTL, now), nil
}

// admits reports whether the lock can be granted to somebody who does not hold
// it. With a queue, it would have to be empty too.
func (l *lock) admits(req locks.AcquireRequest) bool {
	switch l.mode {
	case locks.Free:
		return true
	case locks.Shared:
		return req.Mode == locks.Shared && (req.Limit == 0 || l.crowd.len() < req.Limit)
	}
	return false
}

func (l *lock) grant(granted lease, mode locks.Mode) {
	l.mode, l.last = mode, granted.token
	if mode == locks.Exclusive {
		l.sole, l.deadline = granted, granted.expires
		return
	}
	if l.crowd == nil {
		l.crowd = &crowd{}
	}
	l.crowd.add(granted)
	l.deadline = l.crowd.deadline()
}

// renew makes a lease of the lock last for ttl from now on.
func (l *lock) renew(mine *lease, ttl time.Duration, now instant) locks.Lease {
	mine.expires = after(now, ttl)
	if l.mode == locks.Shared {
		l.crowd.moved(mine)
		l.deadline = l.crowd.deadline()
	} else {
		l.deadline = mine.expires
	}
	return locks.Lease{Token: mine.token, Owner: mine.owner, Mode: l.mode, TTL: ttl}
}

func (l *lock) release(req locks.ReleaseRequest, now instant) (locks.Released, error) {
	if !l.held() {
		return locks.Released{}, nil
	}
	if req.Force {
		ended := l.holders()
		l.free(now)
		return locks.Released{Ended: ended}, nil
	}
	mine := l.claimed(req.Claim)
	if mine == nil {
		return locks.Released{Held: true}, locks.ErrNotOwner
	}
	l.drop(mine, now)
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
		return l.crowd.len()
	}
	return 0
}

// info describes the lock; its holders come in no particular order.
func (l *lock) info(now instant) locks.Info {
	info := locks.Info{ID: l.id, Mode: l.mode, LastToken: l.last}
	switch l.mode {
	case locks.Exclusive:
		info.Holders = []locks.Holder{l.sole.holder(locks.Exclusive, now)}
	case locks.Shared:
		info.Holders = make([]locks.Holder, 0, l.crowd.len())
		for each := range l.crowd.all() {
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
