package upstream

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// This file is what a candado knows of its own requests that wait: which locks
// they wait for, and what it has heard about them. The queues themselves are in
// the server. wait.go is one request's way through them, room.go the requests for
// one lock, tend.go looks after locks, listen.go hears the news.

// The kinds of news; see queue.lua.
const (
	newsGranted  = 1
	newsReplaced = 2
	newsNoToken  = 3
	newsGone     = 0 // not of the server: found by tending
)

// news is what a waiter is told.
type news struct {
	kind    int64
	token   int64
	expires int64 // of the lease, on the server's clock, µs; 0: not known
}

// waiter is a request that waits.
type waiter struct {
	req   locks.AcquireRequest
	entry script.Entry // what it is known by in the queue; Back changes under waiting.mu
	news  chan news    // holds one: what is not taken in yet

	// What is known of copies of the request that got no answer; its own goroutine's:
	unsure     int64     // server's µs after which none runs
	unsureTill time.Time // the same, should the server's clock be set back

	// Guarded by waiting.mu:
	place int64 // in the queue; 0: it has not been there yet
	told  bool  // something waits in news, or is being acted on
}

// waiting is the set of a candado's requests that wait. Safe for concurrent use.
type waiting struct {
	self     string // what this candado is named in queues, and where it listens
	start    time.Time
	estimate *clock
	tend     func() // tends rooms until closing

	closing chan struct{}  // closed when the requests have to go
	running sync.WaitGroup // waiters and tending; grows under mu, and not once closed is set
	sooner  chan struct{}  // has an element if a room may be due sooner than was known

	mu       sync.Mutex
	closed   bool
	tending  bool // tend runs
	rooms    map[locks.ID]*room
	agenda   agenda // the rooms that are not being tended
	byNumber map[number]*waiter
	listener *listener // nil until the first request waits
}

func newWaiting() *waiting {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &waiting{
		start:    time.Now(),
		self:     hex.EncodeToString(id[:]),
		closing:  make(chan struct{}),
		sooner:   make(chan struct{}, 1),
		rooms:    map[locks.ID]*room{},
		byNumber: map[number]*waiter{},
	}
}

// join lets a request be found by its number. It returns nil if the engine is
// closed. Each join needs a part.
func (s *waiting) join(req locks.AcquireRequest) *waiter {
	w := &waiter{req: req, entry: entryOf(req), news: make(chan news, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.byNumber[w.entry.Number] = w
	s.running.Add(1)
	return w
}

// part forgets a request.
func (s *waiting) part(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byNumber, w.entry.Number)
	if r := s.rooms[w.req.ID]; r != nil {
		r.remove(w)
		s.plan(r) // nobody may be left to tend for
	}
	s.running.Done()
}

// queued takes note that a request waits at that place, and has the lock tended.
// What the request was told before is done with.
func (s *waiting) queued(w *waiter, place int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[w.req.ID]; r != nil {
		r.remove(w)
	}
	w.place, w.told = place, len(w.news) > 0
	if r := s.room(w.req.ID); r != nil {
		if len(r.waiters) == 0 {
			r.check = s.nextCheck(time.Now())
		}
		r.insert(w)
		s.plan(r)
	}
}

// comesBack lets a request enter the queue as another entry: a command may be
// under way that takes the first out.
func (s *waiting) comesBack(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.entry.Back = true
}

// handledIn takes note that a request could not act on what it was told, and has
// to be told again; not before d has passed, or the two would chase each other.
func (s *waiting) handledIn(w *waiter, d time.Duration) {
	handled := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.told = len(w.news) > 0
	}
	if d <= 0 {
		handled()
		return
	}
	time.AfterFunc(d, handled)
}

// room returns a lock's room, and makes it if there is none; nil if the engine is
// closed. s.mu is held, and the caller plans the room.
func (s *waiting) room(id locks.ID) *room {
	if s.closed {
		return nil
	}
	if !s.tending {
		s.tending = true
		s.running.Go(s.tend)
	}
	r := s.rooms[id]
	if r == nil {
		r = &room{id: id, index: -1}
		s.rooms[id] = r
	}
	return r
}

// tell gives news to a request, and returns it; nil if it has left. One that has
// not acted on earlier news yet is not told: it looks at the lock itself, or is
// found again when that is tended.
func (s *waiting) tell(n number, what news) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byNumber[n]
	if w == nil {
		return nil // and has taken with it what it was granted
	}
	select {
	case w.news <- what:
		w.told = true
	default:
	}
	return w
}

// expects has a lock tended when its first lease is to expire (server's µs), if
// that is sooner than others would notice by themselves. The candado whose
// script made that expiry sees to it: then a short lease that follows another
// needs no message to all who wait.
func (s *waiting) expects(id locks.ID, expires int64) {
	left := time.Duration(expires-s.estimate.at(time.Now())) * time.Microsecond
	if expires == 0 || left > 2*tendEvery {
		return
	}
	due := time.Now().Add(max(left, 0) + time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.room(id); r != nil && (r.expiry.IsZero() || due.Before(r.expiry)) {
		r.expiry = due
		s.plan(r)
	}
}

// read takes in what a script's reply ends with.
func (s *waiting) read(id locks.ID, fields []any) error {
	values := make([]int64, len(fields))
	for i, f := range fields {
		switch f := f.(type) {
		case int64:
			values[i] = f
		case string:
			if i%4 != 2 || len(f) != len(number{}) {
				return fmt.Errorf("field %d of the script's news is %q", i, f)
			}
		}
	}
	if len(fields)%4 != 1 {
		return fmt.Errorf("the script's news has %d fields", len(fields))
	}
	for i := 1; i < len(fields); i += 4 {
		from, _ := fields[i+1].(string)
		if len(from) != len(number{}) {
			return fmt.Errorf("the script's news is about %q", from)
		}
		s.tell(number([]byte(from)), news{values[i], values[i+2], values[i+3]})
	}
	s.expects(id, values[0])
	return nil
}

// hear takes in a message of another candado's script.
func (s *waiting) hear(message string) {
	b := []byte(message)
	if len(b) != 23 {
		return // nobody of ours sends that
	}
	what := news{int64(b[0]), little(b[9:16]), little(b[16:23])}
	if w := s.tell(number(b[1:9]), what); w != nil && what.kind == newsGranted {
		s.expects(w.req.ID, what.expires)
	}
}

// little reads seven bytes.
func little(b []byte) int64 {
	var wide [8]byte
	copy(wide[:], b)
	return int64(binary.LittleEndian.Uint64(wide[:]))
}

// close lets no more requests wait, tells those that do, and returns when all
// have left.
func (s *waiting) close() {
	s.mu.Lock()
	s.closed = true
	l := s.listener
	s.mu.Unlock()
	close(s.closing)
	s.running.Wait()
	if l != nil {
		l.stop()
	}
}
