package session

// This file lets a release pass that concerns no lease of a session, without a look into
// the book.

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/goodjobtech/candado/locks"
)

// parts is over how many mutexes the locks are spread, for the book's watch over them.
const parts = 256

// watch knows of which locks there is something in the book, so that requests about all
// others need not look into it. The zero value is not ready: see newWatch.
type watch struct {
	seed maphash.Seed
	of   [parts]part
}

// part is the watch over some of the locks.
type part struct {
	// n counts what the book has of these locks: asks, held and parting leases. It
	// changes under the manager's mutex and mu. It is counted up before a thing enters the
	// book and down after it has left: when it is 0, the book has nothing.
	n atomic.Int32

	mu sync.Mutex

	// Releases under way that began while n was 0, and that the book does not know of.
	// As soon as n is not 0 any more it does, so then there are none here. Behind mu.
	unseen []*release

	_ [24]byte // the rest of a cache line
}

func newWatch() *watch { return &watch{seed: maphash.MakeSeed()} }

func (w *watch) part(id locks.ID) *part {
	return &w.of[maphash.String(w.seed, string(id))%parts]
}

// watches reports whether the book may have something of the lock.
func (b *book) watches(id locks.ID) bool { return b.watch.part(id).n.Load() != 0 }

// count notes that something of a lock is about to enter the book. With the first, the
// book gets to know of the releases that are under way: as if they had been announced when
// they began. There was nothing then that they could have been meant for; what is
// granted from now on finds them (see adopt).
func (b *book) count(pg *page) {
	p := pg.part
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n.Add(1) > 1 {
		return
	}
	for i, r := range p.unseen {
		r.seen = true
		b.addRelease(r)
		p.unseen[i] = nil
	}
	p.unseen = p.unseen[:0]
}

// discount notes that something of a lock has left the book.
func (b *book) discount(pg *page) {
	p := pg.part
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n.Add(-1)
}

// slip lets a release begin that the book need not know of. It returns false if it must. The
// look at n and the entry are one step under the mutex that count takes: an acquire
// that begins meanwhile is seen here, or finds the release.
func (p *part) slip(r *release) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n.Load() != 0 {
		return false
	}
	r.place = len(p.unseen)
	p.unseen = append(p.unseen, r)
	return true
}

// slipped ends a release of which the book has learnt nothing. It returns false if it has.
func (p *part) slipped(r *release) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.seen {
		return false
	}
	last := len(p.unseen) - 1
	p.unseen[r.place] = p.unseen[last]
	p.unseen[r.place].place = r.place
	p.unseen[last] = nil
	p.unseen = p.unseen[:last]
	return true
}

// depart begins a release for a session, or, if by is nil, for somebody else. It is to be
// called before the release is sent: a renewal may find over what it ends before it has
// returned.
func (m *Manager) depart(by *Session, req locks.ReleaseRequest) *release {
	r, ok := m.spares.Get().(*release)
	if !ok {
		r = &release{}
	}
	r.req, r.by, r.part = req, by, m.book.watch.part(req.ID)
	r.result.Err = locks.ErrUnavailable // the outcome is unknown if the engine panics
	if !r.part.slip(r) {
		m.announce(r)
	}
	return r
}

// land ends releases, whose results are in them. Of those that the book has seen nobody
// knows what points to them; the others are used again.
func (m *Manager) land(under []*release) {
	seen := under[:0]
	for _, r := range under {
		if r.part.slipped(r) {
			*r = release{}
			m.spares.Put(r)
		} else {
			seen = append(seen, r)
		}
	}
	if len(seen) > 0 {
		m.tell(m.returned(seen))
	}
}
