package session_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// What others do to leases of sessions, and what is granted late.

func TestReleasedLeaseIsNotLost(t *testing.T) {
	claims := map[string]func(locks.Lease) locks.Claim{
		"token": func(l locks.Lease) locks.Claim { return locks.Claim{Token: l.Token} },
		"owner": func(l locks.Lease) locks.Claim { return locks.Claim{Owner: l.Owner} },
	}
	for name, claim := range claims {
		for _, owner := range []locks.Owner{"", "me"} {
			for _, mode := range []locks.Mode{locks.Exclusive, locks.Shared} {
				t.Run(name+" "+string(owner)+" "+mode.String(), func(t *testing.T) {
					inVirtualTime(t, session.Options{}, func(f *fixture) {
						s, other := f.open(), f.open()
						lease := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: owner, Mode: mode})
						if mode == locks.Shared {
							f.acquire(s, locks.AcquireRequest{ID: "job", Mode: mode, Owner: owner + "2"})
						}
						// A renewal finds it over before the release has returned.
						f.engine.onRelease = func(ctx context.Context, req locks.ReleaseRequest) error {
							_, err := f.engine.Engine.Release(ctx, req)
							time.Sleep(15 * time.Second)
							return errors.Join(err, down())
						}
						_, err := other.Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: claim(lease)})
						if !errors.Is(err, locks.ErrUnavailable) {
							t.Error(err)
						}
						f.engine.onRelease = nil
						lease = f.acquire(s, locks.AcquireRequest{ID: "job 2", Owner: owner, Mode: mode})
						if _, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job 2", Claim: claim(lease)}); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Hour)
						f.wantLost(0)
						want := 0
						if mode == locks.Shared {
							want = 1
						}
						if n := f.manager.Leases(); n != want {
							t.Errorf("%d leases are kept, want %d", n, want)
						}
					})
				})
			}
		}
	}
}

// Of anonymous leases that share a lock, the bare release ends the oldest; the
// others stay, whoever releases.
func TestBareReleasesEndSharedLeasesOneByOne(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		for range 10 {
			f.acquire(f.open(), locks.AcquireRequest{ID: "job", Mode: locks.Shared})
		}
		for left := 9; left >= 0; left-- {
			if _, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job"}); err != nil {
				t.Error(err)
			}
			if left%3 == 0 {
				time.Sleep(time.Minute)
				f.wantLost(0)
				if n := f.manager.Leases(); n != left {
					t.Errorf("%d leases are kept, want %d", n, left)
				}
			}
		}
		f.wantHeld(0)
	})
}

func TestForceByOthersIsALoss(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		a, b, c := f.open(), f.open(), f.open()
		for _, s := range []*session.Session{a, b, c} {
			f.acquire(s, locks.AcquireRequest{ID: "job", Mode: locks.Shared})
		}
		f.acquire(b, locks.AcquireRequest{ID: "other"})
		if r, err := a.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil || r.Ended != 3 {
			t.Errorf("got %+v, %v", r, err)
		}
		f.wantLost(2)
		f.wantHeld(0)
		f.acquire(a, locks.AcquireRequest{ID: "job"})
		if _, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
			t.Error(err)
		}
		f.wantLost(3)
	})
}

// A release that ends nothing excuses no loss.
func TestReleaseInVainHidesNoLoss(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me"})
		if _, err := f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
			t.Error(err)
		}
		if r, err := f.open().Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: locks.Claim{Owner: "me"}}); err != nil || r.Ended != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
		time.Sleep(time.Second)
		f.wantLost(1)
	})
}

// Its holder was told that nothing was done.
func TestReleaseThatWasRefusedHidesNoLoss(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		s := f.open()
		lease := f.acquire(s, locks.AcquireRequest{ID: "job"})
		f.engine.onRelease = func(context.Context, locks.ReleaseRequest) error { return locks.ErrBusy }
		if _, err := s.Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: token(lease.Token)}); !errors.Is(err, locks.ErrBusy) {
			t.Errorf("got %v", err)
		}
		f.wantLeases(1)
		if _, err := f.engine.Engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		f.wantLost(1)
	})
}

func TestGrantThatIsOverIsNotGivenOut(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		late := 1
		f.engine.afterGrant = func(locks.AcquireRequest) {
			if late--; late >= 0 {
				time.Sleep(2 * time.Second) // the grant is heard of when the lease is over
			}
		}
		s := f.open()
		lease := f.acquire(s, locks.AcquireRequest{ID: "job", TTL: time.Second, Wait: locks.Forever})
		f.wantLive("job", lease.Token, true)
		time.Sleep(time.Hour)
		f.wantLive("job", lease.Token, true)

		late = 100
		_, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "other", TTL: time.Second, Wait: time.Minute})
		if !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		f.wantHeld(1)
		if n := f.manager.Leases(); n != 1 {
			t.Errorf("%d leases are kept, want 1", n)
		}
		f.wantLost(0)
	})
}

// A release that is under way when a lease is granted may end it. If it did, the holder hears
// of that at once, or has nothing to hear.
func TestLeaseThatIsGrantedDuringAReleaseIsAskedAbout(t *testing.T) {
	for name, req := range map[string]locks.ReleaseRequest{
		"force": {ID: "job", Force: true},
		"owner": {ID: "job", Claim: locks.Claim{Owner: "me"}},
		"bare":  {ID: "job"},
		"token": {ID: "job"},
	} {
		for begun, during := range map[string]bool{"before": false, "during": true} {
			t.Run(name+", asked for "+begun, func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					s := f.open()
					granted, sent := make(chan locks.Token, 1), make(chan struct{})
					f.engine.afterGrant = func(locks.AcquireRequest) {
						if name == "token" {
							info, _ := f.engine.Info(f.Context(), "job")
							granted <- info.LastToken
						}
						<-sent
					}
					f.engine.onRelease = func(context.Context, locks.ReleaseRequest) error {
						time.Sleep(time.Millisecond)
						close(sent)
						time.Sleep(10 * time.Millisecond) // the grant is heard of, and then the release is taken
						return nil
					}
					acquire := func() {
						if _, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "job", Owner: req.Claim.Owner, TTL: time.Hour}); err != nil {
							t.Error(err)
						}
					}
					switch {
					case name == "token": // it can't be named before it is granted
						go acquire()
						req.Claim.Token = <-granted
					case during:
						time.AfterFunc(time.Microsecond, acquire)
					default:
						go acquire()
						synctest.Wait()
					}
					if r, err := f.manager.Engine().Release(f.Context(), req); err != nil || r.Ended != 1 {
						t.Errorf("got %+v, %v", r, err)
					}
					f.engine.onRelease, f.engine.afterGrant = nil, nil
					time.Sleep(10 * time.Millisecond)
					f.wantLeases(0)
					if req.Force {
						f.wantLost(1)
					} else {
						f.wantLost(0)
					}
				})
			})
		}
	}
}

func TestGrantThatWasReleasedMeanwhileIsNotGivenOut(t *testing.T) {
	for name, claim := range map[string]locks.Claim{"by owner": {Owner: "me"}, "bare": {}, "by token": {Owner: "me"}} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				grants := 0
				f.engine.afterGrant = func(req locks.AcquireRequest) {
					if grants++; grants == 1 {
						if name == "by token" {
							info, _ := f.engine.Info(f.Context(), "job")
							claim = token(info.LastToken)
						}
						_, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: req.ID, Claim: claim})
						if err != nil {
							t.Error(err)
						}
					}
				}
				lease := f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: claim.Owner})
				f.wantLive("job", lease.Token, true)
				time.Sleep(time.Minute)
				f.wantLost(0)
				f.wantHeld(1)
			})
		})
	}
}

// What its owner is granted again is confirmed, and then the release that was under way for
// its former session ends it.
func TestGrantThatIsReleasedWhileItIsConfirmedIsNotGivenOut(t *testing.T) {
	for name, by := range map[string]string{"by its former session": "session", "by others": "other"} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				go_, landed := make(chan struct{}), make(chan struct{})
				f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
					<-go_
					return nil
				}
				old := f.open()
				f.acquire(old, locks.AcquireRequest{ID: "job", Owner: "me"})
				if by == "session" {
					go func() {
						_ = old.Close(f.Context())
						close(landed)
					}()
					synctest.Wait()
				}
				times := 0
				f.engine.afterGrant = func(locks.AcquireRequest) { time.Sleep(10 * time.Second) } // so it is confirmed
				f.engine.afterHeartbeat = func() {
					if times++; times > 1 {
						return
					}
					if close(go_); by == "session" {
						<-landed
					} else if _, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: locks.Claim{Owner: "me"}}); err != nil {
						t.Error(err)
					}
				}
				lease := f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me"})
				f.wantLive("job", lease.Token, true)
				time.Sleep(time.Minute)
				f.wantLive("job", lease.Token, true)
				f.wantLost(0)
			})
		})
	}
}

// On a lock that many share, somebody else's release always comes back.
func TestReleaseOfAnotherLeaseIsNoReasonToConfirmAgain(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		shared := locks.AcquireRequest{ID: "job", Mode: locks.Shared, TTL: time.Minute}
		other, err := f.manager.Engine().Acquire(f.Context(), shared)
		if err != nil {
			t.Fatal(err)
		}
		f.engine.afterGrant = func(locks.AcquireRequest) { time.Sleep(10 * time.Second) } // so it is confirmed
		times := 0
		f.engine.afterHeartbeat = func() {
			if times++; times > 1 {
				return
			}
			if _, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: token(other.Token)}); err != nil {
				t.Error(err)
			}
		}
		f.acquire(f.open(), shared)
		if times != 1 {
			t.Errorf("it was confirmed %d times", times)
		}
	})
}

// An owner asks again while the release for its former session is under way, and leaves.
func TestLeaseThatIsAskedForDuringItsReleaseIsReleasedForAsLongAsItMayLive(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var answers atomic.Bool
		f.engine.onParting = func(ctx context.Context, _ []locks.ReleaseRequest) error {
			if answers.Load() {
				return nil
			}
			return hang(ctx)
		}
		old := f.open()
		f.acquire(old, locks.AcquireRequest{ID: "job", Owner: "me", TTL: 10 * time.Second})
		old.End()
		synctest.Wait()
		ctx, leave := context.WithTimeout(f.Context(), time.Second)
		defer leave()
		_, err := f.open().Acquire(ctx, locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour})
		if !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
		f.wantHeld(1)
		answers.Store(true)
		time.Sleep(20 * time.Second)
		f.wantHeld(0)
	})
}

// While the engine is away, anybody may ask for releases as fast as they fail.
func TestReleasesWithoutAnAnswerDoNotPileUp(t *testing.T) {
	for name, req := range map[string]locks.ReleaseRequest{"bare": {ID: "job"}, "force": {ID: "job", Force: true}} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				s := f.open()
				f.acquire(s, locks.AcquireRequest{ID: "job", TTL: time.Hour})
				f.engine.away.Store(true)
				f.engine.onRelease = func(context.Context, locks.ReleaseRequest) error { return down() }
				for range 1000 {
					if _, err := f.manager.Engine().Release(f.Context(), req); !errors.Is(err, locks.ErrUnavailable) {
						t.Fatalf("got %v", err)
					}
				}
				if _, err := s.Release(f.Context(), req); !errors.Is(err, locks.ErrUnavailable) {
					t.Fatalf("got %v", err)
				}
				if n := f.manager.Suspected("job"); n > 2 {
					t.Errorf("%d releases are remembered", n)
				}
				if _, err := f.engine.Engine.Release(f.Context(), req); err != nil { // one of them was taken
					t.Error(err)
				}
				f.engine.away.Store(false)
				time.Sleep(time.Minute)
				f.wantLeases(0)
				f.wantLost(0) // its own may have been it
			})
		})
	}
}

// A wait that took long is confirmed: the lease's time counts from there.
func TestLateGrantIsConfirmed(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		f.engine.afterGrant = func(locks.AcquireRequest) { time.Sleep(900 * time.Millisecond) }
		lease := f.acquire(f.open(), locks.AcquireRequest{ID: "job", TTL: time.Second, Wait: locks.Forever})
		time.Sleep(200 * time.Millisecond)
		f.wantLive("job", lease.Token, true)
		f.engine.onHeartbeat = func(context.Context, locks.HeartbeatRequest) error { return down() }
		_, err := f.open().Acquire(f.Context(), locks.AcquireRequest{ID: "other", TTL: time.Second, Wait: locks.Forever})
		if !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		f.wantHeld(1)
		f.wantLost(0)
	})
}

func TestRefusedAcquireKeepsNothing(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		s, other := f.open(), f.open()
		lease := f.acquire(s, locks.AcquireRequest{ID: "job"})
		if _, err := other.Acquire(f.Context(), locks.AcquireRequest{ID: "job", TTL: time.Second}); !errors.Is(err, locks.ErrHeld) {
			t.Errorf("got %v", err)
		}
		other.End()
		f.wantLive("job", lease.Token, true)
		if n := f.manager.Leases(); n != 1 {
			t.Errorf("%d leases", n)
		}
	})
}

func TestManyReleasesInOneCallAreNoLoss(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var reqs []locks.ReleaseRequest
		for _, id := range []locks.ID{"a", "b", "c"} {
			lease := f.acquire(f.open(), locks.AcquireRequest{ID: id})
			reqs = append(reqs, locks.ReleaseRequest{ID: id, Claim: token(lease.Token)})
		}
		for _, r := range f.manager.Engine().ReleaseAll(f.Context(), reqs) {
			if r.Err != nil || r.Released.Ended != 1 {
				t.Errorf("got %+v", r)
			}
		}
		f.wantLeases(0)
		time.Sleep(time.Hour)
		f.wantLost(0)
	})
}

// A bug in the engine must not keep a loss from being told for ever.
func TestReleaseThatPanicsExcusesNoLaterLoss(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me"})
		f.engine.onRelease = func(context.Context, locks.ReleaseRequest) error { panic("an engine's bug") }
		func() {
			defer func() { _ = recover() }()
			_, _ = f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: locks.Claim{Owner: "me"}})
		}()
		f.engine.onRelease = nil
		time.Sleep(time.Minute)
		if _, err := f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		f.wantLost(1)
	})
}
