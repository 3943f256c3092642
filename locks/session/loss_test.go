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
