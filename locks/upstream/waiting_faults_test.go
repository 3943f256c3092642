package upstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// What becomes of requests that wait when the server refuses, stands still, or
// is slow to answer.

func TestServerThatTakesNoWritesGrantsNothing(t *testing.T) {
	for name, refuse := range map[string]string{
		"short of replicas": "CONFIG SET min-replicas-to-write 1",
		"demoted":           "REPLICAOF 127.0.0.1 1",
	} {
		for op := range operations(nil, "") {
			if op == "ready" || op == "scan" || op == "check" {
				continue // they serve nobody
			}
			t.Run(name+", "+op, func(t *testing.T) {
				t.Parallel()
				s := redistest.Start(t)
				e, other := open(t, s.URL(), 0), open(t, s.URL(), 0)
				held := acquire(t, other, request("a", ""))
				w := waits(t, e, locks.AcquireRequest{ID: "a", TTL: 3 * time.Second}) // so short that nothing is confirmed
				// Only now, for it must not be over before the server refuses.
				claim := locks.Claim{Token: held.Token}
				if _, err := other.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a", Claim: claim, TTL: time.Second}); err != nil {
					t.Fatal(err)
				}
				s.Do(refuse)
				time.Sleep(1050 * time.Millisecond)
				_ = operations(other, "a")[op]()
				time.Sleep(100 * time.Millisecond) // for a message that must not be
				stillWaits(t, w)
			})
		}
	}
}

func TestFullServerHandsOverAndDropsNobody(t *testing.T) {
	for _, ttl := range []time.Duration{30 * time.Second, 3 * time.Second} {
		t.Run(ttl.String(), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			e, other := open(t, s.URL(), 0), open(t, s.URL(), 0)
			held := acquire(t, other, request("a", ""))
			var all []<-chan ending
			for i, of := range []locks.Engine{e, other, other, other} {
				req := request("a", locks.Owner([]string{"", "", "", "me"}[i]))
				req.TTL = ttl
				all = append(all, waits(t, of, req))
			}
			s.Do("CONFIG SET maxmemory 1")
			time.Sleep(3500 * time.Millisecond) // for longer than candados may be silent
			for _, w := range all {
				releaseToken(t, other, "a", held.Token)
				held = granted(t, soon, w)
			}
		})
	}
}

// A renewal that came before its lease was confirmed, as from another process of
// the same owner, is not taken back by that.
func TestRenewalBeforeTheConfirmationStays(t *testing.T) {
	for name, mode := range map[string]locks.Mode{"exclusive": locks.Exclusive, "shared": locks.Shared} {
		for _, ttl := range []time.Duration{time.Hour, locks.NoExpiry} {
			t.Run(name+" "+ttl.String(), func(t *testing.T) {
				t.Parallel()
				s := redistest.Start(t)
				p := redistest.NewProxy(t, s.Addr)
				deaf, other := open(t, p.URL(), 0), open(t, s.URL(), 0)
				held := acquire(t, other, request("a", ""))
				w := waits(t, deaf, locks.AcquireRequest{ID: "a", Owner: "me", Mode: mode, TTL: 10 * time.Second})
				p.Mute(true)
				releaseToken(t, other, "a", held.Token)
				if _, err := other.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Owner: "me"}, TTL: ttl}); err != nil {
					t.Fatal(err)
				}
				granted(t, soon, w)
				if left := info(t, other, "a").Holders[0].TTL; left != ttl && left < 59*time.Minute {
					t.Errorf("%v are left after the confirmation", left)
				}
			})
		}
	}
}

func TestOneAnswerThatNeverComesCostsNoTurn(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	e, other := open(t, p.URL(), 10*time.Second), open(t, s.URL(), 0)
	held := acquire(t, other, request("a", ""))
	first, second := waits(t, e, request("a", "")), waits(t, other, request("a", ""))
	p.HoldReplies(1) // the next one is that of e's tending
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n := info(t, other, "a").Waiters; n != 2 {
			t.Fatalf("%d requests wait, want 2", n)
		}
	}
	releaseToken(t, other, "a", held.Token)
	granted(t, soon, first)
	stillWaits(t, second)
}

// Nobody could say that he lives while the server stood still. So nobody loses
// his place for it, whoever comes first afterwards.
func TestStandstillCostsNoTurn(t *testing.T) {
	for name, waiting := range map[string]bool{"first comes who waits himself": true, "first comes who does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			a, b, c := open(t, s.URL(), 0), open(t, s.URL(), 0), open(t, s.URL(), 20*time.Second)
			held := acquire(t, c, request("a", ""))
			first, second := waits(t, a, request("a", "")), waits(t, b, request("a", ""))
			if waiting {
				waits(t, c, request("a", ""))
			}
			s.Pause()
			time.Sleep(3500 * time.Millisecond) // for longer than candados may be silent
			released := make(chan error, 1)
			go func() {
				_, err := c.Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}})
				released <- err
			}()
			time.Sleep(50 * time.Millisecond) // it waits in the server's socket
			s.Resume()
			if err := <-released; err != nil {
				t.Fatal(err)
			}
			if lease, err := c.Acquire(context.Background(), request("a", "")); err == nil {
				t.Fatalf("a newcomer was granted token %d", lease.Token)
			}
			lease := granted(t, soon, first)
			stillWaits(t, second)
			releaseToken(t, c, "a", lease.Token)
			granted(t, soon, second)
		})
	}
}

func TestLostSubscriptionCostsNoTurn(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	e, other := open(t, p.URL(), 0), open(t, s.URL(), 0)
	for range 5 {
		held := acquire(t, other, request("a", ""))
		first, second := waits(t, e, request("a", "")), waits(t, other, request("a", ""))
		p.CutAll()
		releaseToken(t, other, "a", held.Token)
		held = granted(t, soon, first)
		stillWaits(t, second)
		releaseToken(t, other, "a", held.Token)
		releaseToken(t, other, "a", granted(t, soon, second).Token)
	}
}

// The requests of a candado that fell silent are taken out wherever they stand,
// also if there are more of them than one script looks at.
func TestSilentCandadosRequestsAreTakenOut(t *testing.T) {
	const n = 600
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	silent, alive := open(t, p.URL(), 4*time.Second), open(t, s.URL(), 0)
	acquire(t, alive, request("a", ""))
	waits(t, alive, request("a", ""))
	for range n {
		go func() {
			req := request("a", "")
			req.Wait = locks.Forever
			_, _ = silent.Acquire(context.Background(), req)
		}()
	}
	eventually(t, "all wait", func() bool { return info(t, alive, "a").Waiters == n+1 })
	waits(t, alive, request("a", ""))
	p.Freeze()
	eventually(t, "those of the silent one are out", func() bool { return info(t, alive, "a").Waiters == 2 })
}

func TestWaitingEndsWhereTheServerRefuses(t *testing.T) {
	s := redistest.Start(t)
	master := redistest.Start(t)
	e := open(t, s.URL(), time.Second)
	held := acquire(t, e, request("a", ""))
	w := waits(t, e, request("a", ""))
	host, port := master.HostPort()
	s.Do("REPLICAOF " + host + " " + port)
	req := request("a", "")
	req.Wait = locks.Forever
	if _, err := e.Acquire(context.Background(), req); !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("a request to wait at a replica: %v", err)
	}
	s.Do("REPLICAOF NO ONE") // its data are the master's now, which are none, or still its own
	_, _ = e.Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}})
	granted(t, soon, w)
}
