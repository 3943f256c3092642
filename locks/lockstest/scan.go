package lockstest

import (
	"fmt"
	"maps"

	"github.com/goodjobtech/candado/locks"
)

// Cases about listing held locks.
func scanCases() []testCase {
	return []testCase{
		{"ScanOfNothingEnds", scanOfNothingEnds},
		{"ScanReturnsHeldLocksOnly", scanReturnsHeldLocksOnly},
		{"ScanReturnsEveryHeldLock", scanReturnsEveryHeldLock},
		{"ScanReturnsLocksHeldThroughout", scanReturnsLocksHeldThroughout},
		{"ScanMatches", scanMatches},
		{"ScanReturnsAnyBytes", scanReturnsAnyBytes},
		{"ScanFromAnyCursorEnds", scanFromAnyCursorEnds},
	}
}

// scanAll returns how often each ID is met between cursor 0 and cursor 0, with
// between called after every page.
func (p *probe) scanAll(match string, count int, between ...func()) map[locks.ID]int {
	p.t.Helper()
	met := map[locks.ID]int{}
	req := locks.ScanRequest{Match: match, Count: count}
	for range 100_000 {
		page, err := p.Engine.Scan(p.t.Context(), req)
		p.must(err, "scanning for", locks.ID(match))
		for _, id := range page.IDs {
			met[id]++
		}
		if page.Cursor == 0 {
			return met
		}
		req.Cursor = page.Cursor
		for _, do := range between {
			do()
		}
	}
	p.t.Fatal("the scan does not end")
	return nil
}

// scanned wants a scan to meet exactly these IDs.
func (p *probe) scanned(match string, count int, want ...locks.ID) {
	p.t.Helper()
	expected := map[locks.ID]bool{}
	for _, id := range want {
		expected[id] = true
	}
	got := map[locks.ID]bool{}
	for id := range p.scanAll(match, count) {
		got[id] = true
	}
	if !maps.Equal(got, expected) {
		p.t.Fatalf("the scan for %q returned %q, want %q", match, keys(got), want)
	}
}

func keys(set map[locks.ID]bool) (ids []locks.ID) {
	for id := range set {
		ids = append(ids, id)
	}
	return ids
}

func scanOfNothingEnds(p *probe) {
	p.scanned("", 0)
	p.scanned("*", 1)
}

func scanReturnsHeldLocksOnly(p *probe) {
	p.grant(exclusive("held", ""))
	p.grant(shared("crowded", ""))
	p.grant(shared("crowded", "me"))
	p.grant(lasting(locks.NoExpiry, exclusive("forever", "")))
	p.grant(exclusive("released", "me"))
	p.release("released", byOwner("me"), false)
	p.grant(shared("forced", ""))
	p.releases(locks.ReleaseRequest{ID: "forced", Force: true}, locks.Released{Ended: 1})
	p.grant(lasting(short, exclusive("expired", "")))
	p.grant(lasting(short, shared("expired too", "")))
	p.grant(lasting(short, shared("half expired", "")))
	p.grant(shared("half expired", ""))
	p.info("only asked about")
	p.refuse(exclusive("held", "me"), locks.ErrHeld)
	p.expire()
	p.scanned("", 0, "held", "crowded", "forever", "half expired")
}

func scanReturnsEveryHeldLock(p *probe) {
	var want []locks.ID
	for i := range 500 {
		id := locks.ID(fmt.Sprintf("lock/%d", i))
		p.grant(exclusive(id, ""))
		want = append(want, id)
	}
	for _, count := range []int{0, 1, 7, 499, 500, 501, 100_000} {
		p.scanned("", count, want...)
	}
}

func scanReturnsLocksHeldThroughout(p *probe) {
	var stable []locks.ID
	for i := range 100 {
		stable = append(stable, locks.ID(fmt.Sprintf("stable/%d", i)))
		p.grant(exclusive(stable[i], ""))
		p.grant(exclusive(locks.ID(fmt.Sprintf("leaving/%d", i)), ""))
	}
	n := 0
	met := p.scanAll("", 5, func() {
		p.grant(exclusive(locks.ID(fmt.Sprintf("coming/%d", n)), ""))
		if n < 100 {
			p.release(locks.ID(fmt.Sprintf("leaving/%d", n)), bare(), false)
		}
		n++
	})
	for _, id := range stable {
		if met[id] == 0 {
			p.t.Fatalf("%q was held throughout, and the scan did not return it", id)
		}
	}
}

func scanMatches(p *probe) {
	for _, id := range []locks.ID{"user:1", "user:2", "user:10", "users", "job:1", "u*er:1", "USER:1", "{u}ser:1"} {
		p.grant(exclusive(id, ""))
	}
	p.scanned("user:*", 2, "user:1", "user:2", "user:10")
	p.scanned("user:?", 0, "user:1", "user:2")
	p.scanned("user:[2-9]", 1, "user:2")
	p.scanned("user:[^2]", 0, "user:1")
	p.scanned(`u\*er:1`, 0, "u*er:1")
	p.scanned("u*r:1", 3, "user:1", "u*er:1")
	p.scanned("user", 0)
	p.scanned("*:1", 0, "user:1", "job:1", "u*er:1", "USER:1", "{u}ser:1")
	p.scanned("{*}*", 0, "{u}ser:1")
	p.scanned("job:1", 0, "job:1")
	p.scanned("nothing*", 0)
}

func scanReturnsAnyBytes(p *probe) {
	for _, id := range strangeIDs() {
		p.grant(exclusive(id, ""))
	}
	p.scanned("", 4, strangeIDs()...)
	p.scanned("a\x00*", 0, "a\x00", "a\x00b")
	p.scanned("*}", 0, "}", "{}", "{a}", strangeIDs()[len(strangeIDs())-6], strangeIDs()[len(strangeIDs())-5])
	p.scanned("%*D", 0, "%7D", "%257D")
	p.scanned(`\*`, 0, "*")
}

func scanFromAnyCursorEnds(p *probe) {
	for i := range 50 {
		p.grant(exclusive(locks.ID(fmt.Sprint(i)), ""))
	}
	for _, cursor := range []uint64{1, 12345, 1 << 51, 1<<52 - 1, 1 << 52, 1<<53 - 1} {
		req := locks.ScanRequest{Cursor: cursor}
		for n := 0; n == 0 || req.Cursor != 0; n++ {
			page, err := p.Engine.Scan(p.t.Context(), req)
			p.must(err, "scanning", "")
			if req.Cursor = page.Cursor; n > 100 {
				p.t.Fatalf("the scan from cursor %d does not end", cursor)
			}
		}
	}
}
