package session_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// How losses are told.

// While its holder believes to have a lease, nobody else may be granted it.
func TestLostSessionKeepsItsOtherLeasesUntilItIsTold(t *testing.T) {
	for name, lose := range map[string]func(f *fixture){
		"forced": func(f *fixture) {
			_, _ = f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true})
		},
		"not renewed": func(f *fixture) { f.engine.away.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				var other locks.Lease
				var told atomic.Bool
				s := f.manager.Open(func(error) {
					f.engine.away.Store(false)
					time.Sleep(time.Second)
					f.wantLive("other", other.Token, true)
					told.Store(true)
				})
				f.acquire(s, locks.AcquireRequest{ID: "job"})
				other = f.acquire(s, locks.AcquireRequest{ID: "other", TTL: time.Hour})
				lose(f)
				time.Sleep(40 * time.Second)
				if !told.Load() {
					t.Error("it was not told")
				}
				f.wantHeld(0)
			})
		})
	}
}

// Thousands of losses at the same time are all told before the first lease runs out.
func TestManyLossesAreToldInTime(t *testing.T) {
	const n = 8000
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var told, late atomic.Int32
		for i := range n {
			id := locks.ID(fmt.Sprint(i))
			var lease locks.Lease
			s := f.manager.Open(func(error) {
				time.Sleep(time.Second / 2000)
				told.Add(1)
				if live, err := f.engine.Check(f.Context(), id, lease.Token); err != nil || !live {
					late.Add(1)
				}
			})
			lease = f.acquire(s, locks.AcquireRequest{ID: id})
		}
		time.Sleep(12 * time.Second) // they are renewed together
		f.engine.away.Store(true)
		time.Sleep(time.Minute)
		if told.Load() != n || late.Load() != 0 {
			t.Errorf("%d were told, %d of them late", told.Load(), late.Load())
		}
		f.engine.away.Store(false)
	})
}

// What one call can't renew is lost; what another call has renewed is not.
func TestCallThatHangsCostsNoOtherCallsLeases(t *testing.T) {
	const n = 1000
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var hung atomic.Pointer[[]locks.HeartbeatRequest]
		f.engine.onRenew = func(ctx context.Context, reqs []locks.HeartbeatRequest) error {
			hung.CompareAndSwap(nil, &reqs)
			if slices.ContainsFunc(*hung.Load(), func(r locks.HeartbeatRequest) bool { return slices.Contains(reqs, r) }) {
				return hang(ctx)
			}
			return nil
		}
		for i := range n {
			f.acquire(f.open(), locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i)), TTL: time.Second})
		}
		time.Sleep(time.Minute)
		if lost := f.manager.Lost(); lost == 0 || lost > 256 {
			t.Errorf("%d of %d sessions are lost", lost, n)
		}
	})
}

// What counts as lost is every lease that its holder is not to believe in any more, once, and
// none that was released on purpose or that another session goes on with.
func TestLostLeasesAreCounted(t *testing.T) {
	const minute = time.Minute // in which each lease is renewed
	for name, test := range map[string]struct {
		want int
		lose func(f *fixture)
	}{
		"with their session": {3, func(f *fixture) {
			s := f.open()
			for _, id := range []locks.ID{"a", "b", "c"} {
				f.acquire(s, locks.AcquireRequest{ID: id})
			}
			f.acquire(f.open(), locks.AcquireRequest{ID: "a stranger's"})
			f.force("a")
			time.Sleep(minute)
			f.wantLost(1)
		}},
		"all at once": {600, func(f *fixture) {
			s := f.open()
			for i := range 600 {
				f.acquire(s, locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i))})
			}
			for i := range 600 {
				if _, err := f.engine.Release(f.Context(), locks.ReleaseRequest{ID: locks.ID(fmt.Sprint(i)), Force: true}); err != nil {
					f.Error(err)
				}
			}
			time.Sleep(minute)
			f.wantLost(1)
		}},
		"not renewed in time": {2, func(f *fixture) {
			s := f.open()
			f.acquire(s, locks.AcquireRequest{ID: "a", TTL: time.Second})
			f.acquire(s, locks.AcquireRequest{ID: "b", TTL: time.Hour})
			f.engine.away.Store(true)
			time.Sleep(minute)
			f.engine.away.Store(false)
			f.wantLost(1)
			time.Sleep(minute)
			f.wantHeld(0)
		}},
		"once, though two sessions have it": {1, func(f *fixture) {
			for range 2 {
				f.acquire(f.open(), locks.AcquireRequest{ID: "a", Owner: "me"})
			}
			f.force("a")
			time.Sleep(minute)
			f.wantLost(2)
		}},
		"once, though it could not be renewed and was over then": {1, func(f *fixture) {
			f.acquire(f.manager.Open(func(error) {
				f.engine.away.Store(false)
				f.force("a")
			}), locks.AcquireRequest{ID: "a"})
			f.engine.away.Store(true)
			time.Sleep(minute)
		}},
		"but those that go on": {1, func(f *fixture) {
			s, other := f.open(), f.open()
			f.acquire(s, locks.AcquireRequest{ID: "a"})
			f.acquire(s, locks.AcquireRequest{ID: "both's", Owner: "me"})
			f.acquire(other, locks.AcquireRequest{ID: "both's", Owner: "me"})
			f.force("a")
			time.Sleep(minute)
			f.wantLost(1)
			f.wantLeases(1)
			other.End()
			f.wantLeases(0)
		}},
		"but what was released before it is told": {1, func(f *fixture) {
			var s *session.Session
			s = f.manager.Open(func(error) {
				if _, err := s.Release(f.Context(), locks.ReleaseRequest{ID: "b"}); err != nil {
					f.Error(err)
				}
			})
			f.acquire(s, locks.AcquireRequest{ID: "a"})
			f.acquire(s, locks.AcquireRequest{ID: "b"})
			f.force("a")
			time.Sleep(minute)
		}},
		"but what ends on purpose": {0, func(f *fixture) {
			a, b, c := f.open(), f.open(), f.open()
			f.acquire(a, locks.AcquireRequest{ID: "a"})
			f.acquire(b, locks.AcquireRequest{ID: "b"})
			f.acquire(c, locks.AcquireRequest{ID: "c"})
			if err := a.Close(f.Context()); err != nil {
				f.Error(err)
			}
			if err := b.Reset(f.Context()); err != nil {
				f.Error(err)
			}
			if _, err := c.Release(f.Context(), locks.ReleaseRequest{ID: "c", Force: true}); err != nil {
				f.Error(err)
			}
			f.acquire(b, locks.AcquireRequest{ID: "until the manager is closed"})
			time.Sleep(minute)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				test.lose(f)
				f.wantLostLeases(test.want)
				if err := f.manager.Close(f.Context()); err != nil {
					t.Error(err)
				}
				f.wantLostLeases(test.want)
			})
		})
	}
}
