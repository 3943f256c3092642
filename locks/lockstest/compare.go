package lockstest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

// Compare plays random histories on two engines at once and wants the same
// replies from both. Tokens are compared by their place among the lock's tokens,
// since clocks are in their values. If a clock is real, durations may differ
// by 5 ms and the time that the requests took, and fewer histories are played.
func Compare(t *testing.T, a, b Suite) {
	compare(struct{ rapid.TB }{t}, t, a, b)
}

// compare reports to tb what it finds, and makes fixtures for t.
func compare(tb rapid.TB, t *testing.T, a, b Suite) {
	budget := budgetFor(a, t)
	if budget == nil {
		budget = budgetFor(b, t)
	}
	compared := 0
	rapid.Check(tb, func(rt *rapid.T) {
		if budget.spent() {
			return
		}
		d := newDuel(t, a, b)
		defer d.close()
		rt.Repeat(d.actions())
		compared += d.compared
	})
	if compared == 0 {
		tb.Fatal("no two replies were compared: every request took too long")
	}
}

// budget ends tests that wait for real time after some seconds. Nil has no end.
type budget struct{ until time.Time }

func (b *budget) spent() bool { return b != nil && time.Now().After(b.until) }

// budgetFor returns nil if the suite's time is virtual.
func budgetFor(s Suite, t *testing.T) *budget {
	f := s.New(t)
	defer f.Close()
	if f.Virtual {
		return nil
	}
	return &budget{time.Now().Add(3 * time.Second)}
}

// Between two engines of which one has a real clock, nothing is asked while a
// lease is so near its expiry that they could see it differently.
const (
	tolerance = 5 * time.Millisecond
	tooSlow   = 15 * time.Millisecond // a request that takes longer spoils the history
)

// duel is one history on two engines.
type duel struct {
	t        *testing.T
	sides    [2]*side
	virtual  bool            // both clocks are
	expiries []time.Duration // ages at which a lease with the TTL short may expire
	slowest  time.Duration   // that a request took
	compared int             // replies
	waits    int             // calls that were made to wait
}

// side is one of the engines, and the tokens it has given.
type side struct {
	*Fixture
	start   time.Time
	tokens  map[locks.ID][]locks.Token
	waiters waiters
}

func newDuel(t *testing.T, a, b Suite) *duel {
	d := &duel{t: t, virtual: true}
	for i, s := range []Suite{a, b} {
		f := s.New(t)
		d.sides[i] = &side{Fixture: f, tokens: map[locks.ID][]locks.Token{}, waiters: waiters{}}
		d.virtual = d.virtual && f.Virtual
	}
	for _, s := range d.sides {
		s.start = s.Now()
	}
	return d
}

func (d *duel) close() {
	for _, s := range d.sides {
		s.dismiss()
		s.Close()
	}
}

// ordinal returns the token's place among those of the lock, from 1; 0 for
// none and -1 for one that was never granted.
func (s *side) ordinal(id locks.ID, token locks.Token) locks.Token {
	if token == 0 {
		return 0
	}
	if i := slices.Index(s.tokens[id], token); i >= 0 {
		return locks.Token(i + 1)
	}
	return -1
}

// token is ordinal's inverse: of a place that no token has, the largest one.
func (s *side) token(id locks.ID, ordinal int) locks.Token {
	if ordinal < 1 || ordinal > len(s.tokens[id]) {
		return locks.MaxToken
	}
	return s.tokens[id][ordinal-1]
}

// granted enters a lease's token, if it is new, and returns the lease with its
// ordinal.
func (s *side) granted(id locks.ID, lease locks.Lease) locks.Lease {
	if lease.Token != 0 && !slices.Contains(s.tokens[id], lease.Token) {
		s.tokens[id] = append(s.tokens[id], lease.Token)
	}
	return s.normal(id, lease)
}

func (s *side) normal(id locks.ID, lease locks.Lease) locks.Lease {
	lease.Token = s.ordinal(id, lease.Token)
	return lease
}

// reply is what an engine answered, in terms that both have in common.
type reply struct {
	err     error // one of the outcomes
	value   any   // comparable
	holders []locks.Holder
}

// outcomes are the errors that a history may meet.
func outcomes() []error {
	return []error{nil, locks.ErrHeld, locks.ErrNotOwner, locks.ErrMode, locks.ErrBusy, locks.ErrUnavailable}
}

// outcome strips what an engine wrapped around an outcome.
func outcome(err error) error {
	for _, known := range outcomes() {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}

// ask asks both engines and wants the same reply. It returns side 0's.
func (d *duel) ask(rt *rapid.T, request string, one func(s *side) reply) reply {
	if d.slowest > tooSlow {
		return reply{} // what the engines say now proves nothing
	}
	d.settle()
	begin := time.Now()
	var replies [2]reply
	for i, s := range d.sides {
		replies[i] = one(s)
	}
	if !d.virtual {
		d.slowest = max(d.slowest, time.Since(begin))
	}
	if d.slowest > tooSlow {
		return reply{}
	}
	d.compared++
	if !d.same(replies[0], replies[1]) {
		rt.Fatalf("%s: the first engine answers\n%+v, the second\n%+v", request, replies[0], replies[1])
	}
	d.rest(rt, request)
	return replies[0]
}

func (d *duel) same(a, b reply) bool {
	if a.err != b.err || a.value != b.value || len(a.holders) != len(b.holders) {
		return false
	}
	for i := range a.holders {
		x, y := a.holders[i], b.holders[i]
		if !d.near(x.TTL, y.TTL) || !d.near(x.Held, y.Held) || (x.TTL == locks.NoExpiry) != (y.TTL == locks.NoExpiry) {
			return false
		}
		x.TTL, x.Held = y.TTL, y.Held
		if x != y {
			return false
		}
	}
	return true
}

// near reports whether two measured durations are the same.
func (d *duel) near(x, y time.Duration) bool {
	if d.virtual {
		return x == y
	}
	return (x - y).Abs() <= tolerance+2*d.slowest
}

// age returns how much time has passed on the engine's clock.
func (s *side) age() time.Duration { return s.Now().Sub(s.start) }

// settle lets a clock that stands still catch up with one that runs, and steps
// over the moments at which the engines might disagree about a lease.
func (d *duel) settle() {
	if d.virtual {
		return
	}
	d.align()
	const margin = tooSlow + tolerance
	for slices.ContainsFunc(d.expiries, func(at time.Duration) bool { return (at - d.age()).Abs() < margin }) {
		d.pass(margin)
	}
}

func (d *duel) align() {
	age := d.age()
	for _, s := range d.sides {
		if lag := age - s.age(); s.Virtual && lag > 0 {
			s.Advance(lag)
		}
	}
}

// age returns the older side's.
func (d *duel) age() time.Duration { return max(d.sides[0].age(), d.sides[1].age()) }

// pass lets the same time pass on both sides, at once: it may be real.
func (d *duel) pass(wait time.Duration) {
	var wg sync.WaitGroup
	for _, s := range d.sides {
		wg.Go(func() { s.Advance(wait) })
	}
	wg.Wait()
	if !d.virtual {
		d.align()
	}
}

// expects remembers when a lease that was just granted or renewed may expire.
func (d *duel) expects(lease any) {
	if l, ok := lease.(locks.Lease); ok && l.TTL == short && !d.virtual {
		d.expiries = append(d.expiries, d.age()+short)
	}
}
