package upstream

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// These tests play requests with numbers of their own, as the server meets them
// when replies are lost.

type server struct {
	t *testing.T
	e *Engine
	c *redis.Client
}

func newServer(t *testing.T) *server {
	s := redistest.Start(t)
	e, err := Open(Options{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { _, _ = e.Close(), c.Close() })
	return &server{t, e, c}
}

func (s *server) run(op interface{ Append([]byte) []byte }) reply {
	s.t.Helper()
	c := new(call)
	c.op = op.Append(c.about(s.e, "a"))
	s.e.send(context.Background(), []*call{c})
	if c.err != nil {
		s.t.Fatal(c.err)
	}
	return c.reply
}

func (s *server) acquire(number, doubted string, mode locks.Mode, owner string) reply {
	s.t.Helper()
	op := script.Acquire{Entry: script.Entry{Number: script.Number([]byte(number)), Shared: mode == locks.Shared, TTL: 60_000, Owner: owner}}
	copy(op.Doubted[:], doubted)
	return s.run(op)
}

// undone undoes a request and wants the number of leases that ends.
func (s *server) undone(number string, want int64) {
	s.t.Helper()
	if got := s.run(script.Undo{Entry: script.Entry{Number: script.Number([]byte(number))}}).fields[0]; got != want {
		s.t.Errorf("the undo of %s ended %v leases, want %d", number, got, want)
	}
}

func (s *server) holders(want int) {
	s.t.Helper()
	info, err := s.e.Info(context.Background(), "a")
	if err != nil || len(info.Holders) != want {
		s.t.Errorf("%d holders, %v; want %d", len(info.Holders), err, want)
	}
}

const one, two, three = "number-1", "number-2", "number-3"

// eachMode runs a test on an exclusive lease, on a shared one, and on a shared one beside another.
func eachMode(t *testing.T, test func(s *server, mode locks.Mode, others int)) {
	for name, c := range map[string]struct {
		mode   locks.Mode
		others int
	}{"exclusive": {locks.Exclusive, 0}, "shared": {locks.Shared, 0}, "beside another": {locks.Shared, 1}} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			if c.others > 0 {
				s.acquire("number-0", "", locks.Shared, "other")
			}
			test(s, c.mode, c.others)
		})
	}
}

func TestUndoEndsTheLeaseOfItsRequestOnly(t *testing.T) {
	eachMode(t, func(s *server, mode locks.Mode, others int) {
		s.acquire(one, "", mode, "")
		s.undone(two, 0)
		s.holders(others + 1)
		s.undone(one, 1)
		s.holders(others)
		s.undone(one, 0)
		for _, k := range s.c.Keys(context.Background(), "*").Val() {
			if ttl := s.c.PTTL(context.Background(), k).Val(); others == 0 && ttl > locks.Retention {
				s.t.Errorf("%q of a lock that is free expires in %v", k, ttl)
			}
		}
	})
}

func TestUndoSparesALeaseThatWasRenewed(t *testing.T) {
	eachMode(t, func(s *server, mode locks.Mode, others int) {
		s.acquire(one, "", mode, "me")
		if _, err := s.e.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Owner: "me"}}); err != nil {
			s.t.Fatal(err)
		}
		s.undone(one, 0)
		s.holders(others + 1)
	})
}

func TestUndoSparesALeaseThatWasAcquiredAgain(t *testing.T) {
	eachMode(t, func(s *server, mode locks.Mode, others int) {
		s.acquire(one, "", mode, "me")
		s.acquire(two, "", mode, "me") // somebody was told of the first
		s.undone(one, 0)
		s.undone(two, 0)
		s.acquire(three, two, mode, "me") // what is confirmed stays so
		s.undone(three, 0)
		s.holders(others + 1)
	})
}

func TestUndoEndsALeaseThatNobodyWasEverToldOf(t *testing.T) {
	eachMode(t, func(s *server, mode locks.Mode, others int) {
		s.acquire(one, "", mode, "me")
		s.acquire(two, one, mode, "me")
		s.undone(one, 0)
		s.acquire(three, two, mode, "me")
		s.undone(three, 1)
		s.holders(others)
	})
}

func TestLeasesLeaveNothingInTheIndex(t *testing.T) {
	s := newServer(t)
	s.acquire("number-0", "", locks.Shared, "other")
	for _, end := range []locks.Claim{{Owner: "me"}, {}} {
		for range 3 {
			s.acquire(one, "", locks.Shared, string(end.Owner))
			s.acquire(two, "", locks.Shared, string(end.Owner))
			for range 2 {
				_, _ = s.e.Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: end})
			}
		}
	}
	s.holders(1)
	if n := s.c.HLen(context.Background(), s.e.keys.record("a")+":h").Val(); n != 3 {
		t.Errorf("the index of one owned lease has %d fields, want 3", n)
	}
	if n := s.c.Exists(context.Background(), s.e.keys.record("a")+":a").Val(); n != 0 {
		t.Error("the anonymous leases' index is left without any")
	}
}

func TestAcquiringAgainKeepsTheKeysForTheLongerLease(t *testing.T) {
	s := newServer(t)
	for _, ttl := range []time.Duration{time.Second, time.Hour} {
		if _, err := s.e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", Owner: "me", Mode: locks.Shared, TTL: ttl}); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range s.c.Keys(context.Background(), s.e.keys.record("a")+"*").Val() {
		if ttl := s.c.PTTL(context.Background(), k).Val(); ttl < time.Hour {
			t.Errorf("%q expires in %v, before its lease", k, ttl)
		}
	}
}

func TestTokensEndBelow2To53(t *testing.T) {
	s := newServer(t)
	for _, mode := range []locks.Mode{locks.Exclusive, locks.Shared} {
		s.e.floor.Store(int64(locks.MaxToken))
		if lease, err := s.e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", Mode: mode, TTL: time.Minute}); err == nil {
			t.Errorf("%v: a token was granted above the largest: %+v", mode, lease)
		}
		s.e.floor.Store(int64(locks.MaxToken) - 1)
		if lease, err := s.e.Acquire(context.Background(), locks.AcquireRequest{ID: locks.ID(mode.String()), Mode: mode, TTL: time.Minute}); err != nil || lease.Token != locks.MaxToken {
			t.Errorf("%v: %+v, %v; want the largest token", mode, lease, err)
		}
	}
}

func TestLossOfSomeKeysBringsNoLeaseBack(t *testing.T) {
	for _, lost := range []string{"", ":h", ":e", ":a"} {
		t.Run("key"+lost, func(t *testing.T) {
			s, ctx := newServer(t), context.Background()
			grant := func(mode locks.Mode, owner locks.Owner) locks.Lease {
				t.Helper()
				lease, err := s.e.Acquire(ctx, locks.AcquireRequest{ID: "a", Owner: owner, Mode: mode, TTL: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				return lease
			}
			old := grant(locks.Shared, "old")
			grant(locks.Shared, "")
			s.c.Del(ctx, s.e.keys.record("a")+lost)
			if _, err := s.e.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
				t.Fatalf("force does not heal: %v", err)
			}
			grant(locks.Exclusive, "x")
			if _, err := s.e.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
				t.Fatal(err)
			}
			last := grant(locks.Shared, "new")
			if live, err := s.e.Check(ctx, "a", old.Token); err != nil || live {
				t.Errorf("the old lease: live %v, %v", live, err)
			}
			if again := grant(locks.Shared, "old"); again.Token <= last.Token {
				t.Errorf("token %d after %d", again.Token, last.Token)
			}
			s.holders(2)
		})
	}
}

// The time that a lease granted from the queue is given at first stands in two
// places.
func TestProvisionalTimeIsTheScripts(t *testing.T) {
	if want := fmt.Sprintf("local PROVISIONAL = %d ", provisional.Microseconds()); !strings.Contains(script.Load().Batch.Source, want) {
		t.Errorf("the batch lacks %q", want)
	}
}
