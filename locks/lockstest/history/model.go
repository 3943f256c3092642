package history

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/goodjobtech/candado/locks"
)

// This file has porcupine look for one order of a lock's operations in which each
// reply is right. The state is what may be so: a lease is dead at the latest when
// its time is over, and may be dead from some moment before that on. Requests
// of which nobody knows what became are no operations here, but ghosts, and what
// only weakens what is known (an unanswered release, say) can always come.
// Turns in the queue are not the model's business.

// input is an operation, and what is known of its surroundings.
type input struct {
	*Event
	took    span          // when it took effect
	ghosts  int           // that may have been there
	awaited bool          // somebody may have waited
	haunted bool          // its owner may have a lease that it does not know of
	bound   time.Duration // its connection may be gone from then on; forever: it binds no lease
}

// held is a lease in the model.
type held struct {
	token  locks.Token
	owner  locks.Owner
	mode   locks.Mode
	ttl    time.Duration
	sure   time.Duration // it may be dead from then on
	latest time.Duration // it is dead from then on
	bound  time.Duration // its connection may be gone from then on; forever: it is bound to none
}

// state is the model's. It is never changed, only replaced.
type state struct {
	now    time.Duration // not earlier, as the operations so far show
	last   locks.Token
	leases []held // by token
}

// explain has porcupine search. Should that take too long, nothing is said.
func (b *book) explain() {
	ops, model := b.operations(), b.model()
	switch porcupine.CheckOperationsTimeout(model, ops, b.Search) {
	case porcupine.Ok:
		return
	case porcupine.Unknown:
		if b.Log != nil {
			b.Log("lock %q: no order of its %d operations was found in %v, which proves nothing", b.id, len(ops), b.Search)
		}
		return
	}
	b.report("explanation", nil, "no order of its %d operations explains the replies", len(ops))
	_, info := porcupine.CheckOperationsVerbose(model, ops, b.Search)
	var page bytes.Buffer
	if err := porcupine.Visualize(model, info, &page); err == nil {
		b.found[len(b.found)-1].HTML = page.Bytes()
	}
}

func (b *book) model() porcupine.Model {
	return porcupine.Model{
		Init:              func() any { return state{} },
		Step:              b.step,
		Hash:              func(s any) uint64 { return s.(state).hash() },
		Equal:             func(x, y any) bool { return equalStates(x.(state), y.(state)) },
		DescribeOperation: func(in, _ any) string { return in.(input).String() },
		DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
	}
}

func equalStates(x, y state) bool {
	return x.now == y.now && x.last == y.last && slices.Equal(x.leases, y.leases)
}

func (s state) hash() uint64 {
	h := uint64(s.now) ^ uint64(s.last)<<1
	for _, l := range s.leases {
		h = h*1099511628211 ^ uint64(l.token) ^ uint64(l.sure)<<7 ^ uint64(l.latest)<<13
	}
	return h
}

// operations returns what the model has to explain.
func (b *book) operations() (ops []porcupine.Operation) {
	grants := b.grants()
	add := func(e *Event) {
		in := input{Event: e, took: span{e.Call, b.latest(e)}, ghosts: b.haunted(e), awaited: b.awaited(e), haunted: b.mayBeOlder(e), bound: forever}
		if s, ok := grants[e]; ok {
			in.took = s
		}
		if e.Session {
			in.bound = b.conns[e.Conn].seen
		}
		last := int64(math.MaxInt64)
		if in.took.to < forever {
			last = int64(in.took.to)
		}
		ops = append(ops, porcupine.Operation{ClientId: e.Client, Input: in, Call: int64(in.took.from), Return: last})
	}
	for _, e := range b.events {
		ghost := e.Op == OpAcquire && (e.Outcome == Unknown || e.Outcome == Left || e.Outcome == None && e.Wait != 0)
		pointless := e.Outcome == Nothing || e.Outcome == Unknown && (e.Op == OpCheck || e.Op == OpInfo)
		if !ghost && !pointless {
			add(e)
		}
	}
	for _, f := range b.faults {
		if f.Op == OpLost {
			add(f)
		}
	}
	return ops
}

// grants returns when the acquires that made a lease took effect, as far as that is
// sure. It is narrower than from their call to their return, which spares the
// search most of the orders that lead nowhere: a lease that an operation did not
// find, and a later one did, was granted after the call of the first; one that excludes another was granted
// after that had surely lived; and grants come in the order of their tokens.
func (b *book) grants() map[*Event]span {
	var sure []*lease
	for _, l := range b.leases {
		if len(l.acquires) == 1 && !b.mayBeOlder(l.first) {
			sure = append(sure, l)
		}
	}
	slices.SortFunc(sure, func(x, y *lease) int { return cmp.Compare(x.token, y.token) })
	grants := map[*Event]span{}
	from := time.Duration(0)
	for _, l := range sure {
		from = max(from, b.notBefore(l))
		grants[l.first] = span{from, l.first.Return}
	}
	to := forever
	for _, l := range slices.Backward(sure) {
		s := grants[l.first]
		if to = min(to, s.to); s.from <= to {
			grants[l.first] = span{s.from, to}
		} else {
			grants[l.first] = span{l.first.Call, l.first.Return} // there is no such moment; the search will say so
		}
	}
	return grants
}

// notBefore returns a moment before which the lease was surely not granted.
func (b *book) notBefore(l *lease) time.Duration {
	at := l.first.Call
	for _, e := range b.events {
		unseen := e.Op == OpInfo && e.Outcome == Done && !slices.Contains(e.Holders, l.token)
		if unseen && l.sure.from < l.sure.to && e.Return < l.sure.to {
			at = max(at, e.Call)
		}
	}
	for _, o := range b.leases {
		if o.token < l.token && o.conflicts(l) && o.sure.from < o.sure.to {
			at = max(at, o.sure.to)
		}
	}
	return at
}

// mayBeOlder reports whether the owner may have got its lease before it asked.
func (b *book) mayBeOlder(a *Event) bool {
	if a.Owner == "" {
		return false
	}
	return slices.ContainsFunc(b.ghosts, func(g ghost) bool { return g.of != a && g.of.Owner == a.Owner && g.touches(a) }) ||
		slices.ContainsFunc(b.events, func(e *Event) bool {
			return e.Op == OpAcquire && e.Wait != 0 && e.Owner == a.Owner && unheard(e, a) && e.Outcome == Done
		})
}

// step applies an operation.
func (b *book) step(s, in, _ any) (bool, any) {
	m := &moment{in: in.(input), slack: b.Slack, state: s.(state)}
	m.now = max(m.now, m.in.took.from)
	m.leases = slices.DeleteFunc(slices.Clone(m.leases), func(h held) bool { return h.latest < m.now })
	ok := false
	switch m.in.Op {
	case OpAcquire:
		ok = m.acquire()
	case OpRelease:
		ok = m.release()
	case OpHeartbeat:
		ok = m.heartbeat()
	case OpCheck:
		ok = m.found(m.in.Outcome == Done, func(h held) bool { return h.token == m.in.Token })
	case OpInfo:
		ok = m.described()
	case OpLost:
		m.leases, ok = nil, true
	}
	return ok, m.state
}

// moment is one step.
type moment struct {
	state
	in    input
	slack time.Duration
}

// live and dead report whether a lease may be so. Both may be.
func (m *moment) live(h held) bool { return m.now <= h.latest }
func (m *moment) dead(h held) bool { return m.in.took.to >= h.sure }

func (m *moment) count(is func(held) bool) (n int) {
	for _, h := range m.leases {
		if is(h) {
			n++
		}
	}
	return n
}

// found takes in that the leases which match are alive, one at least, or all
// dead. It reports whether that may be so.
func (m *moment) found(alive bool, match func(held) bool) bool {
	if alive {
		return m.count(func(h held) bool { return match(h) && m.live(h) }) > 0
	}
	ok := true
	m.leases = slices.DeleteFunc(m.leases, func(h held) bool {
		ok = ok && (!match(h) || m.dead(h))
		return match(h)
	})
	return ok
}

// everyone matches each lease.
func everyone(held) bool { return true }

// expire sets when a lease is over.
func (m *moment) expire(h *held, ttl time.Duration) {
	h.sure, h.latest = min(m.now+ttl-m.slack, h.bound), m.in.took.to+ttl+m.slack
	if h.bound < forever {
		h.latest = forever
	}
}

func (m *moment) acquire() bool {
	in := m.in
	mine := func(h held) bool { return in.Owner != "" && h.owner == in.Owner }
	switch in.Outcome {
	case None:
		return m.refused()
	case WrongMode:
		return in.haunted || m.found(true, func(h held) bool { return mine(h) && h.mode != in.Mode })
	}
	for i := range m.leases {
		if h := &m.leases[i]; h.token == in.Got {
			h.bound, h.ttl = min(h.bound, in.bound), in.TTL
			m.expire(h, in.TTL)
			return mine(*h)
		}
	}
	if in.Got <= m.last && !in.haunted {
		return false
	}
	excluded := func(h held) bool { return mine(h) || in.Mode == locks.Exclusive || h.mode == locks.Exclusive }
	if !m.found(false, excluded) || in.Limit > 0 && m.count(func(h held) bool { return !m.dead(h) }) >= in.Limit && !in.haunted {
		return false
	}
	h := held{token: in.Got, owner: in.Owner, mode: in.Mode, ttl: in.TTL, bound: in.bound}
	m.expire(&h, in.TTL)
	m.last = max(m.last, in.Got)
	m.leases = append(m.leases, h)
	slices.SortFunc(m.leases, func(x, y held) int { return cmp.Compare(x.token, y.token) })
	return true
}

func (m *moment) refused() bool {
	in := m.in
	if in.awaited || in.ghosts > 0 {
		return true
	}
	shared := m.count(func(h held) bool { return m.live(h) && h.mode == locks.Shared })
	return m.count(m.live) > shared || in.Mode == locks.Exclusive && shared > 0 || in.Limit > 0 && shared >= in.Limit
}

// claimed returns whether a lease is one that the operation may be about.
func (m *moment) claimed(h held) bool {
	if m.in.Token != 0 {
		return h.token == m.in.Token
	}
	return h.owner == m.in.Owner
}

func (m *moment) release() bool {
	in := m.in
	switch {
	case in.Outcome == None:
		return m.found(false, everyone)
	case in.Outcome == NotOwner:
		return m.others()
	case in.Force && in.Outcome == Done:
		ok := in.Ended < 0 || in.Ended >= m.count(func(h held) bool { return !m.dead(h) }) && in.Ended <= m.count(m.live)+in.ghosts
		m.leases = nil
		return ok
	}
	ends := func(h held) bool { return in.Force || m.claimed(h) && m.live(h) }
	if in.Outcome == Done && m.count(ends) == 1 {
		m.leases = slices.DeleteFunc(m.leases, ends)
		return true
	}
	for i := range m.leases {
		if h := &m.leases[i]; ends(*h) {
			h.sure = min(h.sure, m.now) // this one, or another
		}
	}
	return in.Outcome == Unknown || m.count(ends) > 0 || in.ghosts > 0 && in.Token == 0
}

// others takes in that somebody holds the lock, and not by the claimed lease.
func (m *moment) others() bool {
	return m.found(false, m.claimed) && (m.count(m.live) > 0 || m.in.ghosts > 0)
}

func (m *moment) heartbeat() bool {
	in := m.in
	switch in.Outcome {
	case None:
		return m.found(false, everyone)
	case NotOwner:
		return m.others()
	}
	is := func(h held) bool { return m.claimed(h) && m.live(h) }
	n := m.count(is)
	for i := range m.leases {
		h := &m.leases[i]
		if !is(*h) {
			continue
		}
		old := *h
		m.expire(h, cmp.Or(in.TTL, h.ttl))
		if in.Outcome != Done || n > 1 { // it, or another, or none
			h.sure, h.latest = min(h.sure, old.sure), max(h.latest, old.latest)
		}
	}
	return in.Outcome == Unknown || n > 0 || in.ghosts > 0 && in.Token == 0
}

// described takes in a description of the lock. It may name leases that only
// ghosts have.
func (m *moment) described() bool {
	in := m.in
	for _, h := range m.leases {
		if slices.Contains(in.Holders, h.token) && !m.live(h) {
			return false
		}
	}
	return m.found(false, func(h held) bool { return !slices.Contains(in.Holders, h.token) }) &&
		(len(in.Holders) <= len(m.leases)+in.ghosts)
}
