package memory

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/goodjobtech/candado/locks"
)

// Scanning needs no state between calls because locks have an order that
// nothing changes: each ID has a position, its seeded hash. A cursor is the
// position at which the next page begins. So a lock that is held throughout is
// met exactly once, whatever comes and goes around it. Shards are ranges of
// positions; a page usually needs one of them.

// positionBits leaves cursors exact in clients whose only numbers are doubles.
const (
	positionBits = 52
	positions    = 1 << positionBits
)

// How many IDs a page looks at: if the request does not say, and at most.
const (
	defaultCount = 10
	mostCount    = 1 << 20
)

// position returns where the ID stands in the order of scanning.
func (e *Engine) position(id locks.ID) uint64 {
	return maphash.String(e.seed, string(id)) >> (64 - positionBits)
}

// shardOf returns the index of the shard in which a position lies.
func (e *Engine) shardOf(position uint64) int {
	return int(position * uint64(len(e.shards)) >> positionBits)
}

// Scan implements locks.Engine. A lock that is held from the first call to the
// last is returned exactly once. A page looks at Count held locks if there are
// so many, and returns those that match.
func (e *Engine) Scan(ctx context.Context, req locks.ScanRequest) (locks.Scanned, error) {
	if err := ended(ctx); err != nil {
		return locks.Scanned{}, fmt.Errorf("scanning: %w", err)
	}
	if req.Cursor >= positions {
		return locks.Scanned{}, nil
	}
	p := newPage(req)
	next := e.shardOf(p.from)
	for ; next < len(e.shards) && len(p.entries) < p.count; next++ {
		if err := e.shards[next].scan(p); err != nil {
			return locks.Scanned{}, fmt.Errorf("scanning: %w", err)
		}
	}
	p.cut()
	return locks.Scanned{Cursor: p.cursor(next == len(e.shards)), IDs: p.match(req.Match)}, nil
}

// scan adds the shard's held locks to the page.
func (s *shard) scan(p *page) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return locks.ErrShutdown
	}
	s.settleDue(s.engine.now(), s.deadlines.len()+s.freed.len())
	if s.held.Load() == 0 {
		return nil
	}
	for id, l := range s.locks.m {
		if l.held() {
			p.add(entry{s.engine.position(id), id})
		}
	}
	return nil
}

// entry is a held lock as a page sees it.
type entry struct {
	position uint64
	id       locks.ID
}

// page collects the first count entries of those at or after from, which come
// in any order. It holds twice as many at most.
type page struct {
	from    uint64
	below   uint64 // later entries need not be looked at: the page is full without
	count   int
	entries []entry
}

func newPage(req locks.ScanRequest) *page {
	p := &page{from: req.Cursor, below: positions, count: req.Count}
	if p.count <= 0 {
		p.count = defaultCount
	}
	p.count = min(p.count, mostCount)
	return p
}

func (p *page) add(e entry) {
	if e.position < p.from || e.position >= p.below {
		return
	}
	p.entries = append(p.entries, e)
	if len(p.entries) >= 2*p.count {
		p.cut()
	}
}

// cut drops what is beyond the first count entries. Those that share the last
// one's position stay: the next page could not begin between them.
func (p *page) cut() {
	slices.SortFunc(p.entries, func(a, b entry) int { return cmp.Compare(a.position, b.position) })
	n := min(p.count, len(p.entries))
	for n < len(p.entries) && p.entries[n].position == p.entries[n-1].position {
		n++
	}
	if n < len(p.entries) {
		p.below = p.entries[n-1].position + 1
		p.entries = p.entries[:n]
	}
}

// cursor returns where the page after this one, which has been cut, begins: 0
// if this one was filled from all shards and nothing had to be left out.
func (p *page) cursor(all bool) uint64 {
	if all && p.below == positions {
		return 0
	}
	return p.entries[len(p.entries)-1].position + 1
}

// match returns the page's IDs that match. It runs outside every mutex, for a
// pattern can be slow.
func (p *page) match(pattern string) []locks.ID {
	var ids []locks.ID
	matches := locks.Matcher(pattern)
	for _, e := range p.entries {
		if pattern == "" || matches(string(e.id)) {
			ids = append(ids, e.id)
		}
	}
	return ids
}
