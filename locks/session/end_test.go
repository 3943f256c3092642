package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// How sessions end, and what becomes of what they had.

func TestCloseReleasesAll(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		s, other := f.open(), f.open()
		for i := range 500 {
			f.acquire(s, locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i))})
		}
		f.acquire(other, locks.AcquireRequest{ID: "other"})
		f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
			time.Sleep(10 * time.Millisecond)
			return nil
		}
		if err := s.Close(f.Context()); err != nil {
			t.Error(err)
		}
		f.wantHeld(1)
		if f.engine.most != 2 || len(f.engine.partings) != 2 {
			t.Errorf("500 leases were released by calls of %v, %d at the same time", f.engine.partings, f.engine.most)
		}
		if _, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "late", TTL: time.Second}); !errors.Is(err, locks.ErrShutdown) {
			t.Errorf("after Close: %v", err)
		}
		if err := s.Close(f.Context()); err != nil {
			t.Error(err)
		}
	})
}

// On an upstream that is far away, too, many leases are released within a shutdown's time.
func TestManyLeasesAreReleasedByFewCalls(t *testing.T) {
	const n = 10_000
	for name, each := range map[string]int{"one session": n, "a session each": 1} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
					time.Sleep(20 * time.Millisecond)
					return nil
				}
				s := f.open()
				for i := range n {
					if i%each == 0 {
						s = f.open()
					}
					f.acquire(s, locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i))})
				}
				begun := time.Now()
				if err := f.manager.Close(f.Context()); err != nil {
					t.Error(err)
				}
				if d := time.Since(begun); d > time.Second || len(f.engine.partings) > 50 {
					t.Errorf("released in %v by %d calls", d, len(f.engine.partings))
				}
				f.wantHeld(0)
			})
		})
	}
}

func TestFewLeasesDoNotWaitForOtherSessionsMany(t *testing.T) {
	for name, sessions := range map[string]int{"of one": 1, "of fifty": 50} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
					time.Sleep(20 * time.Millisecond)
					return nil
				}
				many := make([]*session.Session, sessions)
				for i := range many {
					many[i] = f.open()
					for k := range 20_000 / sessions {
						f.acquire(many[i], locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i, k))})
					}
				}
				few := f.open()
				f.acquire(few, locks.AcquireRequest{ID: "few"})
				for _, s := range many {
					s.End()
				}
				begun := time.Now()
				if err := few.Close(f.Context()); err != nil {
					t.Error(err)
				}
				if d := time.Since(begun); d > 60*time.Millisecond { // the calls under way, and two more rounds
					t.Errorf("it was released after %v", d)
				}
			})
		})
	}
}

func TestResetReleasesAllAndGoesOn(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		s := f.open()
		f.acquire(s, locks.AcquireRequest{ID: "a"})
		f.acquire(s, locks.AcquireRequest{ID: "b", Mode: locks.Shared})
		if err := s.Reset(f.Context()); err != nil {
			t.Error(err)
		}
		if n := f.held(); n != 0 {
			t.Errorf("%d locks are held after Reset", n)
		}
		lease := f.acquire(s, locks.AcquireRequest{ID: "a"})
		time.Sleep(time.Hour)
		f.wantLive("a", lease.Token, true)
	})
}

func TestAcquireUnderWayAtCloseIsReleased(t *testing.T) {
	for name, end := range map[string]func(f *fixture, s *session.Session){
		"Close":         func(f *fixture, s *session.Session) { _ = s.Close(f.Context()) },
		"Reset":         func(f *fixture, s *session.Session) { _ = s.Reset(f.Context()) },
		"Manager.Close": func(f *fixture, _ *session.Session) { go func() { _ = f.manager.Close(f.Context()) }() },
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				begun, gate := make(chan struct{}), make(chan struct{})
				f.engine.onAcquire = func(ctx context.Context, _ locks.AcquireRequest) error {
					close(begun)
					<-ctx.Done() // it is cancelled, and granted nevertheless
					<-gate
					return nil
				}
				s := f.open()
				got := make(chan error)
				go func() {
					_, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "job", TTL: time.Minute})
					got <- err
				}()
				<-begun
				end(f, s)
				close(gate)
				if err := <-got; !errors.Is(err, locks.ErrUnavailable) {
					t.Errorf("the acquire ended with %v", err)
				}
				f.wantHeld(0)
				f.wantLost(0)
			})
		})
	}
}

func TestReleaseIsRepeatedUntilItIsAnswered(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var away atomic.Bool
		away.Store(true)
		f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
			if away.Load() {
				return down()
			}
			return nil
		}
		s := f.open()
		for i := range 100 {
			f.acquire(s, locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i)), TTL: time.Hour})
		}
		ctx, cancel := context.WithTimeout(f.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, locks.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		time.Sleep(time.Minute)
		f.wantHeld(100)
		away.Store(false)
		time.Sleep(5 * time.Second)
		f.wantHeld(0)
	})
}

func TestManagerGivesUpWhatItCannotRelease(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		f.engine.onParting = func(ctx context.Context, _ []locks.ReleaseRequest) error { return hang(ctx) }
		for i := range 100 {
			f.acquire(f.open(), locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i)), TTL: locks.NoExpiry})
		}
		ctx, cancel := context.WithTimeout(f.Context(), time.Second)
		defer cancel()
		err := f.manager.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		t.Log(err)
	})
}

func TestReleaseIsGivenUpWhenTheLeaseIsOver(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		tries := 0
		f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
			tries++
			return down()
		}
		s := f.open()
		f.acquire(s, locks.AcquireRequest{ID: "job", TTL: time.Second})
		if err := s.Close(f.Context()); err != nil {
			t.Error(err)
		}
		before := tries
		time.Sleep(time.Hour)
		if tries != before || tries < 3 {
			t.Errorf("%d tries, then %d more", before, tries-before)
		}
	})
}

// A client that comes back with its owner while its former session is being
// closed keeps what it is granted.
func TestOwnerThatComesBackKeepsItsLease(t *testing.T) {
	for name, onRelease := range map[string]func(tries int) error{
		"release under way": func(int) error {
			time.Sleep(time.Second)
			return nil
		},
		"release failing": func(tries int) error {
			if tries < 3 {
				return down()
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				tries := 0
				f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
					tries++
					return onRelease(tries)
				}
				old := f.open()
				f.acquire(old, locks.AcquireRequest{ID: "job", Owner: "me"})
				old.End()
				time.Sleep(time.Millisecond)
				lease := f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me"})
				time.Sleep(time.Hour)
				f.wantLive("job", lease.Token, true)
				f.wantLost(0)
			})
		})
	}
}

func TestSessionHasABoundedNumberOfLeases(t *testing.T) {
	inVirtualTime(t, session.Options{MaxLeases: 2}, func(f *fixture) {
		s := f.open()
		f.acquire(s, locks.AcquireRequest{ID: "a", Owner: "me"})
		lease := f.acquire(s, locks.AcquireRequest{ID: "b"})
		if _, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "c", TTL: time.Second}); !errors.Is(err, locks.ErrBusy) {
			t.Errorf("got %v", err)
		}
		f.acquire(s, locks.AcquireRequest{ID: "a", Owner: "me"})
		if _, err := s.Release(f.Context(), locks.ReleaseRequest{ID: "b", Claim: locks.Claim{Token: lease.Token}}); err != nil {
			t.Error(err)
		}
		f.acquire(s, locks.AcquireRequest{ID: "c"})
	})
}

// Many clients do everything at once; in the end nothing is left. The engine
// fails now and then.
func TestNothingIsLeftOfACrowd(t *testing.T) {
	for seed := range uint64(20) {
		inVirtualTime(t, session.Options{MinTTL: time.Millisecond}, func(f *fixture) {
			faults := rand.New(rand.NewPCG(seed, 1000))
			chance := func(n int) bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return faults.IntN(n) == 0
			}
			fail := func() error {
				if chance(3) {
					time.Sleep(7 * time.Millisecond)
				}
				if chance(10) {
					return down()
				}
				return nil
			}
			f.engine.onAcquire = func(context.Context, locks.AcquireRequest) error { return fail() }
			f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error { return fail() }
			f.engine.onRelease = func(context.Context, locks.ReleaseRequest) error { return fail() }
			f.engine.onRenew = func(context.Context, []locks.HeartbeatRequest) error { return fail() }
			f.engine.onHeartbeat = func(context.Context, locks.HeartbeatRequest) error { return fail() }
			var clients sync.WaitGroup
			for i := range uint64(20) {
				clients.Go(func() { f.roam(rand.New(rand.NewPCG(seed, i))) })
			}
			clients.Wait()
			if err := f.manager.Close(f.Context()); err != nil {
				t.Error(err)
			}
			f.wantHeld(0)
		})
	}
}

// roam does random things in random sessions.
func (f *fixture) roam(r *rand.Rand) {
	s := f.open()
	ctx := f.Context()
	for range 100 {
		id := locks.ID('a' + rune(r.IntN(4)))
		owner := locks.Owner([]string{"", "x", "y"}[r.IntN(3)])
		req := locks.AcquireRequest{ID: id, Owner: owner, TTL: time.Duration(20+r.IntN(100)) * time.Millisecond, Mode: locks.Mode(r.IntN(2))}
		switch r.IntN(8) {
		case 0:
			_ = s.Close(ctx)
			s = f.open()
		case 1:
			_ = s.Reset(ctx)
		case 2:
			s.End()
			s = f.open()
		case 3:
			_, _ = s.Release(ctx, locks.ReleaseRequest{ID: id, Claim: locks.Claim{Owner: owner}, Force: r.IntN(4) == 0})
		case 4:
			if lease, err := s.Acquire(ctx, req); err == nil {
				_, _ = s.Release(ctx, locks.ReleaseRequest{ID: id, Claim: locks.Claim{Token: lease.Token}})
			}
		default:
			if _, err := s.Acquire(ctx, req); errors.Is(err, locks.ErrShutdown) {
				s = f.open() // it was lost
			}
			time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
		}
	}
	s.End()
}
