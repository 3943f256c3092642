package session

// This file is the book: what is known of acquires, leases and releases, and who
// finds it how.

import (
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
	page    *page // nil once it is not in the book any more
	cancel  context.CancelCauseFunc
	token   locks.Token // of the lease that it has brought, once that is known
	suspect bool        // a release has come back that may have ended what this brings
	renewed int         // how many heartbeats may have been taken for what it brought
}

// held is a lease that is kept for sessions. There is one per lease, however many
// sessions have it. A lease that is over stays over, so that news of that are true
// whenever they come.
type held struct {
	name
	owner  locks.Owner
	mode   locks.Mode
	lost   bool          // it counts among those that were lost
	ttl    time.Duration // that each renewal sets
	page   *page         // nil once it is not in the book any more
	stakes []stake       // of the sessions that were told of it; the lease goes with the last of them
	first  [1]stake      // room for the one that there mostly is

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
	page     *page   // nil once it is not in the book any more
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
	page  *page    // nil while it is not in the book
	meant []*held  // what it may end: first what was held when it began, then what was granted meanwhile
	first [1]*held // room for the one that it mostly is
	early int      // how many those first ones are

	result locks.ReleaseResult // what it came to
	part   *part               // the watch over its lock
	place  int                 // in part.unseen
	seen   bool                // it is, or was, in the book; behind part.mu until it is
}

// aim notes that the release is meant for a lease, if it may end it.
func (r *release) aim(h *held) {
	if r.req.Force || r.req.Claim.Matches(h.token, h.owner) {
		if r.meant == nil {
			r.meant = r.first[:0]
		}
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
// out by its page whether the thing still counts: so most steps look for nothing.
type book struct {
	pages  map[locks.ID]*page
	blank  page // stands for that of any lock of which the book has nothing; it is only read
	n      tally
	agenda agenda
	watch  *watch
}

// tally is how many of each the book has.
type tally struct{ asks, held, partings, releases int }

// page is what the book has of one lock. It is in the book while it is not empty.
type page struct {
	id       locks.ID
	part     *part
	asks     few[*ask, ask]
	held     few[locks.Token, held]
	partings few[locks.Token, parting]
	releases few[*release, release] // those that are not back
}

// read returns the page of a lock, to be read.
func (b *book) read(id locks.ID) *page {
	if pg := b.pages[id]; pg != nil {
		return pg
	}
	return &b.blank
}

// open returns the page of a lock, which is in the part given, to be written on.
func (b *book) open(id locks.ID, in *part) *page {
	pg := b.pages[id]
	if pg == nil {
		pg = &page{id: id, part: in}
		if b.pages == nil {
			b.pages = make(map[locks.ID]*page)
		}
		b.pages[id] = pg
	}
	return pg
}

// tidy takes a page out on which nothing stands any more.
func (b *book) tidy(pg *page) {
	if pg.asks.empty() && pg.held.empty() && pg.partings.empty() && pg.releases.empty() {
		delete(b.pages, pg.id)
	}
}

func (b *book) ask(a *ask) {
	pg := b.open(a.req.ID, b.watch.part(a.req.ID))
	b.count(pg)
	a.page = pg
	pg.asks.put(a, a)
	b.n.asks++
}

// forget takes an ask out. One that is not there may be forgotten.
func (b *book) forget(a *ask) {
	pg := a.page
	if pg == nil {
		return
	}
	a.page = nil
	pg.asks.drop(a)
	b.n.asks--
	b.discount(pg)
	b.tidy(pg)
}

// add takes a held lease in, on the page of the ask that has brought it.
func (b *book) add(h *held, pg *page) {
	b.count(pg)
	h.page = pg
	pg.held.put(h.token, h)
	b.n.held++
	h.slot.held = h
}

func (b *book) remove(h *held) {
	pg := h.page
	if pg == nil {
		return
	}
	b.tear(h)
	b.discount(pg)
	b.tidy(pg)
}

// tear takes a held lease from its page, and leaves the page where it is.
func (b *book) tear(h *held) {
	h.page.held.drop(h.token)
	h.page = nil
	b.n.held--
	b.schedule(&h.slot, never)
}

// addParting takes a parting lease in that was not held, on the page of the ask that has
// brought it.
func (b *book) addParting(p *parting, pg *page) {
	b.count(pg)
	b.enter(p, pg)
}

func (b *book) enter(p *parting, pg *page) {
	p.page = pg
	pg.partings.put(p.token, p)
	b.n.partings++
	p.slot.parting = p
}

// move makes parting of a held lease. What the book has of the lock is as much as before, so
// neither the watch nor the page's place need be touched.
func (b *book) move(h *held, p *parting) {
	pg := h.page
	b.tear(h)
	b.enter(p, pg)
}

func (b *book) removeParting(p *parting) {
	pg := p.page
	if pg == nil {
		return
	}
	p.page = nil
	pg.partings.drop(p.token)
	b.n.partings--
	b.schedule(&p.slot, never)
	b.discount(pg)
	b.tidy(pg)
}

func (b *book) addRelease(r *release) {
	pg := b.open(r.req.ID, r.part)
	r.page = pg
	pg.releases.put(r, r)
	b.n.releases++
}

func (b *book) removeRelease(r *release) {
	pg := r.page
	r.page = nil
	pg.releases.drop(r)
	b.n.releases--
	b.tidy(pg)
}
