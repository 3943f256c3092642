package lockstest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

// This file lets random histories wait. A waiting request is a call that runs
// beside the history, under the same number on both sides. After each action
// the sides come to rest, and the calls that have ended are compared.
//
// There is no waiting in histories whose clock is real: an engine hands over a
// little after an expiry, and need not be as late as the other.

// waiters are the calls of one side that have not been seen to end, by number.
type waiters map[int]*call

// wait reports whether any waits for the lock.
func (w waiters) wait(id locks.ID) bool {
	for _, c := range w {
		if c.req.ID == id {
			return true
		}
	}
	return false
}

// ended is what a call came to.
type ended struct {
	number int
	err    error
	lease  locks.Lease // with an ordinal for its token
}

func (e ended) String() string { return fmt.Sprintf("{waiter %d: %+v, %v}", e.number, e.lease, e.err) }

func (d *duel) waitFor(rt *rapid.T) {
	req := locks.AcquireRequest{ID: drawID(rt), Owner: drawOwner(rt), TTL: drawTTL(rt, short, long, locks.NoExpiry), Wait: locks.Forever}
	if rapid.Bool().Draw(rt, "shared") {
		req.Mode, req.Limit = locks.Shared, rapid.IntRange(0, 3).Draw(rt, "limit")
	}
	d.waits++
	for _, s := range d.sides {
		s.waiters[d.waits] = start(d.t.Context(), s.Engine, req)
	}
	d.rest(rt, fmt.Sprintf("waiter %d: %+v", d.waits, req))
}

func (d *duel) leave(rt *rapid.T) {
	if len(d.sides[0].waiters) == 0 {
		return
	}
	number := rapid.SampledFrom(slices.Sorted(maps.Keys(d.sides[0].waiters))).Draw(rt, "waiter")
	for _, s := range d.sides {
		c := s.waiters[number]
		c.cancel()
		if !c.await() {
			rt.Fatalf("waiter %d does not return, though it was cancelled", number)
		}
	}
	d.rest(rt, fmt.Sprintf("waiter %d leaves", number))
}

// rest waits until both sides have come to rest after the action, and compares
// which calls have ended, and with what.
func (d *duel) rest(rt *rapid.T, action string) {
	if !d.virtual {
		return
	}
	var replies [2]string
	for i, s := range d.sides {
		if !eventually(func() bool { return s.atRest(rt, d.t.Context()) }) {
			rt.Fatalf("%s: the calls of engine %d that have not returned (%d) are not those in its queues", action, i+1, s.outstanding())
		}
		replies[i] = fmt.Sprint(s.reap())
	}
	if replies[0] != replies[1] {
		rt.Fatalf("%s: of the waiters, these end on the first engine:\n%s, on the second\n%s", action, replies[0], replies[1])
	}
}

func (s *side) outstanding() (n int) {
	for _, c := range s.waiters {
		if !c.returned() {
			n++
		}
	}
	return n
}

// atRest reports whether as many calls are under way as wait in the queues. The
// last action brought one more call at most, and changed one queue at most, so
// until the calls have caught up with it there are more of them. They are counted
// twice: queues and calls must be looked at in one moment.
func (s *side) atRest(rt *rapid.T, ctx context.Context) bool {
	before, queued := s.outstanding(), 0
	for _, id := range historyIDs() {
		info, err := s.Engine.Info(ctx, id)
		if err != nil {
			rt.Fatalf("describing %q: %v", id, err)
		}
		queued += info.Waiters
	}
	return before == queued && s.outstanding() == queued
}

// reap takes the calls that have returned out, and enters their tokens in the
// order of the grants, which is each lock's own: between locks it may differ.
func (s *side) reap() []ended {
	var all []ended
	for number, c := range s.waiters {
		if c.returned() {
			all = append(all, ended{number, outcome(c.err), c.lease})
		}
	}
	slices.SortFunc(all, func(a, b ended) int { return cmp.Compare(a.lease.Token, b.lease.Token) })
	for i, e := range all {
		all[i].lease = s.granted(s.waiters[e.number].req.ID, e.lease)
		delete(s.waiters, e.number)
	}
	slices.SortFunc(all, func(a, b ended) int { return cmp.Compare(a.number, b.number) })
	return all
}

// dismiss cancels the calls that are under way and sees them return.
func (s *side) dismiss() {
	for _, c := range s.waiters {
		c.cancel()
	}
	for _, c := range s.waiters {
		c.await()
	}
}
