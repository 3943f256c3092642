package history

import (
	"slices"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// lease is what a history says of one lease; see the package's documentation for
// the reasons.
type lease struct {
	id       locks.ID
	token    locks.Token
	owner    locks.Owner
	mode     locks.Mode
	limit    int           // 0: none that binds
	short    time.Duration // the shortest TTL that it was acquired with
	long     time.Duration // the longest
	acquires []*Event      // that brought it, by call
	first    *Event        // of these, the one that returned first
	minted   time.Duration // not before
	sure     span          // it lived
	may      span          // it may have lived
}

// conflicts reports whether two leases exclude each other.
func (l *lease) conflicts(other *lease) bool {
	return l.mode == locks.Exclusive || other.mode == locks.Exclusive
}

// surely reports whether the lease lived all the time of an operation.
func (l *lease) surely(e *Event) bool { return l.sure.from < e.Call && e.Return < l.sure.to }

// claimed reports whether a release or a heartbeat may mean the lease.
func (l *lease) claimed(e *Event) bool {
	switch {
	case e.Force:
		return true
	case e.Token != 0:
		return e.Token == l.token
	}
	return e.Owner == l.owner
}

// findLeases sorts the lock's events by lease.
func (b *book) findLeases() {
	byToken := map[locks.Token]*lease{}
	for _, e := range b.events {
		if e.Op != OpAcquire || e.Outcome != Done {
			continue
		}
		l := byToken[e.Got]
		if l == nil {
			l = &lease{id: e.ID, token: e.Got, owner: e.Owner, mode: e.Mode, limit: e.Limit, short: e.TTL, first: e, minted: e.Call}
			byToken[e.Got] = l
			b.leases = append(b.leases, l)
		}
		l.acquires = append(l.acquires, e)
		l.short, l.long = min(l.short, e.TTL), max(l.long, longest(e))
		if l.limit = max(l.limit, e.Limit); e.Limit == 0 {
			l.limit = 0
		}
		if e.Return < l.first.Return {
			l.first = e
		}
	}
	for _, l := range b.leases {
		b.unanswered(l)
	}
	for _, l := range b.leases {
		b.reckonSure(l)
		b.reckonMay(l)
	}
}

// unanswered takes in that the owner may have got the lease by another request: one
// of which it never heard, or one that still waits, and has not been told yet.
func (b *book) unanswered(l *lease) {
	for _, e := range b.events {
		if e.Op == OpAcquire && e.Owner != "" && e.Owner == l.owner && e.Call < l.first.Return && unheard(e, l.first) {
			l.minted = min(l.minted, e.Call)
			l.short, l.long = min(l.short, e.TTL), max(l.long, longest(e))
			if l.limit = max(l.limit, e.Limit); e.Limit == 0 {
				l.limit = 0
			}
		}
	}
}

// longest returns the TTL of the lease that an acquire brings: a session's is at least a
// second.
func longest(e *Event) time.Duration {
	if e.Session {
		return max(e.TTL, time.Second)
	}
	return e.TTL
}

// unheard reports whether a request of an owner may have got a lease of which
// nobody had heard when the owner asked again.
func unheard(e, again *Event) bool {
	return e.Outcome == Unknown || e.Outcome == Left || e.Wait != 0 && e != again && touches(e.Call, e.Return, again.Call, again.Return)
}

// setter returns the bounds of the TTL that an operation may have given the lease;
// ok is false if it can't have given one.
func (b *book) setter(l *lease, e *Event) (short, long time.Duration, ok bool) {
	if e.Outcome != Done && e.Outcome != Unknown && e.Outcome != Left {
		return 0, 0, false
	}
	switch {
	case e.Op == OpAcquire && (e.Got == l.token || e.Outcome != Done && e.Owner != "" && e.Owner == l.owner):
		return e.TTL, longest(e), true
	case e.Op == OpHeartbeat && l.claimed(e) && e.TTL == 0:
		return l.short, l.long, true
	case e.Op == OpHeartbeat && l.claimed(e):
		return e.TTL, e.TTL, true
	}
	return 0, 0, false
}

// proves reports whether an operation found the lease alive.
func (l *lease) proves(e *Event) bool {
	if e.Outcome != Done {
		return false
	}
	switch e.Op {
	case OpAcquire:
		return e.Got == l.token
	case OpHeartbeat, OpCheck:
		return e.Token == l.token || e.Got == l.token
	case OpInfo:
		return slices.Contains(e.Holders, l.token)
	}
	return e.Op == OpRelease && e.Token == l.token
}

// reckonSure finds when the lease surely lived.
func (b *book) reckonSure(l *lease) {
	l.sure = span{l.first.Return + b.Slack, l.first.Return}
	for _, e := range b.events {
		if !l.proves(e) {
			continue
		}
		l.sure.to = max(l.sure.to, e.Call) // it lived later than that
		if _, _, sets := b.setter(l, e); sets {
			l.sure.to = max(l.sure.to, b.surelyFrom(l, e)-b.Slack)
		}
	}
}

// surelyFrom returns until when the lease surely lived if it did, and had its
// expiry set, at some moment between the proof's call and its return.
func (b *book) surelyFrom(l *lease, proof *Event) time.Duration {
	until := forever
	for _, e := range b.events {
		if b.latest(e) < proof.Call {
			continue // it was over before
		}
		began := max(e.Call, proof.Call)
		if short, _, ok := b.setter(l, e); ok {
			until = min(until, began+short)
		}
		if e.Op == OpRelease && (e.Outcome == Done || e.Outcome == Unknown) && l.claimed(e) {
			until = min(until, began)
		}
	}
	for _, f := range b.faults {
		if f.Op == OpLost && f.Return >= proof.Call {
			until = min(until, max(f.Call, proof.Call))
		}
	}
	for _, a := range b.bound(l) {
		// Candado renews it with the TTL that it was acquired with; and ends it with the connection.
		until = min(until, proof.Call+l.short, max(b.conns[a.Conn].seen, proof.Call))
	}
	return until
}

// bound returns the acquires that bound the lease to a connection, or may have.
func (b *book) bound(l *lease) (some []*Event) {
	for _, e := range b.events {
		if e.Op == OpAcquire && e.Session && (e.Got == l.token || l.owner != "" && e.Owner == l.owner && e.Outcome != None) {
			some = append(some, e)
		}
	}
	return some
}

// reckonMay finds when the lease may have lived.
func (b *book) reckonMay(l *lease) {
	l.may = span{l.minted, b.lastExpiry(l) + b.Slack}
	if a := l.first; a.Wait != 0 && l.minted == a.Call && len(l.acquires) == 1 {
		l.may.from = max(a.Call, a.Return-b.toTell(a))
	}
	for _, e := range b.events {
		if e.Call > l.first.Return && b.ends(l, e) {
			l.may.to = min(l.may.to, e.Return)
		}
	}
	for _, f := range b.faults {
		if f.Op == OpLost && f.Call > l.first.Return {
			l.may.to = min(l.may.to, f.Return)
		}
	}
	l.may.to = max(l.may.to, l.may.from)
}

// toTell bounds how long it takes to tell a waiter of its lease.
func (b *book) toTell(e *Event) time.Duration {
	s := span{e.Call, e.Return}
	tell := b.noise(span{s.to - time.Second, s.to})
	if len(b.failedFor(e, s, lostNews, OpMute)) > 0 {
		tell += lostNews
	}
	if len(b.failedFor(e, s, recovery, OpDown, OpCut, OpLost, OpKilled)) > 0 {
		return forever
	}
	return tell
}

// lastExpiry returns when the lease was over at the latest if nobody released it.
func (b *book) lastExpiry(l *lease) time.Duration {
	expiry, gone := time.Duration(0), time.Duration(0)
	for _, e := range b.events {
		if _, long, ok := b.setter(l, e); ok {
			expiry = max(expiry, b.latest(e)+long)
		}
	}
	bound := b.bound(l)
	for _, a := range bound {
		gone = max(gone, b.sessionOver(l, a, expiry))
	}
	if len(bound) > 0 && !slices.ContainsFunc(l.acquires, func(a *Event) bool { return !a.Session }) {
		return gone // its connection ends it before its time
	}
	return max(expiry, gone)
}

// sessionOver returns when a lease that is bound to the connection of an acquire
// was over at the latest.
func (b *book) sessionOver(l *lease, a *Event, expiry time.Duration) time.Duration {
	end := b.conns[a.Conn].end
	noise := time.Duration(0)
	if end != nil {
		noise = b.noise(span{end.Call, end.Return})
	}
	for _, f := range b.faults {
		if f.Op == OpKilled && f.Candado == a.Candado && (end == nil || f.Call < end.Call+noise) {
			return max(f.Return+l.long, expiry) // nobody renews it any more
		}
	}
	if end == nil {
		return forever
	}
	over := end.Return + noise
	for _, f := range b.failed(span{end.Call - recovery, over}, recovery, OpDown, OpCut, OpLost) {
		over = max(over, expiry, f.Return+l.long+recovery+b.Unanswered) // it is released as soon as that is possible
	}
	return over
}

// ends reports whether an operation ended the lease, or found it over, if the
// lease was there before.
func (b *book) ends(l *lease, e *Event) bool {
	told := e.Outcome == Done || e.Outcome == None || e.Outcome == NotOwner
	switch e.Op {
	case OpRelease:
		return told && !e.bare() && l.claimed(e) || e.Outcome == None
	case OpHeartbeat:
		return e.Outcome == NotOwner && !e.bare() && l.claimed(e) || e.Outcome == None
	case OpCheck:
		return e.Outcome == None && e.Token == l.token
	case OpInfo:
		return e.Outcome == Done && !slices.Contains(e.Holders, l.token)
	case OpAcquire:
		return e.Outcome == Done && e.Owner != "" && e.Owner == l.owner && e.Got != l.token
	}
	return false
}

// ghost is a request of which nobody knows what became: when it may have waited, or
// held the lock, and when the latter. Or it is one that waited with success, of
// which nobody knows whether it was granted a lease before, that was over when
// the message came.
type ghost struct {
	of *Event
	span
	holds span
}

func (b *book) findGhosts() {
	for _, e := range b.events {
		if e.Op == OpAcquire && (e.Wait != 0 || e.Outcome == Unknown) && e.Outcome != Nothing && e.Outcome != WrongMode {
			if g := b.ghostOf(e); g.of != nil {
				b.ghosts = append(b.ghosts, g)
			}
		}
	}
}

func (b *book) ghostOf(e *Event) ghost {
	about := span{e.Call, e.Return}
	g := ghost{e, about, about}
	reach := span{e.Call - recovery, e.Return + b.noise(about)}
	failed := len(b.failedFor(e, reach, recovery, OpDown, OpCut, OpKilled, OpLost)) > 0
	switch {
	case e.Outcome == Done:
		if !failed && e.TTL >= b.Steady && len(b.failedFor(e, about, lostNews, OpMute)) == 0 && !b.snatched(e) {
			return ghost{}
		}
	case e.Outcome == None && !failed:
		// It left before it was answered; and would have been told, had it held for long before.
		g.holds.from = max(e.Call, min(e.Return, e.Call+e.Wait)-b.toTell(e))
	case e.Outcome == Left && !failed:
		g.to += b.noise(span{e.Return, e.Return}) // it leaves at once
		g.holds = span{max(e.Call, e.Return-b.toTell(e)), g.to}
	default:
		g.to = b.undone(e)
		g.holds.to = g.to
	}
	return g
}

// undone returns when nothing was left of a request without an answer at the latest.
// A candado that lives undoes what its clients do not know of, as soon as the
// server answers it again. If it has died, the TTL is the end.
func (b *book) undone(e *Event) time.Duration {
	over := min(b.latest(e)+max(longest(e), goneWaiter)+recovery, forever)
	if b.Unanswered == 0 || e.Outcome == Unknown && !e.Told {
		return over
	}
	at := b.latest(e)
	for again := true; again; {
		again = false
		for _, f := range b.failedFor(e, span{at, at + recovery}, 0, OpDown, OpCut) {
			again = again || f.Return > at
			at = max(at, f.Return)
		}
	}
	for _, f := range b.faults {
		if f.Op == OpKilled && f.Candado == e.Candado && f.Return > e.Call && f.Call < at+recovery {
			return over
		}
	}
	return min(over, at+recovery)
}

// snatched reports whether a release may have ended a lease that was granted to a
// session, before the session could keep it: then it asks again.
func (b *book) snatched(a *Event) bool {
	for _, e := range b.events {
		if a.Session && e.Op == OpRelease && touches(e.Call, b.latest(e), a.Call, a.Return) &&
			(e.Force || e.Token == 0 && e.Owner == a.Owner) {
			return true
		}
	}
	return false
}

// haunted counts the ghosts that may have been there during an operation, besides
// the operation itself.
func (b *book) haunted(e *Event) (n int) {
	for _, g := range b.ghosts {
		if g.of != e && g.touches(e) {
			n++
		}
	}
	return n
}
