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

// What becomes of a lease that was granted, and that nobody wants any more.

// giveUps are the ways in which an acquire is given up.
func giveUps() map[string]func(f *fixture, s *session.Session, cancel func()) {
	return map[string]func(f *fixture, s *session.Session, cancel func()){
		"context":       func(_ *fixture, _ *session.Session, cancel func()) { cancel() },
		"End":           func(_ *fixture, s *session.Session, _ func()) { s.End() },
		"Reset":         func(f *fixture, s *session.Session, _ func()) { _ = s.Reset(f.Context()) },
		"Manager.Close": func(f *fixture, _ *session.Session, _ func()) { go func() { _ = f.manager.Close(f.Context()) }() },
	}
}

// give acquires for a session, and gives up some time after the lease is granted.
func (f *fixture) give(up func(f *fixture, s *session.Session, cancel func()), after, ttl time.Duration) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	defer cancel()
	s := f.open()
	f.engine.afterGrant = func(locks.AcquireRequest) {
		time.Sleep(after)
		up(f, s, cancel)
		time.Sleep(time.Millisecond)
	}
	_, err := s.Acquire(ctx, locks.AcquireRequest{ID: "job", Owner: "me", TTL: ttl, Wait: time.Hour})
	if !errors.Is(err, locks.ErrUnavailable) {
		f.Errorf("the acquire ended with %v", err)
	}
	f.engine.afterGrant = nil
}

func TestAcquireThatIsGivenUpSparesWhatItsOwnerHas(t *testing.T) {
	for name, up := range giveUps() {
		for late, after := range map[string]time.Duration{"": 0, ", late": 10 * time.Minute} {
			t.Run(name+late, func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					plain, err := f.manager.Engine().Acquire(f.Context(), locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Hour})
					if err != nil {
						t.Fatal(err)
					}
					f.give(up, after, time.Hour)
					time.Sleep(time.Minute)
					f.wantLive("job", plain.Token, true)
					f.wantLeases(0)
				})
			})
		}
	}
}

func TestAcquireThatIsGivenUpSparesWhatAnotherSessionHas(t *testing.T) {
	for name, up := range giveUps() {
		if name == "Manager.Close" {
			continue // ends that one, too
		}
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				s := f.open()
				lease := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me", TTL: time.Minute})
				f.give(up, 0, time.Second)
				time.Sleep(time.Hour)
				f.wantLive("job", lease.Token, true)
				f.wantLost(0)
				s.End()
				f.wantHeld(0)
			})
		})
	}
}

func TestAcquireThatIsGivenUpLeavesNoLease(t *testing.T) {
	for name, up := range giveUps() {
		for late, after := range map[string]time.Duration{"": 0, ", late": 10 * time.Minute} {
			t.Run(name+late, func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					f.give(up, after, time.Hour)
					f.wantHeld(0)
				})
			})
		}
	}
}

// What was confirmed by a heartbeat is given back all the same, if the session ends before it
// is told, or if the heartbeat is not answered.
func TestLeaseThatIsGivenUpWhileItIsConfirmedIsReleased(t *testing.T) {
	for name, answer := range map[string]func(f *fixture, s *session.Session) error{
		"End":       func(_ *fixture, s *session.Session) error { s.End(); return nil },
		"no answer": func(*fixture, *session.Session) error { return down() },
	} {
		for _, owner := range []locks.Owner{"", "me"} {
			t.Run(name+" "+string(owner), func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					s := f.open()
					f.engine.afterGrant = func(locks.AcquireRequest) { time.Sleep(10 * time.Minute) }
					f.engine.onHeartbeat = func(ctx context.Context, req locks.HeartbeatRequest) error {
						if _, err := f.engine.Engine.Heartbeat(ctx, req); err != nil {
							t.Error(err)
						}
						return answer(f, s)
					}
					_, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "job", Owner: owner, TTL: time.Hour})
					if !errors.Is(err, locks.ErrUnavailable) {
						t.Errorf("the acquire ended with %v", err)
					}
					f.wantHeld(0)
				})
			})
		}
	}
}

// While a lease that nobody wants is being given back, its owner asks for it again: it
// has the lease at once, and keeps it.
func TestOwnerThatAsksAgainKeepsWhatIsBeingGivenBack(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var calls atomic.Int32
		f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
			calls.Add(1)
			time.Sleep(time.Second)
			return nil
		}
		f.give(giveUps()["End"], 0, time.Hour)
		time.Sleep(time.Millisecond)
		begun := time.Now()
		s := f.open()
		lease := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
		if d := time.Since(begun); d != 0 || calls.Load() != 1 {
			t.Errorf("it took %v, and %d releases", d, calls.Load())
		}
		time.Sleep(time.Hour)
		f.wantLive("job", lease.Token, true)
		f.wantLost(0)
		s.End()
		time.Sleep(time.Minute)
		f.wantHeld(0)
	})
}
