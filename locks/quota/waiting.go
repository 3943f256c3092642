// Package quota bounds how many requests wait in this process, whatever engine keeps
// the queues.
package quota

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/goodjobtech/candado/locks"
)

// Waiting is an engine before another one, at which a bounded number of requests may
// wait. It is safe for concurrent use.
//
// A request is refused only if it would have to wait. If there is no room, it is asked
// without waiting: then it is granted, or the lock is held, and it is refused with a
// locks.QuotaError. Except for one whose owner waits here for the same lock: it takes
// the older request's place in the queue, and with it that one's room. So who asks again,
// after an answer that got lost, is not shut out by what he asked before. (If the
// older request ends by itself in that very moment, there is one more than may be, for
// as long as it waits.)
type Waiting struct {
	locks.Engine
	quota locks.Quota
	most  int64
	used  atomic.Int64

	mu     sync.Mutex
	owners map[contender]int // requests here, of owners that wait
}

// contender is an owner and what he waits for.
type contender struct {
	id    locks.ID
	owner locks.Owner
}

// NewWaiting returns an engine before e at which most requests may wait. Those that are
// refused learn that it is because of quota.
func NewWaiting(e locks.Engine, quota locks.Quota, most int) *Waiting {
	return &Waiting{Engine: e, quota: quota, most: int64(most), owners: make(map[contender]int)}
}

// Waiting returns how many requests wait, or are about to.
func (w *Waiting) Waiting() int { return int(w.used.Load()) }

// Acquire implements locks.Engine.
func (w *Waiting) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	if req.Wait == 0 {
		return w.Engine.Acquire(ctx, req)
	}
	leave, ok := w.enter(contender{req.ID, req.Owner})
	if ok {
		defer leave()
		return w.Engine.Acquire(ctx, req)
	}
	req.Wait = 0
	lease, err := w.Engine.Acquire(ctx, req)
	if errors.Is(err, locks.ErrHeld) {
		err = &locks.QuotaError{Quota: w.quota}
	}
	return lease, err
}

// enter takes room for a request, if there is some.
func (w *Waiting) enter(c contender) (leave func(), ok bool) {
	if !w.takeRoom() {
		if !w.waits(c) {
			return nil, false
		}
		w.used.Add(1)
	}
	if c.owner == "" {
		return func() { w.used.Add(-1) }, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[c]++
	return func() { w.exit(c) }, true
}

// takeRoom counts a request if there is room. One that is refused is never counted, not for
// a moment: another that comes just then, when somebody leaves, would be refused for it.
func (w *Waiting) takeRoom() bool {
	for used := w.used.Load(); used < w.most; used = w.used.Load() {
		if w.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
	return false
}

// waits reports whether the owner waits for that lock.
func (w *Waiting) waits(c contender) bool {
	if c.owner == "" {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.owners[c] > 0
}

func (w *Waiting) exit(c contender) {
	w.used.Add(-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owners[c]--; w.owners[c] == 0 {
		delete(w.owners, c)
	}
}
