package session

// This file is the book: what is known of acquires, leases and releases, and who
// finds it how.

import (
	"container/heap"
	"context"
	"math"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// instant is a moment on the process's monotonic clock, since the manager began.
type instant time.Duration

const never instant = math.MaxInt64

// after returns the instant that is d later; never if d has no end.
func after(at instant, d time.Duration) instant {
	if d < 0 || at > never-instant(d) {
		return never
	}
	return at + instant(d)
}

// ask is an acquire of a session that is under way. What it brings becomes held, or,
// if nobody wants it any more, parting.
type ask struct {
	req     locks.AcquireRequest
	session *Session
	cancel  context.CancelCauseFunc
	suspect bool // a release has come back that may have ended what this brings
	renewed bool // a heartbeat may have been taken for what it brought
}

// held is a lease that is kept for sessions. There is one per lease, however many
// sessions have it. A lease that is over stays over, so that news of that are true
// whenever they come.
type held struct {
	name
	owner    locks.Owner
	mode     locks.Mode
	ttl      time.Duration // that each renewal sets
	sessions []*Session    // that were told of it; the lease goes with the last of them

	confirmed instant       // when the latest call was sent that set its expiry to ttl and was answered
	since     instant       // calls sent earlier prove nothing: others have acted on it
	deadline  instant       // from when on it counts as lost
	due       instant       // when it is renewed next
	until     instant       // when it has surely run out, if nobody acts on it any more
	former    time.Duration // its ttl before, if that was shorter
	formerly  instant       // calls sent earlier may be overtaken by one that sets the former TTL

	releases []*release // that may have ended it: those under way, and those that came back since it was confirmed
	slot     slot
}

// parting is a lease that nobody has any more, until its release has been answered.
type parting struct {
	name
	owner    locks.Owner
	untold   bool    // it was never given out: the release must spare it if others know of it
	until    instant // when it has surely run out
	inFlight bool
	landed   chan struct{} // closed when the call under way has ended
	tries    int
	batch    *batch
	slot     slot
}

// release is a release that somebody has asked for.
type release struct {
	req   locks.ReleaseRequest
	by    *Session // nil if no session asked
	back  bool     // it is not under way any more
	meant []*held  // what it may end: first what was held when it began, then what was granted meanwhile
	early int      // how many those first ones are

	result locks.ReleaseResult // what it came to
	part   *part               // the watch over its lock
	place  int                 // in part.unseen
	seen   bool                // it is, or was, in the book; behind part.mu until it is
}

// aim notes that the release is meant for a lease, if it may end it.
func (r *release) aim(h *held) {
	if r.req.Force || r.req.Claim.Matches(h.token, h.owner) {
		r.meant = append(r.meant, h)
		h.releases = append(h.releases, r)
	}
}

// excuses reports whether a lease that the release has ended is not lost to the
// session.
func (r *release) excuses(s *Session) bool { return !r.req.Force || r.by == s }

// name identifies a lease.
type name struct {
	id    locks.ID
	token locks.Token
}

// book holds all that is under way. Who has a pointer to a thing from before finds
// out by it whether the thing still counts.
type book struct {
	asks     table[*ask, *ask]
	held     table[locks.Token, *held]
	partings table[locks.Token, *parting]
	releases table[*release, *release] // those that are not back
	agenda   agenda
	watch    *watch
}

func (b *book) keeps(h *held) bool    { return b.held.get(h.id, h.token) == h }
func (b *book) parts(p *parting) bool { return b.partings.get(p.id, p.token) == p }

func (b *book) ask(a *ask) {
	b.count(a.req.ID)
	b.asks.put(a.req.ID, a, a)
}

// forget takes an ask out. One that is not there may be forgotten.
func (b *book) forget(a *ask) {
	if b.asks.drop(a.req.ID, a) {
		b.discount(a.req.ID)
	}
}

func (b *book) add(h *held) {
	b.count(h.id)
	b.held.put(h.id, h.token, h)
	h.slot = slot{index: -1, held: h}
}

func (b *book) addParting(p *parting) {
	b.count(p.id)
	b.partings.put(p.id, p.token, p)
	p.slot = slot{index: -1, parting: p}
}

func (b *book) remove(h *held) {
	if b.held.drop(h.id, h.token) {
		b.discount(h.id)
	}
	b.schedule(&h.slot, never)
}

func (b *book) removeParting(p *parting) {
	if b.partings.drop(p.id, p.token) {
		b.discount(p.id)
	}
	b.schedule(&p.slot, never)
}

// table finds things by their lock, and by a key of their own.
type table[K comparable, V any] struct {
	of map[locks.ID]map[K]V
	n  int
}

func (t *table[K, V]) get(id locks.ID, key K) V { return t.of[id][key] }

func (t *table[K, V]) put(id locks.ID, key K, v V) {
	if t.of == nil {
		t.of = make(map[locks.ID]map[K]V)
	}
	if t.of[id] == nil {
		t.of[id] = make(map[K]V)
	}
	t.of[id][key] = v
	t.n++
}

// drop takes a thing out, and reports whether it was there.
func (t *table[K, V]) drop(id locks.ID, key K) bool {
	if _, ok := t.of[id][key]; !ok {
		return false
	}
	t.n--
	if delete(t.of[id], key); len(t.of[id]) == 0 {
		delete(t.of, id)
	}
	return true
}

// slot is the place on the agenda of a held or a parting lease.
type slot struct {
	at      instant
	index   int // -1: it is not there
	held    *held
	parting *parting
}

// schedule puts a slot on the agenda for the instant, or takes it off for never.
func (b *book) schedule(s *slot, at instant) {
	s.at = at
	switch {
	case at == never && s.index >= 0:
		heap.Remove(&b.agenda, s.index)
	case at == never:
	case s.index >= 0:
		heap.Fix(&b.agenda, s.index)
	default:
		heap.Push(&b.agenda, s)
	}
}

// agenda is a heap of what is to be done, the earliest first.
type agenda []*slot

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }

// Swap implements heap.Interface.
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push implements heap.Interface.
func (a *agenda) Push(x any) {
	s := x.(*slot)
	s.index = len(*a)
	*a = append(*a, s)
}

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	s := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	s.index = -1
	return s
}
