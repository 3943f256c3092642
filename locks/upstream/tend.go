package upstream

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// tendEvery is how often a lock is tended by each candado that has requests
	// waiting for it. Three missed ones, and the candado is taken for dead.
	tendEvery = time.Second

	// tendAgain is how soon a lock is tended again if the server did not answer.
	tendAgain = 200 * time.Millisecond
)

// tend looks after a lock for as long as this candado has requests waiting for
// it, or has made a lease of it that ends soon. It is not the way by which
// requests are told what they are granted, unless the message was lost; but
// what expires is handed over by it.
func (e *Engine) tend(r *room) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, open := e.waiting.tendAt(r)
		if !open {
			return
		}
		timer.Reset(time.Until(due))
		select {
		case <-e.waiting.closing:
			return
		case <-r.wake:
			continue
		case <-timer.C:
		}
		e.tendOnce(r)
	}
}

// tendAt returns when the room is to be tended. It closes a room that nobody
// waits in.
func (s *waiting) tendAt(r *room) (due time.Time, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.waiters) == 0 && r.due.IsZero() {
		delete(s.rooms, r.id)
		return due, false
	}
	return r.due, true
}

// plan returns the requests to ask about, and sets when to tend next should
// nothing make that sooner.
func (s *waiting) plan(r *room) []*waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.due = time.Time{}
	if len(r.waiters) > 0 {
		r.due = time.Now().Add(tendEvery - rand.N(tendEvery/10))
	}
	return r.ask()
}

// tendOnce asks the server about the lock, once.
func (e *Engine) tendOnce(r *room) {
	asked := e.waiting.plan(r)
	c := &call{script: e.scripts.tend, id: r.id, key: e.keys.record(r.id)}
	for _, w := range asked {
		c.args = append(c.args, w.number[:])
	}
	reply, err := e.do(context.Background(), c)
	if err != nil {
		e.waiting.tendIn(r, tendAgain)
		return
	}
	missed := false
	for _, w := range asked {
		var fate int64
		if err := reply.scan(&fate); err != nil {
			e.waiting.tendIn(r, tendAgain)
			return
		}
		switch {
		case fate < 0:
			e.waiting.tell(w.number, news{kind: newsGone})
		case fate > 0:
			e.waiting.tell(w.number, news{kind: newsGranted, token: fate})
		default:
			continue
		}
		missed = true
	}
	if missed {
		e.waiting.tendIn(r, 0) // others may have been missed too
	}
}

// tendIn has the room tended after d at the latest, if requests wait in it.
func (s *waiting) tendIn(r *room, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if due := time.Now().Add(d); len(r.waiters) > 0 && due.Before(r.due) {
		r.due = due
	}
}

// tendAll has every room tended now.
func (s *waiting) tendAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rooms {
		r.due = time.Now()
		r.look()
	}
}
