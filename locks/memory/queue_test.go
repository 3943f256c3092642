package memory

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

// The queue as a pure machine: the interleavings that goroutines seldom meet.

// counter mints the tokens 1, 2, 3 and so on.
type counter struct{ last locks.Token }

func (c *counter) mint(locks.Token) (locks.Token, error) {
	c.last++
	return c.last, nil
}

// steps is a lock with a clock of its own.
type steps struct {
	*lock
	now    instant
	tokens counter
}

func newSteps() *steps { return &steps{lock: newLock("a")} }

func (s *steps) ask(owner locks.Owner, mode locks.Mode, limit int, wait time.Duration) (locks.Lease, *waiter, error) {
	s.settle(s.now, &s.tokens)
	return s.acquire(locks.AcquireRequest{ID: "a", Owner: owner, Mode: mode, Limit: limit, TTL: time.Second, Wait: wait}, s.now, &s.tokens, 10)
}

// result returns what a waiter has been answered, if anything.
func (w *waiter) result() (answer, bool) {
	select {
	case a := <-w.answer:
		return a, true
	default:
		return answer{}, false
	}
}

func TestLeaseOfAWaiterThatHasGoneIsPassedOn(t *testing.T) {
	for _, mode := range []locks.Mode{locks.Exclusive, locks.Shared} {
		for name, learn := range map[string]func(s *steps, token locks.Token) error{
			"": nil,
			"heartbeat": func(s *steps, token locks.Token) error {
				_, err := s.heartbeat(locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Token: token}}, s.now)
				return err
			},
			"acquired again": func(s *steps, _ locks.Token) error {
				_, _, err := s.ask("me", mode, 0, 0)
				return err
			},
		} {
			t.Run(mode.String()+name, func(t *testing.T) {
				s := newSteps()
				holder, _, _ := s.ask("holder", locks.Exclusive, 0, 0)
				if _, err := s.heartbeat(locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Owner: "holder"}}, s.now); err != nil {
					t.Fatal(err) // what is known of its lease says nothing of the next one
				}
				_, gone, _ := s.ask("me", mode, 0, locks.Forever)
				_, next, _ := s.ask("next", locks.Exclusive, 0, locks.Forever)
				if _, err := s.release(locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: holder.Token}}, s.now, &s.tokens); err != nil {
					t.Fatal(err)
				}
				granted, ok := gone.result()
				if !ok || granted.err != nil || s.leave(gone, s.now, &s.tokens) {
					t.Fatalf("the head was answered: %v, %+v", ok, granted)
				}
				if learn != nil {
					if err := learn(s, granted.lease.Token); err != nil {
						t.Fatal(err)
					}
				}
				s.passOn(granted.lease.Token, s.now, &s.tokens)
				_, served := next.result()
				if live := s.check(granted.lease.Token); live != (learn != nil) || served == live {
					t.Errorf("after its waiter left, the lease is live: %v, and the next is served: %v", live, served)
				}
				s.passOn(granted.lease.Token, s.now, &s.tokens) // harmless
			})
		}
	}
}

// A grant and the end of the context may both be there when the waiter wakes.
func TestCallerThatHasGoneGetsNoLease(t *testing.T) {
	e := New(Options{})
	defer e.Close()
	if _, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for range 100 { // whichever of the two the select takes
		ctx, cancel := context.WithCancel(t.Context())
		req := locks.AcquireRequest{ID: "a", TTL: time.Hour, Wait: locks.Forever}
		var w *waiter
		if err := e.step(ctx, "acquiring", "a", true, func(l *lock, now instant) (err error) {
			_, w, err = l.acquire(req, now, e, 10)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		lease, err := e.wait(ctx, w)
		if lease != (locks.Lease{}) || !errors.Is(err, locks.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Fatalf("the request returns %+v, %v", lease, err)
		}
		if e.Held() != 0 {
			t.Fatal("the lease that nobody knows of is still there")
		}
		if _, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
}

// wellFormed returns what is wrong with a lock after a step, or "".
func (l *lock) wellFormed() string {
	head := l.head()
	switch {
	case head != nil && !l.held():
		return "a free lock has a queue"
	case head != nil && l.admits(head.req):
		return "the head waits for what it could have"
	case l.annex != nil && l.mode != locks.Shared && head == nil:
		return "the annex is kept for nothing"
	case l.mode == locks.Shared && l.crowd().len() == 0:
		return "a lock is held by nobody"
	case head == nil:
		return ""
	}
	owned, q := 0, &l.annex.queue
	for e := q.order.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		if w.place != e {
			return "a waiter does not know its place"
		}
		if w.req.Owner == "" {
			continue
		}
		owned++
		if known, _ := q.byOwner.get(w.req.Owner); known != w {
			return "an owner's waiter can't be found"
		}
		if l.claimed(locks.Claim{Owner: w.req.Owner}) != nil {
			return "an owner waits for what it has"
		}
	}
	if owned != q.byOwner.len() {
		return fmt.Sprintf("%d owners wait, and %d are known", owned, q.byOwner.len())
	}
	return ""
}

func TestEveryStepServesTheQueue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSteps()
		var queued []*waiter // all that ever waited, by arrival
		claim := func() locks.Claim {
			return locks.Claim{Owner: rapid.SampledFrom([]locks.Owner{"", "x", "y", "z"}).Draw(rt, "owner")}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"acquire": func(rt *rapid.T) {
				mode := locks.Mode(rapid.IntRange(0, 1).Draw(rt, "mode"))
				wait := rapid.SampledFrom([]time.Duration{0, locks.Forever, locks.Forever, locks.Forever}).Draw(rt, "wait")
				_, w, _ := s.ask(claim().Owner, mode, int(mode)*rapid.IntRange(0, 2).Draw(rt, "limit"), wait)
				if w != nil {
					queued = append(queued, w)
				}
			},
			"release": func(rt *rapid.T) {
				s.settle(s.now, &s.tokens)
				_, _ = s.release(locks.ReleaseRequest{ID: "a", Claim: claim(), Force: rapid.IntRange(0, 5).Draw(rt, "force") == 5}, s.now, &s.tokens)
			},
			"heartbeat": func(rt *rapid.T) {
				s.settle(s.now, &s.tokens)
				_, _ = s.heartbeat(locks.HeartbeatRequest{ID: "a", Claim: claim()}, s.now)
			},
			"leave": func(rt *rapid.T) {
				if len(queued) == 0 {
					return
				}
				w := queued[rapid.IntRange(0, len(queued)-1).Draw(rt, "which")]
				s.settle(s.now, &s.tokens)
				if s.leave(w, s.now, &s.tokens) {
					w.answer <- answer{err: locks.ErrUnavailable}
				}
			},
			"pass on": func(rt *rapid.T) {
				s.settle(s.now, &s.tokens)
				s.passOn(s.tokens.last, s.now, &s.tokens)
			},
			"advance": func(rt *rapid.T) {
				s.now += instant(rapid.IntRange(0, 1500).Draw(rt, "ms")) * instant(time.Millisecond)
				s.settle(s.now, &s.tokens)
			},
			"": func(rt *rapid.T) {
				if wrong := s.wellFormed(); wrong != "" {
					rt.Fatal(wrong)
				}
				for _, w := range queued { // who is out of the queue has one answer
					if (w.place == nil) != (len(w.answer) == 1) {
						rt.Fatalf("a waiter of %q has %d answers; in the queue: %v", w.req.Owner, len(w.answer), w.place != nil)
					}
				}
			},
		})
	})
}
