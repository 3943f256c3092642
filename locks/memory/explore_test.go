package memory

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// All states of one lock that few contenders can reach, met breadth first. The
// steps are the machine's own; what each of them did is judged by comparing
// how the lock looked before and after (judge_test.go). Times count from now
// and tokens by rank in the fingerprint that tells states apart, so the states
// are finitely many, and the search ends when there are no more.

// tick is a step of time. Retention is two of them.
const tick = locks.Retention / 2

// world is a lock and the time. The requests that wait keep their identity
// through copies by their order in the queue.
type world struct {
	*lock
	now     instant
	highest locks.Token // ever minted
	broken  mutation
}

// mint is the engine's, for an engine with this lock only.
func (w *world) mint(last locks.Token) (locks.Token, error) {
	if w.broken == repeatTokens {
		w.highest = max(w.highest, 1)
		return w.highest, nil
	}
	token, err := locks.Next(last, time.UnixMicro(int64(w.now)/int64(time.Microsecond)), 0)
	w.highest = max(w.highest, token)
	return token, err
}

// clone copies a world. It fills the copy's indexes anew: soundCrowd and
// wellFormed see to it that they hold nothing that could get lost here.
func (w *world) clone() *world {
	l := *w.lock
	c := &world{lock: &l, now: w.now, highest: w.highest, broken: w.broken}
	l.annex = nil
	if w.annex == nil {
		return c
	}
	l.annex = &annex{}
	for _, m := range w.members() {
		l.annex.crowd.add(m.lease)
		copied, _ := l.annex.crowd.byToken.get(m.token)
		copied.confirmed = m.confirmed
	}
	for _, each := range w.queued() {
		l.annex.queue.push(newWaiter(each.req))
	}
	return c
}

// newWaiter is a waiter with room for an answer too many.
func newWaiter(req locks.AcquireRequest) *waiter {
	return &waiter{req: req, answer: make(chan answer, 2)}
}

// members returns the shared holders, by token.
func (l *lock) members() (all []*member) {
	if l.annex == nil {
		return nil
	}
	for _, m := range l.annex.crowd.byToken.m {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *member) int { return int(a.token - b.token) })
	return all
}

// queued returns who waits, by arrival.
func (l *lock) queued() (all []*waiter) {
	if l.annex == nil {
		return nil
	}
	for e := l.annex.queue.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*waiter))
	}
	return all
}

// holding returns the leases that the lock has, by token, and whether each is
// confirmed. Which of them have expired is not looked at.
func (l *lock) holding() (all []lease, confirmed []bool) {
	switch l.mode {
	case locks.Exclusive:
		return []lease{l.sole}, []bool{l.confirmed}
	case locks.Shared:
		for _, m := range l.members() {
			all, confirmed = append(all, m.lease), append(confirmed, m.confirmed)
		}
	}
	return all, confirmed
}

// fingerprint tells apart states that may go on differently.
func (w *world) fingerprint() string {
	var b strings.Builder
	fmt.Fprint(&b, w.mode, w.last() != 0, w.in(w.deadline()))
	holders, confirmed := w.holding()
	for i, h := range holders {
		fmt.Fprintf(&b, "|%s %d %d %v", h.owner, h.ttl/tick, w.in(h.expires), confirmed[i])
	}
	for _, q := range w.queued() {
		fmt.Fprintf(&b, "<%s %d %d %d", q.req.Owner, q.req.Mode, q.req.Limit, q.req.TTL/tick)
	}
	return b.String()
}

// in returns after how many ticks an instant comes; 0: it has come; -1: never.
func (w *world) in(at instant) int64 {
	if at == never {
		return -1
	}
	return int64(max(at-w.now, 0)) / int64(tick)
}

// bounds is how much the contenders may do.
type bounds struct {
	owners     []locks.Owner
	contenders int // leases and waiting requests at a time
	ttls       []time.Duration
	states     int // fewer, and the search has not searched
}

// action is one step that may be made in a world, as a function so that what it
// did is judged by somebody else.
type action struct {
	name string
	do   func(w *world) *deed
}

// actions lists what can be done in w.
func (b bounds) actions(w *world) []action {
	var all []action
	for _, ticks := range []int{1, 2, 4} { // 4: over all leases and the retention at once
		all = append(all, action{fmt.Sprint(ticks, " ticks pass"), func(w *world) *deed { return w.passStep(ticks) }})
	}
	holders, _ := w.holding()
	waiting := w.queued()
	for _, owner := range b.owners {
		known := owner != "" && (slices.ContainsFunc(holders, func(h lease) bool { return h.owner == owner }) ||
			slices.ContainsFunc(waiting, func(q *waiter) bool { return q.req.Owner == owner }))
		if known || len(holders)+len(waiting) < b.contenders {
			all = append(all, b.acquires(owner)...)
		}
		all = append(all, b.claims(locks.Claim{Owner: owner}, fmt.Sprintf("by owner %q", owner))...)
	}
	for i, h := range holders {
		all = append(all, b.claims(locks.Claim{Token: h.token}, fmt.Sprint("by token of holder ", i))...)
		all = append(all, action{fmt.Sprint("holder ", i, " has gone before it knew"), func(w *world) *deed {
			return w.passOnStep(h.token)
		}})
	}
	all = append(all, b.claims(locks.Claim{Token: locks.MaxToken}, "by a dead token")...)
	all = append(all, action{"force", func(w *world) *deed {
		return w.releaseStep(locks.ReleaseRequest{ID: "a", Force: true})
	}})
	for i := range waiting {
		all = append(all, action{fmt.Sprint("waiter ", i, " leaves"), func(w *world) *deed { return w.leaveStep(i) }})
	}
	return all
}

func (b bounds) acquires(owner locks.Owner) (all []action) {
	for _, ttl := range b.ttls {
		for _, how := range []struct {
			mode  locks.Mode
			limit int
		}{{locks.Exclusive, 0}, {locks.Shared, 0}, {locks.Shared, 2}} {
			for _, wait := range []time.Duration{0, locks.Forever} {
				req := locks.AcquireRequest{ID: "a", Owner: owner, Mode: how.mode, Limit: how.limit, TTL: ttl, Wait: wait}
				name := fmt.Sprintf("acquire %q %v limit %d for %d, wait %d", owner, how.mode, how.limit, ttl/tick, wait)
				all = append(all, action{name, func(w *world) *deed { return w.acquireStep(req, b.contenders) }})
			}
		}
	}
	return all
}

func (b bounds) claims(claim locks.Claim, name string) []action {
	return []action{
		{"release " + name, func(w *world) *deed { return w.releaseStep(locks.ReleaseRequest{ID: "a", Claim: claim}) }},
		{"heartbeat " + name, func(w *world) *deed {
			return w.heartbeatStep(locks.HeartbeatRequest{ID: "a", Claim: claim})
		}},
	}
}

// finding is what a search came to.
type finding struct {
	states, transitions, depth int
	wrong                      string // "": nothing
	path                       []string
}

// node is how a state was met first.
type node struct {
	world  *world
	from   *node
	action string
	depth  int
}

func (n *node) path() (all []string) {
	for ; n.from != nil; n = n.from {
		all = append(all, n.action)
	}
	slices.Reverse(all)
	return all
}

// explore meets every state, and stops at the first step that is not as it should be.
func (b bounds) explore(broken mutation) (f finding) {
	start := &node{world: &world{lock: newLock("a"), now: instant(time.Hour), broken: broken}}
	seen := map[string]bool{start.world.fingerprint(): true}
	for todo := []*node{start}; len(todo) > 0; todo = todo[1:] {
		n := todo[0]
		f.states, f.depth = f.states+1, n.depth
		for _, a := range b.actions(n.world) {
			f.transitions++
			next := &node{world: n.world.clone(), from: n, action: a.name, depth: n.depth + 1}
			did := a.do(next.world)
			if f.wrong = judge(n.world, did, next.world); f.wrong != "" {
				f.path = next.path()
				return f
			}
			if print := next.world.fingerprint(); !seen[print] {
				seen[print] = true
				todo = append(todo, next)
			}
		}
	}
	return f
}

// deep asks for the wider searches, which take a minute.
func deep() bool { return os.Getenv("CANDADO_EXPLORE") == "deep" }

func TestEveryReachableStateOfALock(t *testing.T) {
	long, ttls := []time.Duration{2 * tick}, []time.Duration{tick, 2 * tick}
	all := map[string]bounds{
		"three contenders":          {[]locks.Owner{"x", "y", ""}, 3, long, 1800},
		"two TTLs":                  {[]locks.Owner{"x", ""}, 3, ttls, 1800},
		"leases that do not expire": {[]locks.Owner{"x", ""}, 2, append(ttls, locks.NoExpiry), 400},
	}
	if deep() {
		all["three contenders, two TTLs"] = bounds{[]locks.Owner{"x", "y", ""}, 3, ttls, 7800}
		all["four contenders, two TTLs"] = bounds{[]locks.Owner{"x", "y", ""}, 4, ttls, 85_000}
	}
	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			f := b.explore(nothing)
			t.Logf("%d states, %d transitions, none more than %d steps away", f.states, f.transitions, f.depth)
			if f.wrong != "" {
				t.Fatalf("%s, after\n  %s", f.wrong, strings.Join(f.path, "\n  "))
			}
			if f.states < b.states {
				t.Errorf("only %d states were met, want %d", f.states, b.states)
			}
		})
	}
}

// A search that finds nothing in a broken machine would prove nothing.
func TestExplorationFindsBrokenSteps(t *testing.T) {
	b := bounds{owners: []locks.Owner{"x", ""}, contenders: 3, ttls: []time.Duration{tick}}
	for broken := nothing + 1; broken < mutations; broken++ {
		t.Run(broken.String(), func(t *testing.T) {
			f := b.explore(broken)
			if f.wrong == "" {
				t.Fatalf("%d states are in order", f.states)
			}
			t.Logf("%s, after %s", f.wrong, strings.Join(f.path, "; "))
		})
	}
}
