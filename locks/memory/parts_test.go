package memory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

// The parts whose faults would be hard to see through the engine.

type item struct {
	rank  instant
	index int32
}

func (i *item) place() *int32 { return &i.index }

func TestHeapKeepsTheEarliestFirst(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h heap[*item]
		var in []*item
		pick := func() *item { return in[rapid.IntRange(0, len(in)-1).Draw(rt, "which")] }
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(rt, "how many") {
					x := &item{rank: instant(rapid.IntRange(0, 1000).Draw(rt, "rank"))}
					h.set(x, x.rank)
					in = append(in, x)
				}
			},
			"change": func(rt *rapid.T) {
				if len(in) > 0 {
					x := pick()
					x.rank = instant(rapid.IntRange(0, 1000).Draw(rt, "rank"))
					h.set(x, x.rank)
				}
			},
			"remove": func(rt *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(rt, "how many") {
					if len(in) > 0 {
						x := pick()
						h.remove(x)
						h.remove(x) // harmless
						in = slices.DeleteFunc(in, func(y *item) bool { return y == x })
					}
				}
			},
			"": func(rt *rapid.T) {
				if h.len() != len(in) {
					rt.Fatalf("the heap has %d items, want %d", h.len(), len(in))
				}
				for i, e := range h.entries {
					if *e.x.place() != int32(i+1) {
						rt.Fatalf("the item at %d believes to be at %d", i, *e.x.place()-1)
					}
					if e.at != e.x.rank || h.at(e.x) != e.x.rank {
						rt.Fatalf("an item for %d is entered for %d", e.x.rank, e.at)
					}
					if e.at < h.first().at {
						rt.Fatalf("%d is first, and %d is in the heap", h.first().at, e.at)
					}
				}
				if n := len(h.entries); cap(h.entries) >= 2*smallest && n < cap(h.entries)/4 {
					rt.Fatalf("%d items take room for %d", n, cap(h.entries))
				}
			},
		})
	})
}

func TestRowKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var r row[int]
		var in []due[int]
		entered, last := 0, instant(0)
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(rt *rapid.T) {
				for range rapid.IntRange(1, 200).Draw(rt, "how many") {
					at := instant(rapid.IntRange(0, 1000).Draw(rt, "at"))
					if r.takes(at) != (len(in) == 0 || at >= last) {
						rt.Fatalf("behind %d the row takes %d: %t", last, at, r.takes(at))
					}
					if !r.takes(at) {
						at = last
					}
					entered, last = entered+1, at
					r.push(entered, at)
					in = append(in, due[int]{at, entered})
				}
			},
			"pop": func(rt *rapid.T) {
				for range min(rapid.IntRange(1, 200).Draw(rt, "how many"), len(in)) {
					if got := r.first(); got != in[0] {
						rt.Fatalf("%v is first, want %v", got, in[0])
					}
					if x := r.pop(); x != in[0].x {
						rt.Fatalf("%d came, want %d", x, in[0].x)
					}
					in = in[1:]
				}
			},
			"": func(rt *rapid.T) {
				if r.len() != len(in) {
					rt.Fatalf("the row has %d entries, want %d", r.len(), len(in))
				}
				if n := r.len(); cap(r.entries) >= 4*smallest && n < cap(r.entries)/5 {
					rt.Fatalf("%d entries take room for %d", n, cap(r.entries))
				}
				for i, e := range r.entries[:cap(r.entries)] {
					if (i < r.gone || i >= len(r.entries)) && e != (due[int]{}) {
						rt.Fatalf("%v is still referred to", e)
					}
				}
			},
		})
	})
}

func TestTableKeepsItsEntriesWhenItShrinks(t *testing.T) {
	var table table[int, int]
	table.remove(1) // harmless
	for i := range 10_000 {
		table.set(i, -i)
	}
	for i := range 9_990 {
		table.remove(i)
		if _, ok := table.get(i); ok || table.len() != 9_999-i {
			t.Fatalf("%d is still there, among %d", i, table.len())
		}
	}
	for i := 9_990; i < 10_000; i++ {
		if v, ok := table.get(i); !ok || v != -i {
			t.Fatalf("entry %d is lost", i)
		}
	}
	if table.peak >= smallest {
		t.Errorf("a table of %d keeps room for %d", table.len(), table.peak)
	}
}

// Positions of 52 bits hardly ever meet; these do all the time.
func TestPagesReturnEachEntryOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		spread := rapid.SampledFrom([]uint64{1, 3, 50, positions}).Draw(rt, "spread")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		var all []entry
		for i := range rapid.IntRange(0, 60).Draw(rt, "entries") {
			all = append(all, entry{random.Uint64N(spread) + positions - spread, locks.ID(fmt.Sprint(i))})
		}
		count := rapid.IntRange(0, 70).Draw(rt, "count")
		met := map[locks.ID]int{}
		for cursor := uint64(0); ; {
			p := newPage(locks.ScanRequest{Cursor: cursor, Count: count})
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, e := range all {
				p.add(e)
			}
			p.cut()
			for _, id := range p.match("") {
				met[id]++
			}
			next := p.cursor(true)
			if next == 0 {
				break
			}
			if next <= cursor {
				rt.Fatalf("the cursor goes from %d to %d", cursor, next)
			}
			cursor = next
		}
		for _, e := range all {
			if met[e.id] != 1 {
				rt.Fatalf("%q at %d was returned %d times", e.id, e.position, met[e.id])
			}
		}
	})
}

func TestScanReturnsALockHeldThroughoutOnce(t *testing.T) {
	e := New(Options{Shards: 5})
	defer e.Close()
	acquire := func(id string) {
		if _, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: locks.ID(id), TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		acquire(fmt.Sprint("stable/", i))
	}
	met, req, churn := map[locks.ID]int{}, locks.ScanRequest{Match: "stable/*", Count: 7}, 0
	for {
		page, err := e.Scan(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range page.IDs {
			met[id]++
		}
		for range 20 {
			acquire(fmt.Sprint("coming/", churn))
			_, _ = e.Release(t.Context(), locks.ReleaseRequest{ID: locks.ID(fmt.Sprint("coming/", churn-10)), Force: true})
			churn++
		}
		if req.Cursor = page.Cursor; req.Cursor == 0 {
			break
		}
	}
	for i := range 1000 {
		if id := locks.ID(fmt.Sprint("stable/", i)); met[id] != 1 {
			t.Errorf("%q was returned %d times", id, met[id])
		}
	}
}

func TestCloseStopsTheTimer(t *testing.T) {
	e := New(Options{Shards: 1})
	if _, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	timer := e.shards[0].timer
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if timer.Stop() {
		t.Error("the timer of a closed engine was still set")
	}
}

func TestShardsAreRangesOfPositions(t *testing.T) {
	for _, n := range []int{1, 2, 3, 256, maxShards} {
		e := New(Options{Shards: n})
		if first, last := e.shardOf(0), e.shardOf(positions-1); first != 0 || last != n-1 {
			t.Errorf("of %d shards, positions take those from %d to %d", n, first, last)
		}
	}
}

func TestAfterDoesNotOverflow(t *testing.T) {
	for _, d := range []time.Duration{locks.NoExpiry, math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2} {
		if at := after(1000, d); at != never {
			t.Errorf("after %d the instant is %d, want never", d, at)
		}
	}
	if at := after(1000, time.Second); at != 1000+instant(time.Second) {
		t.Errorf("a second after 1000 is %d", at)
	}
}
