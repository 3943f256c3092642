package session

// This file is the book of leases: what is known of each, and who finds it how.

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

type state uint8

const (
	asked     state = iota // its acquire is under way
	unwanted               // its acquire is under way, but its session has ended or was reset
	held                   // it is kept for its session
	releasing              // it waits for its release, or the release is under way
	gone                   // nobody needs it any more; results that still come are for nobody
)

// entry is one lease of a session, from its acquire to its release. If a lease
// is acquired again, a new entry takes the place of the old one, so that results that
// were meant for the old one can't be taken for the new one's.
type entry struct {
	id    locks.ID
	token locks.Token // 0 while it is asked for
	owner locks.Owner
	mode  locks.Mode
	ttl   time.Duration // as the engine last said; may be locks.NoExpiry

	state   state
	session *Session           // nil unless asked or held
	cancel  context.CancelFunc // of the acquire that is under way

	// Of a held one.
	sent      instant // when the latest call that sets its expiry was sent
	confirmed instant // when the latest of those that succeeded was sent
	deadline  instant // from when on it counts as lost
	due       instant // when it is renewed next
	since     instant // renewals sent earlier prove nothing: others have acted on it
	releases  int     // releases under way that it is meant by, its session's end aside
	suspect   bool    // such a release may have ended it. Of an asked one: any release may have ended what it brings

	// Of one that is releasing.
	inFlight bool
	landed   chan struct{} // if not nil: closed when the call under way has ended
	tries    int
	batch    *batch

	at    instant // its place in the agenda
	index int     // there; -1 if it is not in it
	pos   int     // in book.byID[id]
}

// name identifies a lease.
type name struct {
	id    locks.ID
	token locks.Token
}

func (e *entry) name() name { return name{e.id, e.token} }

// book holds the entries that are not gone.
type book struct {
	byID   map[locks.ID][]*entry
	byName map[name]*entry // held and releasing ones
	agenda agenda          // those with something to be done at a known time
}

func newBook() book {
	return book{byID: make(map[locks.ID][]*entry), byName: make(map[name]*entry)}
}

func (b *book) add(e *entry) {
	e.index = -1
	e.pos = len(b.byID[e.id])
	b.byID[e.id] = append(b.byID[e.id], e)
}

// remove takes out an entry, and makes it gone.
func (b *book) remove(e *entry) {
	peers := b.byID[e.id]
	last := len(peers) - 1
	peers[e.pos] = peers[last]
	peers[e.pos].pos = e.pos
	peers[last] = nil
	if b.byID[e.id] = peers[:last]; last == 0 {
		delete(b.byID, e.id)
	}
	if b.byName[e.name()] == e {
		delete(b.byName, e.name())
	}
	b.schedule(e, never)
	e.state = gone
}

// schedule puts an entry on the agenda for the instant, or takes it off for never.
func (b *book) schedule(e *entry, at instant) {
	e.at = at
	switch {
	case at == never && e.index >= 0:
		heap.Remove(&b.agenda, e.index)
	case at == never:
	case e.index >= 0:
		heap.Fix(&b.agenda, e.index)
	default:
		heap.Push(&b.agenda, e)
	}
}

// agenda is a heap of entries, the earliest first.
type agenda []*entry

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }

// Swap implements heap.Interface.
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push implements heap.Interface.
func (a *agenda) Push(x any) {
	e := x.(*entry)
	e.index = len(*a)
	*a = append(*a, e)
}

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	e.index = -1
	return e
}
