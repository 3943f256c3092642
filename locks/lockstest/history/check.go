package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Rules says how exact the clocks and servers are that a history is of. The zero
// value is for an engine in the same process and virtual time: nothing takes any.
type Rules struct {
	// Slack is by how much the engine's clock may differ from the recorder's
	// over the time of a lease, and by how much it rounds.
	Slack time.Duration

	// Noise is for how long the machine may let anything wait that is due at
	// once; on top of twice what the slowest of the operations took that were
	// under way then, and did not wait. 0: nothing waits.
	Noise time.Duration

	// Unanswered is how long after its call an operation that got no answer may
	// take effect. 0: for ever.
	Unanswered time.Duration

	// Steady is the TTL from which on a lease that is granted to a waiter lasts
	// until the waiter has heard of it, though a message was lost.
	// One that is shorter may be over by then; others were granted the lock since.
	Steady time.Duration

	// Search bounds porcupine's search for each lock. 0: 5 s.
	Search time.Duration

	// Log is told of what could not be checked. Nil: nobody is.
	Log func(format string, args ...any)
}

// Real returns the rules for candado processes whose upstream time-out is that, on
// a busy machine.
func Real(timeout time.Duration) Rules {
	return Rules{Slack: 10 * time.Millisecond, Noise: 400 * time.Millisecond, Unanswered: timeout + 2*time.Second, Steady: 3500 * time.Millisecond}
}

// What the contract promises about waiting, and how long its failures may be felt.
const (
	handOver   = 100 * time.Millisecond  // after a lease has expired
	lostNews   = 1200 * time.Millisecond // "at most about a second"
	goneWaiter = 5 * time.Second         // a waiter that is gone holds, or is in the way
	recovery   = 3 * time.Second         // until everybody is connected again
)

const forever = time.Duration(math.MaxInt64 / 4)

// Violation is a promise that the history proves broken.
type Violation struct {
	Rule   string   // its name
	ID     locks.ID // of the lock
	Text   string   // what happened
	Events []Event  // by which it is proved

	// HTML is porcupine's picture of the lock's history, if it was porcupine
	// that found no explanation.
	HTML []byte `json:"-"`
}

// String returns the violation and its events, a line for each.
func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: lock %q: %s", v.Rule, v.ID, v.Text)
	for _, e := range v.Events {
		fmt.Fprintf(&b, "\n\t%v", e)
	}
	return b.String()
}

// String returns the event on one line.
func (e Event) String() string {
	var b strings.Builder
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Fprintf(&b, "[%.3f %.3f ms] client %d conn %d candado %d: %s", ms(e.Call), ms(e.Return), e.Client, e.Conn, e.Candado, e.Op)
	for _, part := range []struct {
		given bool
		text  string
	}{
		{e.Token != 0, fmt.Sprintf("token %d", e.Token)}, {e.Owner != "", fmt.Sprintf("owner %s", e.Owner)}, {e.Force, "force"},
		{e.Op == OpAcquire, e.Mode.String()}, {e.Limit > 0, fmt.Sprintf("limit %d", e.Limit)}, {e.TTL != 0, fmt.Sprintf("ttl %v", e.TTL)},
		{e.Wait != 0, fmt.Sprintf("wait %v", e.Wait)}, {e.Session, "session"}, {e.Outcome != "", "-> " + string(e.Outcome)},
		{e.Got != 0, fmt.Sprint(e.Got)}, {e.Ended != 0, fmt.Sprintf("ended %d", e.Ended)},
		{e.Op == OpInfo, fmt.Sprintf("holders %d waiters %d", e.Holders, e.Waiters)}, {e.Error != "", "(" + e.Error + ")"},
	} {
		if part.given {
			b.WriteString(" " + part.text)
		}
	}
	return b.String()
}

// Check returns the promises that the history of an engine in the same process
// proves broken.
func Check(events []Event) []Violation { return Rules{}.Check(events) }

// Check returns the promises that the history proves broken. It must be whole:
// every operation on its locks is in it, and every fault.
func (r Rules) Check(events []Event) (found []Violation) {
	for _, b := range r.books(events) {
		for _, rule := range []func(*book){
			(*book).twice, (*book).exclusion, (*book).limits, (*book).denied, (*book).undead,
			(*book).order, (*book).turns, (*book).idle, (*book).refused, (*book).explain,
		} {
			rule(b)
		}
		found = append(found, b.found...)
	}
	return found
}

// book is what a history says of one lock.
type book struct {
	Rules
	id     locks.ID
	events []*Event // about the lock, by call
	faults []*Event
	all    []*Event // of all locks and none
	conns  map[int]*conn
	leases []*lease
	ghosts []ghost
	found  []Violation
}

// conn is what is known of a connection.
type conn struct {
	seen time.Duration // the call of the last operation that was answered on it
	end  *Event        // nil if it never ended
}

// span is a time, both ends included.
type span struct{ from, to time.Duration }

func (s span) touches(e *Event) bool { return touches(s.from, s.to, e.Call, e.Return) }

// report adds a violation.
func (b *book) report(rule string, events []*Event, format string, args ...any) {
	v := Violation{Rule: rule, ID: b.id, Text: fmt.Sprintf(format, args...)}
	for _, e := range events {
		v.Events = append(v.Events, *e)
	}
	b.found = append(b.found, v)
}

// books sorts the events by lock.
func (r Rules) books(events []Event) []*book {
	if r.Search == 0 {
		r.Search = 5 * time.Second
	}
	byID := map[locks.ID]*book{}
	conns := map[int]*conn{}
	var all []*book
	var faults, everything []*Event
	for i := range events {
		e := &events[i]
		everything = append(everything, e)
		switch {
		case e.Fault():
			faults = append(faults, e)
			continue
		case e.Op == OpDisconnect:
			lifeOf(conns, e.Conn).end = e
			continue
		}
		c := lifeOf(conns, e.Conn)
		switch e.Outcome {
		case Done, None, NotOwner, WrongMode:
			c.seen = max(c.seen, e.Call)
		}
		if byID[e.ID] == nil {
			byID[e.ID] = &book{Rules: r, id: e.ID, conns: conns}
			all = append(all, byID[e.ID])
		}
		byID[e.ID].events = append(byID[e.ID].events, e)
	}
	for _, b := range all {
		slices.SortStableFunc(b.events, func(x, y *Event) int { return cmp.Compare(x.Call, y.Call) })
		b.faults, b.all = faults, everything
		b.findLeases()
		b.findGhosts()
	}
	return all
}

func lifeOf(conns map[int]*conn, n int) *conn {
	if conns[n] == nil {
		conns[n] = &conn{}
	}
	return conns[n]
}

// failed returns the faults of the given kinds that touch the span, or whose
// effects, which are felt for a while, do.
func (b *book) failed(s span, after time.Duration, kinds ...Op) (hit []*Event) {
	for _, f := range b.faults {
		if slices.Contains(kinds, f.Op) && touches(s.from, s.to, f.Call, f.Return+after) {
			hit = append(hit, f)
		}
	}
	return hit
}

// failedFor is failed for the faults that can concern the candado of an event.
func (b *book) failedFor(e *Event, s span, after time.Duration, kinds ...Op) []*Event {
	return slices.DeleteFunc(b.failed(s, after, kinds...), func(f *Event) bool { return f.Candado != 0 && f.Candado != e.Candado })
}

// noise bounds how long anything was held up during a span that was due at once.
func (b *book) noise(s span) (most time.Duration) {
	if b.Noise == 0 {
		return 0
	}
	for _, e := range b.all {
		if e.Wait == 0 && !e.Fault() && touches(s.from-time.Second, s.to+time.Second, e.Call, e.Return) {
			most = max(most, e.Return-e.Call)
		}
	}
	return b.Noise + 2*most
}

// latest returns when an operation took effect at the latest.
func (b *book) latest(e *Event) time.Duration {
	switch {
	case e.Outcome != Unknown && e.Outcome != Left:
		return e.Return
	case b.Unanswered == 0:
		return forever
	}
	return max(e.Return, e.Call+b.Unanswered)
}
