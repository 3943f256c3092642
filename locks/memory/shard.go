package memory

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	// grid is the spacing of the moments at which a shard's timer may fire: a
	// deadline waits for the next one, so that many of them cost one firing. When
	// a lock is handed over by itself depends on no other lock then.
	grid = 50 * time.Millisecond

	// sweepMost is how many locks are settled before others get the mutex.
	sweepMost = 1024
)

// shard is some of an engine's locks, with the timer that settles those which
// nobody asks about.
type shard struct {
	engine *Engine
	held   atomic.Int64 // locks with holders

	mu        sync.Mutex // guards what follows
	locks     table[locks.ID, *lock]
	deadlines heap[*lock] // of the locks that time changes: when to look at them, not after their deadlines
	freed     row[*lock]  // the same for locks that were free: their retention is of one length, so they are due in turn
	timer     *time.Timer // nil until first needed
	armed     instant     // when the timer fires; 0: it is not set
	closed    bool
}

// step runs one step of the machine on a lock. If nothing is known of the lock,
// do is given a new one if create is set, and is not called otherwise. The time
// is read inside the mutex: read outside, a step that was overtaken on its way
// in could judge by a time earlier than that of the step before it, and find a
// lease alive that others have seen dead.
func (s *shard) step(action string, id locks.ID, create bool, do func(l *lock, now instant) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("%s %q: %w", action, id, locks.ErrShutdown)
	}
	l, known := s.locks.get(id)
	if !known {
		if !create {
			return nil
		}
		l = newLock(id)
	}
	now := s.engine.now()
	l.settle(now, s.engine)
	err := do(l, now)
	s.keep(l, known)
	s.arm(now)
	return err
}

// keep enters a lock as a step left it, or forgets it if it is unknown. It must
// follow each step. A lock whose deadline has been put off stays where it is in the
// heap: it is looked at too early then, and is entered anew. So a lease that is
// renewed all the time, or a lock that is taken again and again, is moved once for
// each time that its TTL passes. And a lock that is released long before its lease would
// have ended costs no way up through the heap, past locks that nobody has touched for long.
func (s *shard) keep(l *lock, known bool) {
	if l.held() != l.counted {
		l.counted = l.held()
		if l.counted {
			s.held.Add(1)
		} else {
			s.held.Add(-1)
		}
	}
	switch {
	case l.unknown():
		s.deadlines.remove(l)
		s.locks.remove(l.id)
		return
	case !known:
		s.locks.set(l.id, l)
	}
	switch {
	case l.deadline() == never:
		s.deadlines.remove(l)
	case l.deadline() >= s.deadlines.at(l):
	case l.mode == locks.Free && l.inRow: // since it was free before: it is looked at in time
	case l.mode == locks.Free && s.freed.takes(l.deadline()):
		l.inRow = true
		s.freed.push(l, l.deadline())
	default:
		s.deadlines.set(l, l.deadline())
	}
}

// next returns when a lock is to be looked at next, or never.
func (s *shard) next() instant {
	at := never
	if s.deadlines.len() > 0 {
		at = s.deadlines.first().at
	}
	if s.freed.len() > 0 {
		at = min(at, s.freed.first().at)
	}
	return at
}

// takeNext takes out the lock that is to be looked at next. There must be one.
func (s *shard) takeNext() *lock {
	if s.freed.len() > 0 && s.freed.first().at == s.next() {
		l := s.freed.pop()
		l.inRow = false
		return l
	}
	l := s.deadlines.first().x
	s.deadlines.remove(l)
	return l
}

// arm sets the timer for the first deadline. A timer that is set for too early
// is left alone: then a release does not touch it, and it sets itself again.
func (s *shard) arm(now instant) {
	next := s.next()
	if next == never {
		return
	}
	due := (next + instant(grid) - 1) / instant(grid) * instant(grid)
	if s.armed != 0 && s.armed <= due {
		return
	}
	s.armed = due
	wait := max(time.Duration(due-now), time.Millisecond) // an injected clock may stand still just before due
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.sweep)
	} else {
		s.timer.Reset(wait)
	}
}

// sweep settles every lock whose deadline has come. The timer calls it.
func (s *shard) sweep() {
	for s.sweepSome() {
	}
}

// sweepSome settles up to sweepMost locks and reports whether more are due.
func (s *shard) sweepSome() (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	now := s.engine.now()
	if s.settleDue(now, sweepMost) {
		return true
	}
	s.armed = 0
	s.arm(now)
	return false
}

// settleDue settles up to most of the locks that are to be looked at by now, and
// reports whether there are more.
func (s *shard) settleDue(now instant, most int) (more bool) {
	for ; s.next() <= now; most-- {
		if most == 0 {
			return true
		}
		l := s.takeNext() // keep enters it for its deadline
		if l.unknown() {
			continue // forgotten when somebody asked about it, and by now perhaps another has its ID
		}
		l.settle(now, s.engine)
		s.keep(l, true)
	}
	return false
}

// close ends every wait, forgets every lock and stops the timer. A sweep that
// has begun but not got the mutex yet finds the shard closed and ends.
func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, l := range s.locks.m {
		l.dismiss(locks.ErrShutdown)
	}
	s.locks, s.deadlines, s.freed = table[locks.ID, *lock]{}, heap[*lock]{}, row[*lock]{}
	s.held.Store(0)
	if s.timer != nil {
		s.timer.Stop()
	}
}
