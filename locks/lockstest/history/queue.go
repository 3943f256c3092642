package history

import (
	"cmp"
	"slices"
	"time"
)

// This file holds the rules about waiting.

// turns: a request that surely waited before another was sent is granted first.
//
// That a request waits is seen by nobody but those who describe the lock: when a
// description counts as many waiters as there are requests that may wait at that
// moment, then all of these do. It keeps its place until it is granted, or its wait
// is over. Its turn may pass unseen, in a lease that was over before its client
// heard of it (see Rules.Steady), or when the server forgot it, or
// took its candado for dead; then nothing is said about it here.
func (b *book) turns() {
	queued := b.surelyQueued()
	for _, l := range b.leases {
		w := l.first
		if l.minted < w.Call || b.again(w) {
			continue // it has an older request's place
		}
		for v, since := range queued {
			if v == w || since >= w.Call || !b.stayed(v, w) {
				continue
			}
			switch {
			case v.Outcome == Done && v.Got > l.token:
				b.report("queue", []*Event{v, w}, "the first waited since %v, and was granted after the other", since)
			case v.Outcome == None && w.Return < v.Call+v.Wait:
				b.report("queue", []*Event{v, w}, "the first waited since %v, and the other was granted meanwhile", since)
			}
		}
	}
}

// surelyQueued returns the requests that surely waited, and since when.
func (b *book) surelyQueued() map[*Event]time.Duration {
	queued := map[*Event]time.Duration{}
	for _, info := range b.events {
		if info.Op != OpInfo || info.Outcome != Done || info.Waiters == 0 {
			continue
		}
		var possible []*Event
		for _, e := range b.events {
			if e.Op == OpAcquire && e.Wait != 0 && e.Outcome == Done && touches(e.Call, e.Return, info.Call, info.Return) {
				possible = append(possible, e)
			}
		}
		for _, g := range b.ghosts {
			if g.of.Wait != 0 && g.of.Outcome != Done && g.touches(info) {
				possible = append(possible, g.of)
			}
		}
		if len(possible) != info.Waiters {
			continue
		}
		for _, e := range possible {
			if since, ok := queued[e]; !ok || info.Return < since {
				queued[e] = info.Return
			}
		}
	}
	return queued
}

// again reports whether the owner of a request had another that may have waited
// when this one came, and left it its place.
func (b *book) again(w *Event) bool {
	for _, e := range b.events {
		if e != w && e.Op == OpAcquire && e.Wait != 0 && w.Owner != "" && e.Owner == w.Owner && e.Call <= w.Call &&
			e.Outcome != Nothing && w.Call <= b.latest(e)+goneWaiter {
			return true
		}
	}
	return false
}

// stayed reports whether nothing made a waiter v lose its turn before w was granted.
func (b *book) stayed(v, w *Event) bool {
	switch {
	case v.TTL < b.Steady, b.snatched(v):
		return false
	case w.Candado == v.Candado && b.again(v):
		return false
	}
	return len(b.failed(span{v.Call, w.Return}, recovery, OpDown, OpCut, OpLost)) == 0 && !b.replaced(v)
}

// replaced reports whether the owner asked again while the request waited.
func (b *book) replaced(v *Event) bool {
	for _, e := range b.events {
		if e != v && e.Op == OpAcquire && v.Owner != "" && e.Owner == v.Owner && touches(e.Call, b.latest(e), v.Call, v.Return) {
			return true
		}
	}
	return false
}

// idle: nobody waits while nobody holds the lock for longer than a hand-over takes.
func (b *book) idle() {
	for _, w := range b.events {
		if w.Op != OpAcquire || w.Wait == 0 || w.Outcome != Done && w.Outcome != None || b.replaced(w) {
			continue
		}
		var busy []span
		for _, l := range b.leases {
			if l.first != w {
				busy = append(busy, l.may)
			}
		}
		for _, g := range b.ghosts {
			if g.of != w && (g.of.Outcome != Done || len(b.failed(g.span, recovery, OpDown, OpCut, OpKilled, OpLost, OpMute)) > 0) {
				busy = append(busy, g.holds)
			}
		}
		for _, f := range b.faults {
			busy = append(busy, felt(f))
		}
		for _, gap := range gaps(span{w.Call, w.Return}, busy) {
			most := handOver + b.noise(gap)
			if len(b.failed(gap, lostNews, OpMute)) > 0 {
				most += lostNews
			}
			if took := gap.to - gap.from; took > most {
				b.report("idle", b.near(w, gap), "the first waits while nobody can hold the lock, from %v on for %v", gap.from, took)
				break
			}
		}
	}
}

// felt returns for how long a fault can keep waiters from a free lock.
func felt(f *Event) span {
	switch f.Op {
	case OpMute:
		return span{f.Call, f.Call}
	case OpCut:
		return span{f.Call, f.Return + lostNews}
	case OpKilled:
		return span{f.Call, f.Return + goneWaiter}
	}
	return span{f.Call, f.Return + recovery}
}

// near returns a request, and what happened about a span.
func (b *book) near(w *Event, s span) []*Event {
	some := []*Event{w}
	for _, e := range b.events {
		if e != w && e.Op != OpInfo && touches(e.Call, e.Return, s.from-2*time.Second, s.to) {
			some = append(some, e)
		}
	}
	return some
}

// gaps returns what is left of a span.
func gaps(s span, without []span) (left []span) {
	slices.SortFunc(without, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	at := s.from
	for _, w := range without {
		if w.from >= s.to {
			break
		}
		if w.from > at {
			left = append(left, span{at, w.from})
		}
		at = max(at, w.to)
	}
	if at < s.to {
		left = append(left, span{at, s.to})
	}
	return left
}

// refused: who does not wait is refused only if somebody holds the lock, or waits
// for it.
func (b *book) refused() {
	for _, e := range b.events {
		if e.Op == OpAcquire && e.Wait == 0 && e.Outcome == None && !b.occupied(e) {
			b.report("refused", b.near(e, span{e.Call, e.Return}), "a free lock was refused")
		}
	}
}

// occupied reports whether somebody may have held the lock during an operation,
// or waited for it.
func (b *book) occupied(e *Event) bool {
	for _, l := range b.leases {
		if l.may.touches(e) {
			return true
		}
	}
	return b.haunted(e) > 0 || b.awaited(e)
}

// awaited reports whether somebody may have waited during an operation.
func (b *book) awaited(e *Event) bool {
	for _, w := range b.events {
		if w != e && w.Op == OpAcquire && w.Wait != 0 && w.Outcome != Nothing && touches(w.Call, w.Return, e.Call, e.Return) {
			return true
		}
	}
	return false
}
