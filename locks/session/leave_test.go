package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// What happens to leases of a session that is being dismissed, before the dismissal has come
// to them.

// amidst runs a test of a session that has one lease of "job", and is reset or ended without
// that the dismissal comes to it before rest is called. In the end nothing may be left.
func amidst(t *testing.T, test func(f *fixture, s *session.Session, lease locks.Lease, ended bool, rest func())) {
	for name, end := range map[string]bool{"Reset": false, "Close": true} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{MaxLeases: 1}, func(f *fixture) {
				s := f.open()
				lease := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
				rest, released := f.manager.Leave(s, end)
				test(f, s, lease, end, rest)
				rest()
				synctest.Wait()
				f.wantReleased(released, true)
			})
		})
	}
}

func (f *fixture) wantReleased(released <-chan struct{}, want bool) {
	f.Helper()
	synctest.Wait()
	select {
	case <-released:
		if !want {
			f.Error("all counts as released")
		}
	default:
		if want {
			f.Error("not all counts as released")
		}
	}
}

func TestOwnerComesBackAmidstADismissal(t *testing.T) {
	amidst(t, func(f *fixture, s *session.Session, lease locks.Lease, ended bool, rest func()) {
		if ended {
			s = f.open()
		}
		again := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
		if again.Token != lease.Token {
			f.Errorf("granted %d, and before that %d", again.Token, lease.Token)
		}
		rest()
		time.Sleep(time.Hour)
		f.wantLive("job", lease.Token, true)
		f.wantLeases(1)
		f.wantLost(0)
		if err := s.Close(f.Context()); err != nil {
			f.Error(err)
		}
		f.wantHeld(0)
	})
}

// The acquire began before the session was left, and is told of the lease after that.
func TestGrantAmidstADismissalOfItsSessionIsGivenBack(t *testing.T) {
	for name, end := range map[string]bool{"Reset": false, "Close": true} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				s := f.open()
				f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
				var rest func()
				f.engine.afterGrant = func(locks.AcquireRequest) { rest, _ = f.manager.Leave(s, end) }
				if _, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Minute}); !errors.Is(err, locks.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				f.wantHeld(0)
				rest()
				f.wantLost(0)
			})
		})
	}
}

func TestLeaseIsNotRenewedAmidstADismissal(t *testing.T) {
	amidst(t, func(f *fixture, _ *session.Session, lease locks.Lease, _ bool, _ func()) {
		time.Sleep(15 * time.Second)
		if calls := f.engine.calls(); len(calls) > 0 {
			f.Errorf("renewed by calls of %v", calls)
		}
		f.wantLive("job", lease.Token, false) // what found it due has released it
		f.wantLost(0)
	})
}

// A renewal that is under way when the session is left brings its lease back in no case.
func TestRenewalThatReturnsAmidstADismissal(t *testing.T) {
	for name, result := range map[string]func(f *fixture) error{
		"alive":      func(*fixture) error { return nil },
		"unanswered": func(*fixture) error { return down() },
		"over": func(f *fixture) error {
			_, err := f.engine.Engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true})
			return err
		},
	} {
		for kind, end := range map[string]bool{"Reset": false, "Close": true} {
			t.Run(name+", "+kind, func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					s := f.open()
					var rest func()
					f.engine.onRenew = func(context.Context, []locks.HeartbeatRequest) error {
						rest, _ = f.manager.Leave(s, end)
						return result(f)
					}
					f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
					time.Sleep(11 * time.Second)
					f.wantHeld(0)
					f.wantLeases(0)
					time.Sleep(time.Hour)
					if calls := f.engine.calls(); len(calls) != 1 {
						t.Errorf("renewed by calls of %v", calls)
					}
					rest()
					f.wantLost(0)
				})
			})
		}
	}
}

func TestReleaseAmidstADismissal(t *testing.T) {
	for name, req := range map[string]locks.ReleaseRequest{
		"token": {ID: "job"},
		"owner": {ID: "job", Claim: locks.Claim{Owner: "me"}},
		"force": {ID: "job", Force: true},
	} {
		t.Run(name, func(t *testing.T) {
			amidst(t, func(f *fixture, _ *session.Session, lease locks.Lease, _ bool, _ func()) {
				if name == "token" {
					req.Claim.Token = lease.Token
				}
				gate := make(chan struct{})
				f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error { // the other one comes first
					<-gate
					return nil
				}
				if r, err := f.manager.Engine().Release(f.Context(), req); err != nil || r.Ended != 1 {
					f.Errorf("got %+v, %v", r, err)
				}
				f.wantLeases(0)
				close(gate)
				f.wantLost(0)
			})
		})
	}
}

// Nobody is told that a session has lost what it had given up.
func TestLeaseRunsOutAmidstADismissal(t *testing.T) {
	inVirtualTime(t, session.Options{Timeout: time.Minute}, func(f *fixture) {
		f.engine.onRenew = func(ctx context.Context, _ []locks.HeartbeatRequest) error { return hang(ctx) }
		s := f.open()
		f.acquire(s, locks.AcquireRequest{ID: "job"})
		time.Sleep(29500 * time.Millisecond) // no renewal has come back, and none is due
		rest, released := f.manager.Leave(s, false)
		time.Sleep(400 * time.Millisecond)
		f.wantLost(0)
		rest()
		f.wantReleased(released, true)
		lease := f.acquire(s, locks.AcquireRequest{ID: "job"})
		f.wantLive("job", lease.Token, true)
	})
}

func TestSessionHasRoomAmidstItsReset(t *testing.T) {
	amidst(t, func(f *fixture, s *session.Session, _ locks.Lease, ended bool, rest func()) {
		if ended {
			return
		}
		lease := f.acquire(s, locks.AcquireRequest{ID: "other"})
		rest()
		f.wantHeld(1)
		f.wantLive("other", lease.Token, true)
	})
}

func TestManagerCloseAmidstADismissalWaitsForIt(t *testing.T) {
	amidst(t, func(f *fixture, _ *session.Session, _ locks.Lease, _ bool, rest func()) {
		closed := make(chan error, 1)
		go func() { closed <- f.manager.Close(f.Context()) }()
		synctest.Wait()
		select {
		case err := <-closed:
			f.Errorf("closed, with %d locks held: %v", f.held(), err)
		default:
		}
		rest()
		if err := <-closed; err != nil {
			f.Error(err)
		}
		f.wantHeld(0)
	})
}

func TestManagerThatGivesUpAmidstADismissal(t *testing.T) {
	amidst(t, func(f *fixture, _ *session.Session, _ locks.Lease, _ bool, rest func()) {
		ctx, cancel := context.WithTimeout(f.Context(), time.Second)
		defer cancel()
		err := f.manager.Close(ctx)
		if want := "releasing 1 leases"; err == nil || err.Error()[:len(want)] != want {
			f.Errorf("Close: %v", err)
		}
	})
}

// Whoever leaves a lease last waits for its release, and no other.
func TestLeaseIsReleasedForWhoLeavesLast(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				gate := make(chan struct{})
				f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
					<-gate
					return nil
				}
				both := []*session.Session{f.open(), f.open()}
				for _, s := range both {
					f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
				}
				restFirst, first := f.manager.Leave(both[order[0]], true)
				restLast, last := f.manager.Leave(both[order[1]], true)
				restFirst()
				f.wantReleased(first, true)
				restLast()
				f.wantReleased(last, false)
				close(gate)
				f.wantReleased(last, true)
				f.wantHeld(0)
			})
		})
	}
}

// While a session with many leases is dismissed, others get in between.
func TestOthersGetInBetweenADismissal(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		const n = 20 * session.Most
		s := f.open()
		for i := range n {
			f.acquire(s, locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i)), TTL: time.Hour})
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.End()
		}()
		var seen []int
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
				if k := f.manager.Leases(); k > 0 && k < n {
					seen = append(seen, k)
				}
			}
		}
		if len(seen) == 0 || !slices.IsSortedFunc(seen, func(a, b int) int { return b - a }) {
			t.Errorf("meanwhile there were %v leases of %d", seen, n)
		}
		f.wantHeld(0)
	})
}

// A session with many leases is reset, while owners come back and leases are released. Who was
// granted one has it, unless he was told of its loss: his acquire may have crossed the
// release.
func TestCrowdAmidstAReset(t *testing.T) {
	const n = 4 * session.Most
	for seed := range uint64(3) {
		inVirtualTime(t, session.Options{}, func(f *fixture) {
			s := f.open()
			tokens := make([]locks.Token, n)
			for i := range tokens {
				tokens[i] = f.acquire(s, locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i)), Owner: "me"}).Token
			}
			granted, lost := make([]locks.Token, n), make([]func() bool, n)
			var clients sync.WaitGroup
			for k := range 4 {
				clients.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(k)))
					for i := n - 1 - k; i >= 0; i -= 4 { // in the order in which they are parted
						id := locks.ID(fmt.Sprint(i))
						var other *session.Session
						switch other, lost[i] = f.openTold(); r.IntN(3) {
						case 0:
							granted[i] = f.acquire(other, locks.AcquireRequest{ID: id, Owner: "me"}).Token
						case 1:
							_, err := other.Release(f.Context(), locks.ReleaseRequest{ID: id, Claim: token(tokens[i])})
							if err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			clients.Go(func() {
				if err := s.Reset(f.Context()); err != nil {
					t.Error(err)
				}
			})
			clients.Wait()
			time.Sleep(time.Minute)
			want := 0
			for i, token := range granted {
				if token != 0 && !lost[i]() {
					want++
					f.wantLive(locks.ID(fmt.Sprint(i)), token, true)
				}
			}
			if want < n/4 {
				t.Errorf("%d leases were granted and not lost", want)
			}
			f.wantHeld(want)
			f.wantLeases(want)
		})
	}
}
