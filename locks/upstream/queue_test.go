package upstream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// During a rolling update two versions meet at one server. The former kept the
// queue in :q, :n and :c.

func TestFormerQueueIsNotTakenForOne(t *testing.T) {
	s := newServer(t)
	ctx := context.Background()
	held, err := s.e.Acquire(ctx, locks.AcquireRequest{ID: "a", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	record := s.c.Get(ctx, s.e.keys.record("a")).Val()
	former := map[string]func(key string) error{
		":q": func(key string) error { return s.c.ZAdd(ctx, key, redis.Z{Score: 1, Member: one}).Err() },
		":n": func(key string) error {
			return s.c.HSet(ctx, key, "n"+one, strings.Repeat("\x01", 11)+"0123456789abcdef").Err()
		},
		":c": func(key string) error { return s.c.ZAdd(ctx, key, redis.Z{Score: 1, Member: "0123456789abcdef"}).Err() },
	}
	for name, put := range former {
		if err := put(s.e.keys.record("a") + name); err != nil {
			t.Fatal(err)
		}
	}
	queued := string(record[0]|8) + record[1:]
	s.c.SetArgs(ctx, s.e.keys.record("a"), queued, redis.SetArgs{KeepTTL: true})
	if i, err := s.e.Info(ctx, "a"); err != nil || i.Waiters != 0 || len(i.Holders) != 1 {
		t.Fatalf("%+v, %v; want a holder and nobody who waits", i, err)
	}
	if r, err := s.e.Release(ctx, locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}}); err != nil || r.Ended != 1 || r.Held {
		t.Fatalf("releasing: %+v, %v", r, err)
	}
	lease, err := s.e.Acquire(ctx, locks.AcquireRequest{ID: "a", TTL: time.Minute})
	if err != nil || lease.Token <= held.Token {
		t.Fatalf("token %d follows %d, %v", lease.Token, held.Token, err)
	}
}

// The former version takes a record with a pending lease for a foreign value, and
// says so, rather than to take the lease for over.
func TestPendingRecordIsOfALaterFormat(t *testing.T) {
	e, _, release := stoodBy(t, time.Minute)
	release()
	raw, err := e.client.Get(t.Context(), e.keys.record("a")).Result()
	if err != nil || raw[0] <= 0x4f {
		t.Errorf("the record begins with %#x, %v; the former version refuses what is above 0x4f", raw[0], err)
	}
}

// A pending lease is over at its provisional end, unless its entry was taken out.
// Who looks then decides it for good.
func TestWhoLooksAtAPendingLeaseDecides(t *testing.T) {
	looks := map[string]func(e *Engine) error{
		"check": func(e *Engine) error { _, err := e.Check(context.Background(), "a", 1); return err },
		"info":  func(e *Engine) error { _, err := e.Info(context.Background(), "a"); return err },
		"acquire": func(e *Engine) error {
			_, err := e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", TTL: time.Minute})
			return err
		},
		"heartbeat": func(e *Engine) error {
			_, err := e.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Token: 1}})
			return err
		},
		"release": func(e *Engine) error {
			_, err := e.Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: 1}})
			return err
		},
		"tend": func(e *Engine) error {
			c := e.tendCall(visit{&room{id: "a"}, nil})
			e.sendAlone(context.Background(), c)
			return c.err
		},
	}
	for name, look := range looks {
		for _, heard := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := redistest.StartWithClock(t)
				e, w, release := stoodByAt(t, s, time.Minute)
				release()
				what := <-w.news
				take := func() int64 {
					return e.client.ZRem(t.Context(), e.keys.record("a")+queueKey, w.entry.Of(e.waiting.self)).Val()
				}
				if heard && take() != 1 {
					t.Fatal("the entry is not there")
				}
				s.SetClock(5 * time.Second)
				if err := look(e); err != nil && !errors.Is(err, locks.ErrHeld) && !errors.Is(err, locks.ErrNotOwner) {
					t.Fatal(err)
				}
				if late := take(); late != 0 {
					t.Error("the entry is there after somebody has looked")
				}
				if live, err := e.Check(t.Context(), "a", locks.Token(what.token)); err != nil || live != heard {
					t.Errorf("the lease lives: %v, %v; want %v", live, err, heard)
				}
				if page, err := e.Scan(t.Context(), locks.ScanRequest{Count: 1000}); err != nil || len(page.IDs) == 1 != (heard || name == "acquire") {
					t.Errorf("scan finds %v, %v", page.IDs, err)
				}
			})
		}
	}
}

// What comes late can take out only the entry that it is for.
func TestWhoComesBackHasAnotherEntry(t *testing.T) {
	e, w, _ := stoodBy(t, time.Minute)
	first := w.entry.Of(e.waiting.self)
	if err := e.client.Del(t.Context(), e.keys.record("a")+queueKey).Err(); err != nil {
		t.Fatal(err)
	}
	if _, ended, err := e.enter(t.Context(), w); ended || err != nil {
		t.Fatalf("coming back: %v, %v", ended, err)
	}
	if n := e.client.ZRem(t.Context(), e.keys.record("a")+queueKey, first).Val(); n != 0 {
		t.Error("the entry is the one from before")
	}
	if e.prompt(w, news{newsGranted, 1, e.clock.at(time.Now()) + provisional.Microseconds()}) {
		t.Error("its grant would be confirmed by taking that out")
	}
}

func TestCopyOfARequestKeepsThePlace(t *testing.T) {
	for _, owner := range []locks.Owner{"", "me"} {
		e, _, _ := stoodBy(t, time.Minute)
		var reqs []*call
		var places []int64
		enter := func(c *call) int64 {
			t.Helper()
			r, err := e.ask(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			_, place, err := e.acquired(c.req, r)
			if err != nil || place == 0 {
				t.Fatalf("the request is at the place %d, %v", place, err)
			}
			return place
		}
		for range 3 {
			req := locks.AcquireRequest{ID: "a", Owner: owner, TTL: time.Minute}
			c := e.acquireCall(req, entryOf(req), 0)
			reqs, places, owner = append(reqs, c), append(places, enter(c)), ""
		}
		for i, c := range reqs {
			if place := enter(e.acquireCall(c.req, c.entry, 0)); place != places[i] {
				t.Errorf("a copy of request %d is at the place %d, the first was at %d", i, place, places[i])
			}
		}
		if i, err := e.Info(t.Context(), "a"); err != nil || i.Waiters != 4 {
			t.Errorf("%d requests wait, %v; want 4", i.Waiters, err)
		}
	}
}

// A lock that two pass to and fro is tended seldom, if ever: nobody waits for a
// second.
func TestQueueThatIsInUseDoesNotExpire(t *testing.T) {
	s := redistest.StartWithClock(t)
	e, _, _ := stoodByAt(t, s, time.Minute)
	for at := time.Second; at < 2*time.Minute; at += time.Second {
		s.SetClock(at)
		req := locks.AcquireRequest{ID: "a", TTL: time.Minute}
		if r, err := e.ask(t.Context(), e.acquireCall(req, entryOf(req), 0)); err != nil || r.status != statusWaits && at < time.Minute {
			t.Fatalf("after %v: %+v, %v", at, r, err)
		}
		if left := e.client.PTTL(t.Context(), e.keys.record("a")+queueKey).Val(); left < 30*time.Second {
			t.Fatalf("after %v the queue lasts for %v", at, left)
		}
	}
}
