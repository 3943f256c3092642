package history

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Op is what an event was.
type Op string

// What clients do.
const (
	OpAcquire    Op = "acquire"
	OpRelease    Op = "release"
	OpHeartbeat  Op = "heartbeat"
	OpCheck      Op = "check"
	OpInfo       Op = "info"
	OpDisconnect Op = "disconnect" // a client ends its connection
)

// What is done to the servers. Such an event lasts from its call to its return,
// and is about all locks.
const (
	OpLost   Op = "lost"   // the data are lost
	OpDown   Op = "down"   // the upstream does not answer
	OpCut    Op = "cut"    // connections to the upstream end, or lose a request or a reply
	OpMute   Op = "mute"   // messages to subscribers are lost
	OpKilled Op = "killed" // a candado ends
)

// Outcome is what an operation came to.
type Outcome string

// The outcomes.
const (
	Done      Outcome = "done"      // granted, ended something, renewed, live, described
	None      Outcome = "none"      // not granted; the lock was free; the token is not live
	NotOwner  Outcome = "not owner" // others hold the lock
	WrongMode Outcome = "mode"      // the owner holds the lock in another mode
	Nothing   Outcome = "nothing"   // refused, surely nothing was done
	Left      Outcome = "left"      // the client left while it waited
	Unknown   Outcome = "unknown"   // no answer
)

// Event is one operation of a client, or one fault.
type Event struct {
	Client  int      `json:"client"`
	Conn    int      `json:"conn,omitempty"`    // the client's connection, among all
	Candado int      `json:"candado,omitempty"` // the process that was asked, among all that ran
	Op      Op       `json:"op"`
	ID      locks.ID `json:"id,omitempty"`

	Owner   locks.Owner   `json:"owner,omitempty"` // of an acquire; or claimed
	Token   locks.Token   `json:"token,omitempty"` // claimed
	Force   bool          `json:"force,omitempty"`
	Mode    locks.Mode    `json:"mode,omitempty"`
	Limit   int           `json:"limit,omitempty"`
	TTL     time.Duration `json:"ttl,omitempty"`  // of a heartbeat, 0: as acquired
	Wait    time.Duration `json:"wait,omitempty"` // 0: none
	Session bool          `json:"session,omitempty"`

	Call    time.Duration `json:"call"`   // since the recorder began
	Return  time.Duration `json:"return"` // the same
	Outcome Outcome       `json:"outcome,omitempty"`
	Error   string        `json:"error,omitempty"`
	Told    bool          `json:"told,omitempty"`    // candado said itself that it does not know what became of it
	Got     locks.Token   `json:"got,omitempty"`     // granted, or renewed where the reply says it
	Ended   int           `json:"ended,omitempty"`   // leases; -1: some
	Waiters int           `json:"waiters,omitempty"` // as described
	Holders []locks.Token `json:"holders,omitempty"` // as described
}

// Fault reports whether the event is one.
func (e *Event) Fault() bool {
	switch e.Op {
	case OpLost, OpDown, OpCut, OpMute, OpKilled:
		return true
	}
	return false
}

// bare reports whether a release or heartbeat claims whatever is anonymous.
func (e *Event) bare() bool { return e.Token == 0 && e.Owner == "" && !e.Force }

// touches reports whether two spans of time have a moment in common.
func touches(from, to, from2, to2 time.Duration) bool { return from <= to2 && from2 <= to }

// Recorder takes down events. It is safe for concurrent use.
type Recorder struct {
	start time.Time

	mu     sync.Mutex
	events []Event
	conns  int
}

// NewRecorder returns a recorder whose time begins now.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Now returns the time since the recorder began.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Record times what do does, which completes the event, and keeps it.
func (r *Recorder) Record(e Event, do func(*Event)) Event {
	e.Call = r.Now()
	do(&e)
	e.Return = r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return e
}

// Events returns what was recorded so far, by return.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}

// outcome says what an error means for an event.
func (e *Event) outcome(ctx context.Context, err error) {
	waited := e.Op == OpAcquire && e.Wait != 0
	op, refused := errors.AsType[*net.OpError](err)
	switch {
	case refused && op.Op == "dial":
		e.Outcome = Nothing
	case err == nil:
		e.Outcome = Done
	case errors.Is(err, locks.ErrHeld):
		e.Outcome = None
	case errors.Is(err, locks.ErrNotOwner):
		e.Outcome = NotOwner
	case errors.Is(err, locks.ErrMode):
		e.Outcome = WrongMode
	case errors.Is(err, locks.ErrBusy):
		e.Outcome = Nothing
	case errors.Is(err, locks.ErrShutdown) && !waited:
		e.Outcome = Nothing
	case waited && ctx.Err() != nil:
		e.Outcome = Left
	default:
		e.Outcome = Unknown
	}
	e.Told = e.Outcome == Unknown && errors.Is(err, locks.ErrUnavailable)
	if err != nil && e.Outcome != None {
		e.Error = err.Error()
	}
}

// name returns a number for a new connection.
func (r *Recorder) name() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns++
	return r.conns
}
