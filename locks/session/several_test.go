package session_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// A lease whose owner asked for it in several sessions.

func TestLeaseStaysUntilTheLastSessionThatHasItIsGone(t *testing.T) {
	for name, end := range map[string]func(f *fixture, s *session.Session) error{
		"Close": func(f *fixture, s *session.Session) error { return s.Close(f.Context()) },
		"Reset": func(f *fixture, s *session.Session) error { return s.Reset(f.Context()) },
		"End":   func(_ *fixture, s *session.Session) error { s.End(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				sessions := []*session.Session{f.open(), f.open(), f.open()}
				var lease locks.Lease
				for _, s := range sessions {
					lease = f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
				}
				f.wantLeases(1)
				for i, first := range []int{1, 0, 2} {
					time.Sleep(time.Hour)
					f.wantLive("job", lease.Token, true)
					if err := end(f, sessions[first]); err != nil {
						t.Errorf("%d: %v", i, err)
					}
				}
				f.wantHeld(0)
				f.wantLost(0)
			})
		})
	}
}

// A client whose connection broke asks again on another one. The answer to what it asked
// first comes last, and is for nobody.
func TestAcquireThatIsAnsweredLateTakesNoLeaseAway(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		older, younger := f.open(), f.open()
		var grants atomic.Int32
		f.engine.afterGrant = func(locks.AcquireRequest) {
			if grants.Add(1) == 1 {
				time.Sleep(time.Second)
			}
		}
		go func() {
			if _, err := older.Acquire(f.Context(), locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour}); err != nil {
				t.Error(err)
			}
			older.End()
		}()
		time.Sleep(100 * time.Millisecond)
		lease := f.acquire(younger, locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour})
		time.Sleep(3 * time.Hour)
		f.wantLive("job", lease.Token, true)
		f.wantLeases(1)
		f.wantLost(0)
		younger.End()
		f.wantHeld(0)
	})
}

func TestReleaseInOneSessionEndsTheLeaseForAll(t *testing.T) {
	for name, claim := range map[string]func(locks.Lease) locks.Claim{
		"token": func(l locks.Lease) locks.Claim { return token(l.Token) },
		"owner": func(l locks.Lease) locks.Claim { return locks.Claim{Owner: l.Owner} },
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				a, b := f.open(), f.open()
				f.acquire(a, locks.AcquireRequest{ID: "job", Owner: "me"})
				lease := f.acquire(b, locks.AcquireRequest{ID: "job", Owner: "me"})
				if r, err := a.Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: claim(lease)}); err != nil || r.Ended != 1 {
					t.Errorf("got %+v, %v", r, err)
				}
				f.wantHeld(0)
				f.wantLeases(0)
				time.Sleep(time.Hour)
				f.wantLost(0)
				f.acquire(b, locks.AcquireRequest{ID: "job", Owner: "me"})
				f.wantLeases(1)
			})
		})
	}
}

func TestForceByOneOfItsSessionsIsALossToTheOthers(t *testing.T) {
	for name, fails := range map[string]bool{"answered": false, "without an answer": true} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				a, aLost := f.openTold()
				b, bLost := f.openTold()
				f.acquire(a, locks.AcquireRequest{ID: "job", Owner: "me"})
				f.acquire(b, locks.AcquireRequest{ID: "job", Owner: "me"})
				if fails {
					f.engine.onRelease = func(ctx context.Context, req locks.ReleaseRequest) error {
						_, err := f.engine.Engine.Release(ctx, req)
						return errors.Join(err, down())
					}
				}
				_, _ = a.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true})
				time.Sleep(time.Second)
				if aLost() || !bLost() {
					t.Errorf("lost: the one that forced %v, the other %v", aLost(), bLost())
				}
				f.wantLeases(0)
			})
		})
	}
}

func TestLossIsToldToEverySessionThatHasTheLease(t *testing.T) {
	for name, lose := range map[string]func(f *fixture){
		"ended elsewhere": func(f *fixture) {
			_, _ = f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true})
		},
		"forced": func(f *fixture) {
			_, _ = f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true})
		},
		"not renewed": func(f *fixture) {
			f.engine.away.Store(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				for range 3 {
					f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me"})
				}
				lose(f)
				time.Sleep(30 * time.Second)
				f.wantLost(3)
				f.engine.away.Store(false)
				time.Sleep(10 * time.Second)
				f.wantLeases(0)
				f.wantHeld(0)
			})
		})
	}
}

// An owner has one lease of a lock. What it was granted before is over, also if
// that is heard of last.
func TestYoungerLeaseOfAnOwnerReplacesTheOlder(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		a, b := f.open(), f.open()
		var grants atomic.Int32
		f.engine.afterGrant = func(req locks.AcquireRequest) {
			if grants.Add(1) == 1 {
				time.Sleep(time.Second)
			}
		}
		got := make(chan locks.Lease)
		go func() {
			lease, err := a.Acquire(f.Context(), locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour})
			if err != nil {
				t.Error(err)
			}
			got <- lease
		}()
		time.Sleep(100 * time.Millisecond)
		if _, err := f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
			t.Error(err)
		}
		second := f.acquire(b, locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour})
		if first := <-got; first.Token != second.Token {
			t.Errorf("the late answer gives out %d, though %d came after it", first.Token, second.Token)
		}
		f.wantLeases(1)
		if _, err := f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
			t.Error(err)
		}
		third := f.acquire(a, locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour})
		time.Sleep(time.Second)
		f.wantLive("job", third.Token, true)
		f.wantLost(1) // b's
		f.wantLeases(1)
	})
}

func TestLeaseHasTheTTLOfTheLatestRequest(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		for _, ttl := range []time.Duration{30 * time.Second, 3 * time.Second, time.Hour, time.Minute} {
			f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me", TTL: ttl})
			for range 100 {
				time.Sleep(time.Second)
				if left := f.ttl("job"); left > ttl || left < ttl-max(ttl/2, 10*time.Second) {
					t.Fatalf("of %v are left %v", ttl, left)
				}
			}
		}
		f.wantLost(0)
	})
}

// The engine may take a renewal that sets the former TTL after one that sets the
// longer new one. Then the lease lasts no longer than the former TTL says.
func TestRenewalWithTheFormerTTLMayBeTakenLast(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var renewals atomic.Int32
		gate := make(chan struct{})
		f.engine.onRenew = func(context.Context, []locks.HeartbeatRequest) error {
			if renewals.Add(1) == 1 {
				<-gate
			}
			return nil
		}
		s := f.open()
		lease := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Second})
		time.Sleep(340 * time.Millisecond)
		f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour})
		time.Sleep(100 * time.Millisecond)
		close(gate)
		time.Sleep(time.Minute)
		f.wantLive("job", lease.Token, true)
		f.wantLost(0)
	})
}
