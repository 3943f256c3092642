package memory

import (
	"container/list"

	"github.com/goodjobtech/candado/locks"
)

// This file is the half of the machine that waits. Like machine.go it knows no
// clock and no mutex, and blocks on nothing: a waiter's answer goes into a
// channel that has room for it.
//
// The invariant that every step leaves behind: who stands at the head can't be
// granted the lock. So a lock with a queue is held.

// queue is who waits for a lock, by arrival. An owner waits once at most. It
// finds a waiter, and lets it go from any place, in O(1). The zero value is
// empty.
type queue struct {
	order   list.List // of *waiter
	byOwner table[locks.Owner, *waiter]
}

// waiter is a request that waits.
type waiter struct {
	req    locks.AcquireRequest
	place  *list.Element // in the queue's order; nil once it has its answer or has left
	answer chan answer   // of one element: each waiter gets one answer at most
}

// answer is what a request that waited comes to.
type answer struct {
	lease locks.Lease
	err   error
}

func (q *queue) push(w *waiter) {
	w.place = q.order.PushBack(w)
	if w.req.Owner != "" {
		q.byOwner.set(w.req.Owner, w)
	}
}

// replace puts w in the place of old, which has the same owner.
func (q *queue) replace(old, w *waiter) {
	w.place, old.place = old.place, nil
	w.place.Value = w
	q.byOwner.set(w.req.Owner, w)
}

func (q *queue) remove(w *waiter) {
	q.order.Remove(w.place)
	w.place = nil
	if w.req.Owner != "" {
		q.byOwner.remove(w.req.Owner)
	}
}

// waiters returns how many requests wait for the lock.
func (l *lock) waiters() int {
	if l.annex == nil {
		return 0
	}
	return l.annex.queue.order.Len()
}

// head returns who has waited longest, or nil.
func (l *lock) head() *waiter {
	if l.waiters() == 0 {
		return nil
	}
	return l.annex.queue.order.Front().Value.(*waiter)
}

// enter lets a request wait: at the end of the queue; or, if its owner waits
// already, in the older request's place, which needs no room.
func (l *lock) enter(req locks.AcquireRequest, most int) (*waiter, error) {
	w := &waiter{req: req, answer: make(chan answer, 1)}
	if l.waiters() > 0 && req.Owner != "" {
		if old, ok := l.annex.queue.byOwner.get(req.Owner); ok {
			l.annex.queue.replace(old, w)
			old.answer <- answer{err: locks.ErrHeld}
			return w, nil
		}
	}
	if l.waiters() >= most {
		return nil, &locks.QuotaError{Quota: locks.QuotaLockWaiters}
	}
	l.extended().queue.push(w)
	return w, nil
}

// serve grants the lock to those at the head of the queue, as long as it can be.
// One for whom there is no token left is told so, and does not hold back others.
func (l *lock) serve(now instant, tokens minter) {
	for w := l.head(); w != nil && l.admits(w.req); w = l.head() {
		l.annex.queue.remove(w)
		lease, err := l.grant(w.req, now, tokens)
		w.answer <- answer{lease, err}
	}
	l.trim()
}

// leave takes a waiter out of the queue, and reports whether it was still in.
func (l *lock) leave(w *waiter, now instant, tokens minter) bool {
	if w.place == nil {
		return false
	}
	l.annex.queue.remove(w)
	l.serve(now, tokens) // those behind it may be content with less
	return true
}

// passOn ends a lease that was granted to a waiter who had gone, and hands the
// lock over. If the lease was renewed or acquired again, then somebody knows of
// it after all, and it stays.
func (l *lock) passOn(token locks.Token, now instant, tokens minter) {
	granted := l.claimed(locks.Claim{Token: token})
	if granted == nil || l.isConfirmed(granted) {
		return
	}
	l.drop(granted, now)
	l.serve(now, tokens)
}

func (l *lock) isConfirmed(mine *lease) bool {
	if l.mode == locks.Shared {
		return l.crowd().confirmed(mine.token)
	}
	return l.confirmed
}

// dismiss ends every wait with the error.
func (l *lock) dismiss(err error) {
	for w := l.head(); w != nil; w = l.head() {
		l.annex.queue.remove(w)
		w.answer <- answer{err: err}
	}
}
