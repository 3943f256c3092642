package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// How leases are kept, and when they count as lost.

func TestRenewalKeepsTheLease(t *testing.T) {
	for _, ttl := range []time.Duration{time.Millisecond, 3 * time.Millisecond, 30 * time.Millisecond, time.Second, 30 * time.Second, 10 * time.Minute} {
		t.Run(ttl.String(), func(t *testing.T) {
			inVirtualTime(t, session.Options{MinTTL: time.Millisecond}, func(f *fixture) {
				s := f.open()
				lease := f.acquire(s, locks.AcquireRequest{ID: "job", TTL: ttl})
				time.Sleep(20 * ttl)
				f.wantLive("job", lease.Token, true)
				f.wantLost(0)
				times := int(20 * ttl / min(ttl/3, 10*time.Second))
				if n := len(f.engine.calls()); n < times || n > times*5/4 {
					t.Errorf("in 20 TTLs it was renewed %d times, want %d or a few more", n, times)
				}
				if err := s.Close(f.Context()); err != nil {
					t.Error(err)
				}
				f.wantHeld(0)
				calls := len(f.engine.calls())
				time.Sleep(20 * ttl)
				if n := len(f.engine.calls()); n != calls {
					t.Errorf("after Close it was renewed %d times", n-calls)
				}
			})
		})
	}
}

func TestRenewalIsSentInTime(t *testing.T) {
	for ttl := time.Millisecond; ttl < time.Hour; ttl = ttl*7/5 + 3*time.Millisecond {
		inVirtualTime(t, session.Options{MinTTL: time.Millisecond}, func(f *fixture) {
			ttl = ttl.Truncate(time.Millisecond)
			interval := min(ttl/3, 10*time.Second)
			var last time.Time
			f.engine.onRenew = func(context.Context, []locks.HeartbeatRequest) error {
				if d := time.Since(last); d > interval || d < interval/10 {
					t.Errorf("TTL %v: renewed after %v", ttl, d)
				}
				last = time.Now()
				return nil
			}
			time.Sleep(ttl * 10 / 7)
			last = time.Now()
			f.acquire(f.open(), locks.AcquireRequest{ID: "job", TTL: ttl})
			time.Sleep(9 * interval)
		})
	}
}

// Whatever keeps renewals from being done, the session is told before the lease
// runs out on the engine's clock, and its other leases are released.
func TestLostLeaseClosesTheSession(t *testing.T) {
	for name, fault := range map[string]func(context.Context) error{
		"refused": func(context.Context) error { return down() },
		"hanging": hang,
		"deaf": func(context.Context) error {
			time.Sleep(time.Hour)
			return down()
		},
	} {
		for _, ttl := range []time.Duration{30 * time.Millisecond, 2 * time.Second, time.Minute} {
			t.Run(fmt.Sprint(name, " ", ttl), func(t *testing.T) {
				inVirtualTime(t, session.Options{MinTTL: time.Millisecond}, func(f *fixture) {
					var fails atomic.Bool
					f.engine.onRenew = func(ctx context.Context, _ []locks.HeartbeatRequest) error {
						if fails.Load() {
							return fault(ctx)
						}
						return nil
					}
					looked := make(chan struct{})
					f.engine.onParting = func(context.Context, []locks.ReleaseRequest) error {
						<-looked
						return nil
					}
					told := make(chan error, 2)
					s := f.manager.Open(func(reason error) { told <- reason })
					lease := f.acquire(s, locks.AcquireRequest{ID: "job", TTL: ttl})
					f.acquire(s, locks.AcquireRequest{ID: "other", TTL: time.Hour})
					f.acquire(s, locks.AcquireRequest{ID: "more", TTL: time.Hour})
					time.Sleep(5 * ttl)
					fails.Store(true)
					reason := <-told
					f.wantLive("job", lease.Token, true)
					close(looked)
					f.Log(reason)
					f.wantHeld(0)
					if _, err := s.Acquire(f.Context(), locks.AcquireRequest{ID: "job", TTL: ttl}); !errors.Is(err, locks.ErrShutdown) {
						t.Errorf("the lost session acquired: %v", err)
					}
					time.Sleep(10 * ttl)
					if f.manager.Lost() != 1 || len(told) != 0 {
						t.Errorf("lost %d times", f.manager.Lost())
					}
				})
			})
		}
	}
}

func TestLeaseEndedElsewhereIsLostAtTheNextRenewal(t *testing.T) {
	for name, end := range map[string]func(f *fixture, lease locks.Lease){
		"released": func(f *fixture, lease locks.Lease) {
			_, _ = f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: locks.Claim{Token: lease.Token}})
		},
		"forced, and taken by others": func(f *fixture, _ locks.Lease) {
			_, _ = f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Force: true})
			_, _ = f.engine.Acquire(f.Context(), locks.AcquireRequest{ID: "job", TTL: time.Minute})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				s := f.open()
				lease := f.acquire(s, locks.AcquireRequest{ID: "job"})
				f.acquire(s, locks.AcquireRequest{ID: "other"})
				f.acquire(f.open(), locks.AcquireRequest{ID: "a stranger's"})
				time.Sleep(time.Minute)
				end(f, lease)
				f.wantLost(0)
				time.Sleep(10 * time.Second)
				f.wantLost(1)
				if n := f.manager.Leases(); n != 1 {
					t.Errorf("%d leases are kept, want the stranger's", n)
				}
			})
		})
	}
}

// One call that hangs holds up no other lease, nor its own leases: they are
// renewed by the next.
func TestHangingRenewalHoldsUpNothing(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		hung := make(map[locks.ID]bool) // at the latest call for it
		f.engine.onRenew = func(ctx context.Context, reqs []locks.HeartbeatRequest) error {
			f.mu.Lock()
			again := false
			for _, req := range reqs {
				again = again || hung[req.ID]
			}
			for _, req := range reqs {
				hung[req.ID] = !again
			}
			f.mu.Unlock()
			if again {
				return nil
			}
			return hang(ctx)
		}
		a := f.acquire(f.open(), locks.AcquireRequest{ID: "a", TTL: 100 * time.Millisecond})
		b := f.acquire(f.open(), locks.AcquireRequest{ID: "b", TTL: 300 * time.Millisecond})
		time.Sleep(time.Minute)
		f.wantLive("a", a.Token, true)
		f.wantLive("b", b.Token, true)
		f.wantLost(0)
	})
}

func TestTenThousandLeasesAreRenewedByFewCalls(t *testing.T) {
	const n = 10_000
	for name, session1 := range map[string]bool{"one session": true, "a session each": false} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				s := f.open()
				all := []*session.Session{s}
				for i := range n {
					if !session1 {
						s = f.open()
						all = append(all, s)
					}
					f.acquire(s, locks.AcquireRequest{ID: locks.ID(fmt.Sprint(i)), TTL: 30 * time.Second})
					if i%10 == 0 {
						time.Sleep(10 * time.Millisecond) // they come in the course of 10 s
					}
				}
				before := len(f.engine.calls())
				time.Sleep(30 * time.Second)
				calls := f.engine.calls()[before:]
				renewed := 0
				for _, size := range calls {
					renewed += size
				}
				if renewed < 3*n || renewed > 4*n || len(calls) > 180 {
					t.Errorf("%d leases were renewed in %d calls", renewed, len(calls))
				}
				time.Sleep(2 * time.Minute)
				f.wantHeld(n)
				f.wantLost(0)
				for _, s := range all {
					s.End()
				}
				f.wantHeld(0)
				if f.engine.most > 4 {
					t.Errorf("%d calls released at the same time", f.engine.most)
				}
			})
		})
	}
}

// What others set, the next renewal sets right, before the lease runs out.
func TestShorterTTLFromOthersEndsNoLease(t *testing.T) {
	for name, shorten := range map[string]func(e locks.Engine, ctx context.Context) (locks.Lease, error){
		"heartbeat": func(e locks.Engine, ctx context.Context) (locks.Lease, error) {
			return e.Heartbeat(ctx, locks.HeartbeatRequest{ID: "job", Claim: locks.Claim{Owner: "me"}, TTL: 20 * time.Millisecond})
		},
		"acquire by the owner": func(e locks.Engine, ctx context.Context) (locks.Lease, error) {
			return e.Acquire(ctx, locks.AcquireRequest{ID: "job", Owner: "me", TTL: 20 * time.Millisecond})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				s := f.open()
				lease := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
				time.Sleep(time.Second)
				if again, err := shorten(f.manager.Engine(), f.Context()); err != nil || again.Token != lease.Token {
					t.Errorf("got %+v, %v", again, err)
				}
				time.Sleep(time.Minute)
				f.wantLive("job", lease.Token, true)
				f.wantLost(0)
				s.End()
				f.wantHeld(0)
			})
		})
	}
}

// A renewal that was taken before the TTL became short, and is heard of after it,
// does not prolong the lease.
func TestLeaseWithAShortenedTTLIsLostInTime(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		var away atomic.Bool
		f.engine.onRenew = func(context.Context, []locks.HeartbeatRequest) error {
			if away.Load() {
				return down()
			}
			return nil
		}
		f.engine.afterRenew = func() { time.Sleep(300 * time.Millisecond) }
		f.acquire(f.open(), locks.AcquireRequest{ID: "job"})
		for len(f.engine.calls()) == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		away.Store(true)
		if _, err := f.manager.Engine().Heartbeat(f.Context(), locks.HeartbeatRequest{ID: "job", TTL: 500 * time.Millisecond}); err != nil {
			t.Error(err)
		}
		time.Sleep(499 * time.Millisecond)
		f.wantLost(1)
	})
}

func TestOneRenewalIsEnoughForALeaseThatIsAcquiredAgain(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		s := f.open()
		for range 10 {
			f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me"})
		}
		lease := f.acquire(s, locks.AcquireRequest{ID: "job", Owner: "me", TTL: 3 * time.Second})
		if n := f.manager.Leases(); n != 1 {
			t.Errorf("%d leases", n)
		}
		time.Sleep(time.Minute)
		f.wantLive("job", lease.Token, true)
		for _, n := range f.engine.calls() {
			if n != 1 {
				t.Errorf("a call renewed %d", n)
			}
		}
		synctest.Wait()
	})
}
