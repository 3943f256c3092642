package history

import (
	"github.com/goodjobtech/candado/locks"
)

// This file holds the rules about who holds a lock at the same time.

// exclusion: no two leases that exclude each other live at the same time; and
// none is granted, or found alive, while another surely lives.
func (b *book) exclusion() {
	for i, l := range b.leases {
		for _, other := range b.leases[:i] {
			if !l.conflicts(other) {
				continue
			}
			if from, to := max(l.sure.from, other.sure.from), min(l.sure.to, other.sure.to); from < to {
				b.report("exclusion", append(b.about(l), b.about(other)...),
					"leases %d and %d both live from %v to %v", other.token, l.token, from, to)
				continue
			}
			if !b.beside(l, other) {
				b.beside(other, l)
			}
		}
	}
}

// beside reports that a lease was granted, or alive, at a moment at which another
// surely lived.
func (b *book) beside(l, other *lease) bool {
	for _, e := range b.events {
		if l.proves(e) && other.surely(e) {
			b.report("exclusion", append([]*Event{e}, b.about(other)...),
				"lease %d lives while %d surely does, from %v to %v", l.token, other.token, other.sure.from, other.sure.to)
			return true
		}
	}
	return false
}

// about returns the events that have to do with a lease.
func (b *book) about(l *lease) (some []*Event) {
	for _, e := range b.events {
		_, _, sets := b.setter(l, e)
		if e.Return >= l.minted && (sets || l.proves(e) || e.Op == OpRelease && l.claimed(e)) {
			some = append(some, e)
		}
	}
	return some
}

// limits: a request with a limit is granted while fewer shared leases live. Of
// the leases that live at one moment, one with the limit n found, when it was
// granted, all those that were granted before, which have the smaller tokens.
func (b *book) limits() {
	for _, l := range b.leases {
		if l.limit == 0 || l.mode != locks.Shared || l.sure.from >= l.sure.to {
			continue
		}
		for _, at := range b.leases { // the number changes where a lease begins
			t := max(at.sure.from, l.sure.from)
			var before []*lease
			for _, o := range b.leases {
				if o.token < l.token && o.sure.from <= t && t < o.sure.to {
					before = append(before, o)
				}
			}
			if t < l.sure.to && len(before) >= l.limit {
				events := []*Event{l.first}
				for _, o := range before {
					events = append(events, o.first)
				}
				b.report("limit", events, "lease %d with the limit %d is beside %d older ones at %v", l.token, l.limit, len(before), t)
				break
			}
		}
	}
}

// denied: nobody is told that a lease is over that surely lives.
func (b *book) denied() {
	for _, l := range b.leases {
		for _, e := range b.events {
			told := b.ends(l, e) && !(e.Op == OpRelease && e.Outcome == Done && l.claimed(e))
			if told && l.surely(e) {
				b.report("denied", append([]*Event{e}, b.about(l)...),
					"lease %d was said to be over, and lives from %v to %v", l.token, l.sure.from, l.sure.to)
				break
			}
		}
	}
}

// undead: no lease is found alive when it is surely over. That also means that
// nothing of a session outlives its connection.
func (b *book) undead() {
	for _, l := range b.leases {
		for _, e := range b.events {
			if l.proves(e) && e.Call > l.may.to && e != l.first {
				b.report("undead", append([]*Event{e}, b.about(l)...), "lease %d lives, and was over at %v", l.token, l.may.to)
				break
			}
		}
	}
}
