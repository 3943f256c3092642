package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// behindProxy returns an engine that reaches its server through a proxy, and
// one that reaches it directly.
func behindProxy(t *testing.T, timeout time.Duration) (*redistest.Server, *redistest.Proxy, locks.Engine, locks.Engine) {
	t.Helper()
	s := redistest.Start(t)
	p, e, direct := before(t, s, timeout)
	return s, p, e, direct
}

// before is behindProxy for a server that is there already.
func before(t *testing.T, s *redistest.Server, timeout time.Duration) (*redistest.Proxy, locks.Engine, locks.Engine) {
	t.Helper()
	p := redistest.NewProxy(t, s.Addr)
	e, direct := open(t, p.URL(), timeout), open(t, s.URL(), 0)
	// So that the next reply is the one that counts: the server knows the scripts, the engine the server's clock.
	for name, do := range operations(direct, "warm-up") {
		if err := do(); err != nil && !errors.Is(err, locks.ErrHeld) && !errors.Is(err, locks.ErrNotOwner) && !errors.Is(err, locks.ErrMode) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	eventually(t, "the engine is answered", func() bool { // it may have little time
		_, err := e.Check(context.Background(), "warm-up", 1)
		return err == nil
	})
	return p, e, direct
}

func TestResentAcquireReturnsTheFirstToken(t *testing.T) {
	for name, req := range map[string]locks.AcquireRequest{
		"anonymous": request("a", ""), "owned": request("b", "me"),
		"shared": shared("c", ""), "shared and owned": shared("d", "me"),
		"limited": {ID: "e", Mode: locks.Shared, Limit: 1, TTL: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			_, p, e, direct := behindProxy(t, 0)
			var seen locks.Info
			p.LoseReplies(2, func() { seen = info(t, direct, req.ID) })
			lease := acquire(t, e, req)
			if len(seen.Holders) != 1 || seen.Holders[0].Token != lease.Token {
				t.Errorf("the first execution made %+v, the re-send returned %+v", seen.Holders, lease)
			}
			if now := info(t, direct, req.ID); len(now.Holders) != 1 {
				t.Errorf("holders after the re-send: %+v", now.Holders)
			}
		})
	}
}

func TestResentAcquireOfAnEndedLeaseIsNotGrantedAgain(t *testing.T) {
	for _, req := range []locks.AcquireRequest{request("a", ""), shared("b", "")} {
		_, p, e, direct := behindProxy(t, 0)
		p.LoseReplies(1, func() {
			if _, err := direct.Release(context.Background(), locks.ReleaseRequest{ID: req.ID, Force: true}); err != nil {
				t.Error(err)
			}
		})
		lease := acquire(t, e, req)
		if i := info(t, direct, req.ID); i.Held() || i.LastToken != lease.Token {
			t.Errorf("after force and re-send: %+v, returned %+v", i, lease)
		}
	}
}

func TestResentReleaseEndsNothingElseAndReturnsTheFirstReply(t *testing.T) {
	type release struct {
		name  string
		setup []locks.AcquireRequest
		req   locks.ReleaseRequest
		ended int
	}
	for _, c := range []release{
		{"bare", []locks.AcquireRequest{request("a", "")}, locks.ReleaseRequest{ID: "a"}, 1},
		{"owner", []locks.AcquireRequest{request("a", "me")}, locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Owner: "me"}}, 1},
		{"force", []locks.AcquireRequest{request("a", "me")}, locks.ReleaseRequest{ID: "a", Force: true}, 1},
		{"force shared", []locks.AcquireRequest{shared("a", "x"), shared("a", "y")}, locks.ReleaseRequest{ID: "a", Force: true}, 2},
		{"one of several", []locks.AcquireRequest{shared("a", ""), shared("a", "")}, locks.ReleaseRequest{ID: "a"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, p, e, direct := behindProxy(t, 0)
			for _, req := range c.setup {
				acquire(t, direct, req)
			}
			var next locks.Lease
			p.LoseReplies(1, func() {
				// The same caller could be the next holder: what was released must not be released twice.
				if c.ended == len(c.setup) {
					next = acquire(t, direct, c.setup[0])
				}
			})
			got, err := e.Release(context.Background(), c.req)
			if err != nil || got.Ended != c.ended {
				t.Fatalf("release: %+v, %v; want %d ended", got, err, c.ended)
			}
			if next.Token != 0 {
				if live, err := direct.Check(context.Background(), "a", next.Token); err != nil || !live {
					t.Errorf("the next holder's lease: live %v, %v", live, err)
				}
			} else if left := info(t, direct, "a"); len(left.Holders) != len(c.setup)-c.ended {
				t.Errorf("left: %+v", left.Holders)
			}
		})
	}
}

func TestBareHeartbeatIsNotResent(t *testing.T) {
	_, p, e, direct := behindProxy(t, 0)
	acquire(t, direct, request("a", ""))
	p.LoseReplies(1, nil)
	if _, err := e.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a"}); !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("bare heartbeat with a lost reply: %v, want ErrUnavailable", err)
	}
	p.LoseReplies(1, nil)
	claim := locks.Claim{Token: info(t, direct, "a").LastToken}
	if _, err := e.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a", Claim: claim}); err != nil {
		t.Errorf("heartbeat by token with a lost reply: %v", err)
	}
}

func TestIdleConnectionsThatDiedAreNoError(t *testing.T) {
	_, p, e, _ := behindProxy(t, 0)
	for range 3 {
		p.CutAll()
		acquire(t, e, request("a", "me"))
	}
}

func TestUnansweredAcquireIsUndone(t *testing.T) {
	for name, req := range map[string]locks.AcquireRequest{
		"anonymous": request("a", ""), "owned": request("b", "me"), "shared": shared("c", "me"),
	} {
		t.Run(name, func(t *testing.T) {
			_, p, e, direct := behindProxy(t, 500*time.Millisecond)
			p.HoldReplies(1)
			if _, err := e.Acquire(context.Background(), req); !errors.Is(err, locks.ErrUnavailable) {
				t.Fatalf("acquire without an answer: %v", err)
			}
			eventually(t, "the lease is undone", func() bool { return !info(t, direct, req.ID).Held() })
		})
	}
}

func TestUnansweredAcquireIsKeptIfItsOwnerAskedAgain(t *testing.T) {
	for _, req := range []locks.AcquireRequest{request("a", "me"), shared("b", "me")} {
		_, p, e, direct := behindProxy(t, 500*time.Millisecond)
		p.HoldReplies(1)
		if _, err := e.Acquire(context.Background(), req); !errors.Is(err, locks.ErrUnavailable) {
			t.Fatalf("acquire without an answer: %v", err)
		}
		lease := acquire(t, direct, req) // through another candado, which knows of no doubt
		settled(t, e)
		if live, err := direct.Check(context.Background(), req.ID, lease.Token); err != nil || !live {
			t.Errorf("%s: live %v, %v", req.ID, live, err)
		}
	}
}

func TestUnansweredRenewalLeavesTheLease(t *testing.T) {
	for _, req := range []locks.AcquireRequest{request("a", "me"), shared("b", "me")} {
		_, p, e, direct := behindProxy(t, 500*time.Millisecond)
		lease := acquire(t, e, req)
		p.HoldReplies(1)
		if _, err := e.Acquire(context.Background(), req); !errors.Is(err, locks.ErrUnavailable) {
			t.Fatalf("acquire without an answer: %v", err)
		}
		settled(t, e)
		if live, err := direct.Check(context.Background(), req.ID, lease.Token); err != nil || !live {
			t.Errorf("%s: live %v, %v", req.ID, live, err)
		}
	}
}

func TestRepeatedUnansweredAcquiresAreUndone(t *testing.T) {
	for _, req := range []locks.AcquireRequest{request("a", "me"), shared("b", "me")} {
		_, p, e, direct := behindProxy(t, 300*time.Millisecond)
		// The replies of the acquires and of the undo between them: all are lost.
		p.HoldReplies(1000)
		for range 3 {
			if _, err := e.Acquire(context.Background(), req); !errors.Is(err, locks.ErrUnavailable) {
				t.Fatalf("acquire without an answer: %v", err)
			}
		}
		p.HoldReplies(0)
		eventually(t, "the lease is undone", func() bool { return !info(t, direct, req.ID).Held() })
	}
}

// A record remembers one release. Where another came between the two copies of
// a request, the second must not guess.
func TestResentReleaseThatMetOthersEndsNothing(t *testing.T) {
	ctx := context.Background()
	for name, req := range map[string]locks.ReleaseRequest{
		"bare": {ID: "a"}, "owner": {ID: "a", Claim: locks.Claim{Owner: "me"}}, "force": {ID: "a", Force: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, p, e, direct := behindProxy(t, 0)
			acquire(t, direct, request("a", req.Claim.Owner))
			var stranger locks.Lease
			p.LoseReplies(1, func() {
				acquire(t, direct, request("a", "between"))
				if _, err := direct.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Millisecond) // what is estimated is told apart by the millisecond
				stranger = acquire(t, direct, request("a", req.Claim.Owner))
			})
			if _, err := e.Release(ctx, req); !errors.Is(err, locks.ErrUnavailable) {
				t.Errorf("release: %v, want ErrUnavailable", err)
			}
			if live, err := direct.Check(ctx, "a", stranger.Token); err != nil || !live {
				t.Errorf("the stranger's lease: live %v, %v", live, err)
			}
		})
	}
	for name, req := range map[string]locks.ReleaseRequest{
		"bare": {ID: "a"}, "owner": {ID: "a", Claim: locks.Claim{Owner: "me"}}, "force": {ID: "a", Force: true},
	} {
		for _, mine := range []locks.AcquireRequest{request("a", req.Claim.Owner), shared("a", req.Claim.Owner)} {
			t.Run(fmt.Sprint(name, " of ", mine.Mode, " then free"), func(t *testing.T) {
				_, p, e, direct := behindProxy(t, 0)
				acquire(t, direct, mine)
				p.LoseReplies(1, func() {
					acquire(t, direct, request("a", "between"))
					if _, err := direct.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
						t.Error(err)
					}
				})
				// Not that the lock was free: the holder would take the lease for lost before.
				if r, err := e.Release(ctx, req); !errors.Is(err, locks.ErrUnavailable) {
					t.Errorf("release: %+v, %v, want ErrUnavailable", r, err)
				}
				if r, err := e.Release(ctx, req); err != nil || r.Ended != 0 {
					t.Errorf("release once more: %+v, %v", r, err)
				}
			})
		}
	}
	t.Run("shared", func(t *testing.T) {
		_, p, e, direct := behindProxy(t, 0)
		for range 5 {
			acquire(t, direct, shared("a", ""))
		}
		p.LoseReplies(1, func() {
			if _, err := direct.Release(ctx, locks.ReleaseRequest{ID: "a"}); err != nil {
				t.Error(err)
			}
		})
		if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a"}); !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("release: %v, want ErrUnavailable", err)
		}
		if left := len(info(t, direct, "a").Holders); left != 3 {
			t.Errorf("two releases left %d of 5", left)
		}
	})
}

// Nor must it say that others have the lock, or that it is free, when it was the
// first copy that ended the lease: the holder would take it for lost before.
func TestResentReleaseByTokenThatMetOthersIsUnknown(t *testing.T) {
	ctx := context.Background()
	for name, after := range map[string]func(t *testing.T, direct locks.Engine){
		"held": func(t *testing.T, direct locks.Engine) {
			time.Sleep(2 * time.Millisecond) // what is estimated is told apart by the millisecond
			acquire(t, direct, request("a", "after"))
		},
		"held shared": func(t *testing.T, direct locks.Engine) { acquire(t, direct, shared("a", "after")) },
		"free":        func(*testing.T, locks.Engine) {},
	} {
		for _, req := range []locks.AcquireRequest{request("a", "me"), shared("a", "me")} {
			t.Run(fmt.Sprint(req.Mode, " then ", name), func(t *testing.T) {
				_, p, e, direct := behindProxy(t, 0)
				release := locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: acquire(t, direct, req).Token}}
				p.LoseReplies(1, func() {
					acquire(t, direct, request("a", "between"))
					if _, err := direct.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
						t.Error(err)
					}
					after(t, direct)
				})
				if r, err := e.Release(ctx, release); !errors.Is(err, locks.ErrUnavailable) {
					t.Errorf("release: %+v, %v, want ErrUnavailable", r, err)
				}
				if _, err := e.Release(ctx, release); err != nil && !errors.Is(err, locks.ErrNotOwner) {
					t.Errorf("release once more: %v", err)
				}
			})
		}
	}
}

// A request that waits and had to be sent twice is not in doubt, for it is there.
// The undo of a doubt would end the lease under its holder.
func TestResentRequestThatWaitsKeepsItsLease(t *testing.T) {
	for name, lose := range map[string]func(p *redistest.Proxy){
		"request lost": func(p *redistest.Proxy) { p.LoseRequests(1) },
		"reply lost":   func(p *redistest.Proxy) { p.LoseReplies(1, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			_, p, e, direct := behindProxy(t, 0)
			hold := acquire(t, direct, request("a", "holder"))
			granted(t, time.Minute, subscribed(t, e, direct))
			req := request("a", "me")
			req.TTL, req.Wait = 3*time.Second, locks.Forever // a lease so short that nothing needs to confirm it
			result := make(chan ending, 1)
			lose(p)
			go func() {
				lease, err := e.Acquire(context.Background(), req)
				result <- ending{lease, err, time.Now()}
			}()
			eventually(t, "the request waits", func() bool { return info(t, direct, "a").Waiters == 1 })
			if _, err := direct.Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: hold.Token}}); err != nil {
				t.Fatal(err)
			}
			lease := granted(t, time.Minute, result)
			settled(t, e)
			if live, err := direct.Check(context.Background(), "a", lease.Token); err != nil || !live {
				t.Errorf("the lease that was granted: live %v, %v", live, err)
			}
		})
	}
}

// subscribed has an engine wait once, on another lock, so that what is lost next
// is not its subscription.
func subscribed(t *testing.T, e, direct locks.Engine) <-chan ending {
	t.Helper()
	hold := acquire(t, direct, request("other", "holder"))
	result := waits(t, e, request("other", "me"))
	if _, err := direct.Release(context.Background(), locks.ReleaseRequest{ID: "other", Claim: locks.Claim{Token: hold.Token}}); err != nil {
		t.Fatal(err)
	}
	return result
}

func TestReleaseThatNeverRanIsResent(t *testing.T) {
	ctx := context.Background()
	for _, req := range []locks.ReleaseRequest{{ID: "a"}, {ID: "a", Claim: locks.Claim{Owner: "me"}}, {ID: "a", Force: true}} {
		s := redistest.StartWithClock(t)
		p, e, direct := before(t, s, 0)
		acquire(t, direct, request("a", req.Claim.Owner))
		// Whether a lease is older than a request is told by estimate, which may be late by the time that a reply took.
		s.SetClock(5 * time.Second)
		if err := e.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		p.LoseRequests(1)
		if got, err := e.Release(ctx, req); err != nil || got.Ended != 1 {
			t.Errorf("%+v: %+v, %v", req, got, err)
		}
	}
}

func TestCloseUndoesWhatWasUnderWay(t *testing.T) {
	_, p, e, direct := behindProxy(t, 500*time.Millisecond)
	p.HoldReplies(1)
	done := make(chan error)
	go func() {
		_, err := e.Acquire(context.Background(), request("a", ""))
		done <- err
	}()
	eventually(t, "the acquire has run", func() bool { return info(t, direct, "a").Held() })
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("acquire: %v", err)
	}
	if info(t, direct, "a").Held() {
		t.Error("an acquire that was never answered still holds")
	}
}

func TestDoubtThatCantBeUndoneHoldsUpNoOther(t *testing.T) {
	s, p, e, direct := behindProxy(t, 500*time.Millisecond)
	c, ctx := raw(t, s.Addr), context.Background()
	p.HoldReplies(1)
	bad := make(chan error)
	go func() {
		_, err := e.Acquire(ctx, request("bad", ""))
		bad <- err
	}()
	eventually(t, "the acquire has run", func() bool { return info(t, direct, "bad").Held() })
	c.Del(ctx, "candado:{bad}")
	c.RPush(ctx, "candado:{bad}", "foreign")
	if err := <-bad; !errors.Is(err, locks.ErrUnavailable) {
		t.Fatalf("acquire without an answer: %v", err)
	}
	eventually(t, "an acquire gets no answer", func() bool { // the reply that is held may be that to the bad one's undo
		p.HoldReplies(1)
		_, err := e.Acquire(ctx, request("good", "me"))
		return errors.Is(err, locks.ErrUnavailable)
	})
	eventually(t, "the good one's doubt is settled", func() bool { return e.(*upstream.Engine).OpenDoubts() == 1 })
}

func TestHeartbeatRaisesTheFloor(t *testing.T) {
	s := redistest.StartWithClock(t)
	granting, renewing := open(t, s.URL(), 0), open(t, s.URL(), 0)
	s.SetClock(time.Hour)
	lease := acquire(t, granting, request("a", "me"))
	if _, err := renewing.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Owner: "me"}}); err != nil {
		t.Fatal(err)
	}
	s.SetClock(0)
	s.Do("FLUSHALL")
	if next := acquire(t, renewing, request("a", "me")); next.Token <= lease.Token {
		t.Errorf("token %d after %d", next.Token, lease.Token)
	}
}

// The copy of a request that waits is no doubt: an undo would take the request
// out of the queue, or end the lease that its caller has been told of.
func TestResentRequestThatWaitsKeepsItsPlaceAndItsLease(t *testing.T) {
	_, p, e, direct := behindProxy(t, 0)
	held := acquire(t, direct, request("a", ""))
	first := waits(t, e, request("a", "first")) // so that the engine listens
	releaseToken(t, direct, "a", held.Token)
	held = granted(t, soon, first)
	p.LoseReplies(1, nil)
	resent, req := make(chan ending, 1), request("a", "resent")
	req.Wait = locks.Forever
	go func() {
		lease, err := e.Acquire(context.Background(), req)
		resent <- ending{lease, err, time.Now()}
	}()
	eventually(t, "the request waits", func() bool { return info(t, direct, "a").Waiters == 1 })
	behind := waits(t, direct, request("a", "behind"))
	releaseToken(t, direct, "a", held.Token)
	lease := granted(t, soon, resent)
	stillWaits(t, behind)
	settled(t, e)
	if i := info(t, direct, "a"); len(i.Holders) != 1 || i.Holders[0].Token != lease.Token {
		t.Errorf("once no doubt is open, the holders are %+v, want token %d", i.Holders, lease.Token)
	}
}
