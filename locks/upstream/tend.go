package upstream

import (
	"container/heap"
	"context"
	"time"

	"github.com/goodjobtech/candado/locks/upstream/script"
)

const (
	// tendEvery is how often a lock is tended by each candado that has requests
	// waiting for it. One that says nothing for three times as long is taken for dead.
	tendEvery = time.Second

	// tendGrid is how close in time locks are that are tended together.
	tendGrid = 50 * time.Millisecond

	// tendTime is how long one tending may take: one that hangs must leave time
	// for another before the candado is taken for dead.
	tendTime = 700 * time.Millisecond

	// tendAgain is how soon a lock is tended again if the server did not answer.
	tendAgain = 200 * time.Millisecond

	// tends is how many groups of locks are tended at the same time: one that
	// hangs must not hold up the others.
	tends = 4

	// askMost is about how many requests one group asks about.
	askMost = 2048
)

// visit is one room that is being tended.
type visit struct {
	room  *room
	asked []script.Entry // requests that the server is asked about
}

// tend looks after locks for as long as this candado has requests waiting for
// them, or has made leases of them that end soon, until the engine is closed. It
// is not the way by which requests are told what they are granted, unless the
// message was lost; but what expires is handed over by it. Locks that are due
// together are tended together.
func (e *Engine) tend() {
	s := e.waiting
	timer := time.NewTimer(0)
	defer timer.Stop()
	free := make(chan struct{}, tends)
	for {
		select {
		case free <- struct{}{}:
		case <-s.closing:
			return
		}
		visits, wait := s.begin(time.Now())
		if len(visits) > 0 {
			s.running.Go(func() { // it is counted from within running: Close can't have seen none
				e.tendSome(visits)
				<-free
			})
			continue
		}
		<-free
		timer.Reset(wait)
		select {
		case <-s.closing:
			return
		case <-s.sooner:
		case <-timer.C:
		}
	}
}

// begin takes the rooms that are due, as many as go together, and says whom to
// ask about. If none is, it returns how long there is to wait.
func (s *waiting) begin(now time.Time) (visits []visit, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for asked := 0; len(s.agenda) > 0 && len(visits) < together && asked < askMost; {
		r := s.agenda[0]
		if r.due().After(now) {
			break
		}
		heap.Pop(&s.agenda)
		r.busy, r.expiry, r.check = true, time.Time{}, s.nextCheck(now)
		v := visit{r, r.ask()}
		visits, asked = append(visits, v), asked+len(v.asked)
	}
	if len(visits) == 0 {
		wait = time.Hour
		if len(s.agenda) > 0 {
			wait = s.agenda[0].due().Sub(now)
		}
	}
	return visits, wait
}

// nextCheck returns when a lock is tended next, at the latest, that is tended now or
// got its first waiter now.
func (s *waiting) nextCheck(now time.Time) time.Time {
	return s.start.Add((now.Sub(s.start) + tendEvery).Truncate(tendGrid))
}

// tendSome asks the server about the locks, once.
func (e *Engine) tendSome(visits []visit) {
	calls := make([]*call, len(visits))
	for i, v := range visits {
		calls[i] = e.tendCall(v)
	}
	ctx, cancel := context.WithTimeout(context.Background(), tendTime)
	defer cancel()
	e.sendAlone(ctx, calls...)
	for i, v := range visits {
		again := tendEvery
		if missed, err := e.tended(v, calls[i]); err != nil {
			again = tendAgain
		} else if missed {
			again = 0 // others may have been missed too
		}
		e.waiting.visited(v.room, again)
	}
}

func (e *Engine) tendCall(v visit) *call {
	c := &call{script: e.scripts.Tend, id: v.room.id, key: []byte(e.keys.record(v.room.id))}
	for _, a := range v.asked {
		c.args = append(c.args, a.Of(e.waiting.self))
	}
	return c
}

// tended passes on what has become of the requests that were asked about. It
// reports whether one of them had missed something.
func (e *Engine) tended(v visit, c *call) (missed bool, err error) {
	r, err := c.outcome()
	if err != nil {
		return false, err
	}
	for _, a := range v.asked {
		var fate int64
		if err := r.scan(&fate); err != nil {
			return missed, err
		}
		switch {
		case fate < 0:
			e.waiting.tell(a.Number, news{kind: newsGone})
		case fate > 0:
			e.waiting.tell(a.Number, news{kind: newsGranted, token: fate})
		default:
			continue
		}
		missed = true
	}
	return missed, nil
}

// visited ends a visit. If requests wait there, the next is after that time at
// the latest.
func (s *waiting) visited(r *room, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.busy = false
	if at := time.Now().Add(next); at.Before(r.check) {
		r.check = at
	}
	s.plan(r)
}

// tendAll has every room tended now.
func (s *waiting) tendAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, r := range s.rooms {
		r.check = now
		if r.index >= 0 {
			s.plan(r)
		}
	}
}
