package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/session"
)

// Which TTL a lease is kept with, and what others may set.

func TestLeaseWithoutExpiryIsKeptWithOne(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		s := f.open()
		lease := f.acquire(s, locks.AcquireRequest{ID: "job", TTL: locks.NoExpiry})
		if lease.TTL != locks.NoExpiry {
			t.Errorf("the holder is told of %v", lease.TTL)
		}
		for range 100 {
			time.Sleep(10 * time.Second)
			if left := f.ttl("job"); left <= 0 || left > 30*time.Second {
				t.Fatalf("%v are left, should this process die", left)
			}
		}
		time.Sleep(48 * time.Hour)
		f.wantLive("job", lease.Token, true)
		s.End()
		f.wantHeld(0)
		f.wantLost(0)
	})
}

// However long the TTL: a holder does not believe for long in a lease that was ended, or
// made to end, behind the manager's back.
func TestLeaseEndedElsewhereIsLostSoon(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 24 * time.Hour, locks.NoExpiry} {
		for name, end := range map[string]func(f *fixture, lease locks.Lease){
			"released": func(f *fixture, lease locks.Lease) {
				_, _ = f.engine.Release(f.Context(), locks.ReleaseRequest{ID: "job", Claim: token(lease.Token)})
			},
			"shortened": func(f *fixture, lease locks.Lease) {
				_, _ = f.engine.Heartbeat(f.Context(), locks.HeartbeatRequest{ID: "job", Claim: token(lease.Token), TTL: time.Millisecond})
			},
		} {
			t.Run(fmt.Sprint(name, " ", ttl), func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					lease := f.acquire(f.open(), locks.AcquireRequest{ID: "job", TTL: ttl})
					time.Sleep(time.Hour)
					f.wantLost(0)
					end(f, lease)
					time.Sleep(10 * time.Second)
					f.wantLost(1)
				})
			})
		}
	}
}

func TestLongerTTLFromOthersIsSetRight(t *testing.T) {
	for name, set := range map[string]func(e locks.Engine, ctx context.Context, ttl time.Duration) (locks.Lease, error){
		"heartbeat": func(e locks.Engine, ctx context.Context, ttl time.Duration) (locks.Lease, error) {
			return e.Heartbeat(ctx, locks.HeartbeatRequest{ID: "job", Claim: locks.Claim{Owner: "me"}, TTL: ttl})
		},
		"acquire by the owner": func(e locks.Engine, ctx context.Context, ttl time.Duration) (locks.Lease, error) {
			return e.Acquire(ctx, locks.AcquireRequest{ID: "job", Owner: "me", TTL: ttl})
		},
	} {
		for _, ttl := range []time.Duration{24 * time.Hour, locks.NoExpiry} {
			t.Run(fmt.Sprint(name, " ", ttl), func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me"})
					if _, err := set(f.engine, f.Context(), ttl); err != nil {
						t.Error(err)
					}
					time.Sleep(10 * time.Second)
					if left := f.ttl("job"); left <= 0 || left > 30*time.Second {
						t.Errorf("%v are left", left)
					}
				})
			})
		}
	}
}

// A heartbeat that names no TTL sets what the owner's latest acquire asked for.
func TestShorterTTLFromAPlainHeartbeatEndsNoLease(t *testing.T) {
	for name, beat := range map[string]func(e locks.Engine, ctx context.Context, req locks.HeartbeatRequest) error{
		"Heartbeat": func(e locks.Engine, ctx context.Context, req locks.HeartbeatRequest) error {
			_, err := e.Heartbeat(ctx, req)
			return err
		},
		"Renew": func(e locks.Engine, ctx context.Context, req locks.HeartbeatRequest) error {
			return e.Renew(ctx, []locks.HeartbeatRequest{req})[0].Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, session.Options{}, func(f *fixture) {
				e := f.manager.Engine()
				lease := f.acquire(f.open(), locks.AcquireRequest{ID: "job", Owner: "me"})
				if _, err := e.Acquire(f.Context(), locks.AcquireRequest{ID: "job", Owner: "me", TTL: 20 * time.Millisecond}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				if err := beat(e, f.Context(), locks.HeartbeatRequest{ID: "job", Claim: locks.Claim{Owner: "me"}}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				f.wantLive("job", lease.Token, true)
				f.wantLost(0)
				if n := len(f.engine.calls()); n > 10 {
					t.Errorf("it was renewed %d times", n)
				}
			})
		})
	}
}

func TestShortTTLIsRaised(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		f.engine.onRenew = func(context.Context, []locks.HeartbeatRequest) error {
			time.Sleep(100 * time.Millisecond) // an upstream that is far away
			return nil
		}
		f.engine.afterGrant = func(locks.AcquireRequest) { time.Sleep(50 * time.Millisecond) }
		for _, ttl := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 300 * time.Millisecond} {
			lease := f.acquire(f.open(), locks.AcquireRequest{ID: locks.ID(ttl.String()), TTL: ttl})
			if lease.TTL != time.Second {
				t.Errorf("asked for with %v, a lease is kept with %v", ttl, lease.TTL)
			}
		}
		time.Sleep(time.Minute)
		f.wantLeases(3)
		f.wantLost(0)
		if n := len(f.engine.calls()); n > 3*60*4 {
			t.Errorf("in a minute, three leases were renewed by %d calls", n)
		}
	})
}

func TestTTLsCanBeSet(t *testing.T) {
	inVirtualTime(t, session.Options{MinTTL: 5 * time.Second, PersistTTL: time.Minute}, func(f *fixture) {
		f.acquire(f.open(), locks.AcquireRequest{ID: "short", TTL: time.Millisecond})
		f.acquire(f.open(), locks.AcquireRequest{ID: "persist", TTL: locks.NoExpiry})
		if short, persist := f.ttl("short"), f.ttl("persist"); short != 5*time.Second || persist != time.Minute {
			t.Errorf("they are kept with %v and %v", short, persist)
		}
	})
}

// A release is repeated for as long as the lease may live, and others may have made that
// longer.
func TestReleaseIsRepeatedForAsLongAsOthersLetTheLeaseLive(t *testing.T) {
	for _, ttl := range []time.Duration{24 * time.Hour, locks.NoExpiry} {
		for name, answered := range map[string]bool{"answered": true, "without an answer": false} {
			t.Run(fmt.Sprint(ttl, " ", name), func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					s := f.open()
					lease := f.acquire(s, locks.AcquireRequest{ID: "job"})
					if !answered {
						f.engine.onHeartbeat = func(ctx context.Context, req locks.HeartbeatRequest) error {
							_, err := f.engine.Engine.Heartbeat(ctx, req)
							s.End() // and the session ends before that is known
							time.Sleep(time.Second)
							return errors.Join(err, down())
						}
						f.engine.away.Store(true)
					}
					_, err := f.manager.Engine().Heartbeat(f.Context(), locks.HeartbeatRequest{ID: "job", Claim: token(lease.Token), TTL: ttl})
					if (err == nil) != answered {
						t.Error(err)
					}
					f.engine.away.Store(true)
					s.End()
					time.Sleep(time.Minute)
					f.wantHeld(1)
					f.engine.away.Store(false)
					time.Sleep(5 * time.Second)
					f.wantHeld(0)
				})
			})
		}
	}
}
