package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// What two locks share: the floor of the tokens, and a shard's map, heap of
// deadlines, count and timer. All states of an engine with one shard and two
// locks, met breadth first. An engine can't be copied, so a state is the history
// that led there, which is played again for each step from it.

// pair is an engine with the requests that wait, by lock.
type pair struct {
	*Engine
	waiting map[locks.ID][]*waiter
	highest locks.Token
	wrong   string
}

// move is a step of a pair, and whether it can be made.
type move struct {
	name string
	do   func(p *pair) bool
}

func moves() []move {
	all := []move{{"a tick passes", func(*pair) bool {
		time.Sleep(tick)
		synctest.Wait()
		return true
	}}}
	for _, id := range []locks.ID{"a", "b"} {
		for _, ttl := range []time.Duration{tick - 10*time.Millisecond, 2 * tick} { // off and on the timer's grid
			for _, wait := range []time.Duration{0, locks.Forever} {
				req := locks.AcquireRequest{ID: id, TTL: ttl, Wait: wait}
				all = append(all, move{fmt.Sprintf("acquire %s for %v, wait %d", id, ttl, wait), func(p *pair) bool { return p.acquire(req) }})
			}
		}
		all = append(all, move{"release " + string(id), func(p *pair) bool {
			_, err := p.Release(context.Background(), locks.ReleaseRequest{ID: id})
			return err == nil
		}}, move{"a waiter leaves " + string(id), func(p *pair) bool {
			queue := p.waiting[id]
			return len(queue) > 0 && p.leave(queue[0])
		}})
	}
	return all
}

func (p *pair) acquire(req locks.AcquireRequest) bool {
	if req.Wait != 0 && len(p.waiting[req.ID]) > 0 {
		return false // one is enough
	}
	var lease locks.Lease
	var w *waiter
	err := p.step(context.Background(), "acquiring", req.ID, true, func(l *lock, now instant) (err error) {
		lease, w, err = l.acquire(req, now, p, 10)
		return err
	})
	if w != nil {
		p.waiting[req.ID] = append(p.waiting[req.ID], w)
	}
	p.granted(lease)
	return err == nil
}

// granted takes note of a lease.
func (p *pair) granted(lease locks.Lease) {
	switch {
	case lease.Token == 0:
	case lease.Token <= p.highest:
		p.wrong = fmt.Sprintf("token %d follows %d, of whichever lock", lease.Token, p.highest)
	default:
		p.highest = lease.Token
	}
}

// answers takes in what those who wait have been told, in the order of tokens.
func (p *pair) answers() {
	var all []answer
	for id, queue := range p.waiting {
		p.waiting[id] = slices.DeleteFunc(queue, func(w *waiter) bool {
			a, ok := w.result()
			if ok {
				all = append(all, a)
			}
			return w.place == nil
		})
	}
	slices.SortFunc(all, func(a, b answer) int { return int(a.lease.Token - b.lease.Token) })
	for _, a := range all {
		p.granted(a.lease)
	}
}

// unsound returns what is wrong with the shard, or "".
func (p *pair) unsound() string {
	s, now, held := &p.shards[0], p.now(), 0
	inHeap := map[*lock]bool{}
	for i, e := range s.deadlines.entries {
		if e.x.index != int32(i+1) || e.at < s.deadlines.first().at {
			return "the heap is out of order"
		}
		inHeap[e.x] = true
	}
	inRow := map[*lock]instant{}
	for i, e := range s.freed.entries[s.freed.gone:] {
		if _, twice := inRow[e.x]; twice || !e.x.inRow || i > 0 && e.at < s.freed.entries[s.freed.gone+i-1].at {
			return "the row is out of order"
		}
		if e.x.unknown() && e.at > now {
			return "the row holds a lock that was forgotten before its time"
		}
		inRow[e.x] = e.at
	}
	looked := func(l *lock) instant {
		if at, ok := inRow[l]; ok {
			return min(at, s.deadlines.at(l))
		}
		return s.deadlines.at(l)
	}
	for id, l := range s.locks.m {
		_, row := inRow[l]
		switch wrong := l.wellFormed(); {
		case wrong != "":
			return wrong
		case l.id != id || l.unknown():
			return fmt.Sprintf("%s is kept, and nothing is known of it", id)
		case row != l.inRow:
			return fmt.Sprintf("%s is wrong about the row", id)
		case !inHeap[l] && !row && l.deadline() != never, inHeap[l] && l.deadline() == never:
			return fmt.Sprintf("the deadline of %s is not watched", id)
		case looked(l) > l.deadline():
			return fmt.Sprintf("%s is looked at after its deadline", id)
		case l.deadline() <= now:
			return fmt.Sprintf("%s is overdue by %v", id, time.Duration(now-l.deadline()))
		}
		if l.held() {
			held++
		}
	}
	if len(inHeap) > len(s.locks.m) {
		return "the heap holds locks that are forgotten"
	}
	if held != p.Held() {
		return fmt.Sprintf("%d locks are held, and %d are counted", held, p.Held())
	}
	if next := s.next(); next != never && (s.armed == 0 || s.armed >= next+instant(grid)) {
		return "the timer fires too late"
	}
	return ""
}

func (p *pair) fingerprint() string {
	var b strings.Builder
	s := &p.shards[0]
	left := func(at instant) instant {
		if at == never {
			return never
		}
		return at - p.now()
	}
	fmt.Fprint(&b, max(s.armed-p.now(), -1))
	for _, e := range s.freed.entries[s.freed.gone:] {
		fmt.Fprint(&b, "|", e.x.id, left(e.at), e.x.unknown())
	}
	for _, id := range []locks.ID{"a", "b"} {
		if l, ok := s.locks.get(id); ok {
			fmt.Fprintf(&b, "|%v %d %d %d %v", l.mode, left(l.deadline()), left(s.deadlines.at(l)), l.waiters(), l.inRow)
			for _, w := range p.waiting[id] {
				fmt.Fprint(&b, w.req.TTL)
			}
		} else {
			fmt.Fprint(&b, "|")
		}
	}
	return b.String()
}

// play makes the moves on a fresh engine, and says what the last of them led
// to. After each, it breaks the engine as the caller asks.
func play(history []move, broken func(*pair)) (print, wrong string, possible bool) {
	p := &pair{Engine: New(Options{Shards: 1}), waiting: map[locks.ID][]*waiter{}}
	defer func() { _ = p.Close() }()
	mu := &p.shards[0].mu
	for _, m := range history {
		possible = m.do(p)
		mu.Lock()
		p.answers()
		broken(p)
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	if p.wrong == "" {
		p.wrong = p.unsound()
	}
	return p.fingerprint(), p.wrong, possible
}

// explorePairs meets every state, and stops at the first that is not in order.
func explorePairs(broken func(*pair)) (states int, wrong string, path []string) {
	print, _, _ := play(nil, broken)
	seen := map[string]bool{print: true}
	for todo := [][]move{nil}; len(todo) > 0; todo = todo[1:] {
		states++
		for _, m := range moves() {
			history := append(slices.Clone(todo[0]), m)
			print, wrong, possible := play(history, broken)
			if wrong != "" {
				for _, m := range history {
					path = append(path, m.name)
				}
				return states, wrong, path
			}
			if possible && !seen[print] {
				seen[print] = true
				todo = append(todo, history)
			}
		}
	}
	return states, "", nil
}

func TestEveryReachableStateOfTwoLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		states, wrong, path := explorePairs(func(*pair) {})
		t.Logf("%d states", states)
		if wrong != "" {
			t.Fatalf("%s, after\n  %s", wrong, strings.Join(path, "\n  "))
		}
		if states < 200 {
			t.Errorf("only %d states were met", states)
		}
	})
}

func TestExplorationFindsBrokenShards(t *testing.T) {
	for name, broken := range map[string]func(*pair){
		"the floor is lost": func(p *pair) { p.floor.Store(0) },
		"the timer stops": func(p *pair) {
			if timer := p.shards[0].timer; timer != nil {
				timer.Stop()
			}
		},
		"the row is lost": func(p *pair) { p.shards[0].freed = row[*lock]{} },
		"the row takes what is not in turn": func(p *pair) {
			if r := &p.shards[0].freed; r.len() > 1 {
				r.entries[r.gone].at = r.entries[r.gone+1].at + 1
			}
		},
		"the heap does not see a change": func(p *pair) {
			if l, ok := p.shards[0].locks.get("a"); ok && l.held() {
				l.sole.expires = p.now() + 1
			}
		},
		"forgotten locks stay": func(p *pair) {
			p.shards[0].locks.set("b", newLock("b"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				states, wrong, path := explorePairs(broken)
				if wrong == "" {
					t.Fatalf("%d states are in order", states)
				}
				t.Logf("%s, after %s", wrong, strings.Join(path, "; "))
			})
		})
	}
}
