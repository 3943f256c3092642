package upstream_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

func TestEveryKeyExpires(t *testing.T) {
	s := redistest.Start(t)
	e, c, ctx := open(t, s.URL(), 0), raw(t, s.Addr), context.Background()
	check := func(after string, least, most time.Duration) {
		t.Helper()
		keys := c.Keys(ctx, "*").Val()
		if len(keys) == 0 {
			t.Errorf("after %s: no keys", after)
		}
		for _, k := range keys {
			if ttl := c.PTTL(ctx, k).Val(); ttl < least-5*time.Second || ttl > most {
				t.Errorf("after %s: %q expires in %v, want %v to %v", after, k, ttl, least, most)
			}
		}
	}
	lease := time.Minute + locks.Retention
	acquire(t, e, request("a", "x"))
	check("acquire", lease, lease)
	if _, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Owner: "x"}, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	check("heartbeat", time.Hour+locks.Retention, time.Hour+locks.Retention)
	if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
		t.Fatal(err)
	}
	check("release", locks.Retention, locks.Retention)
	acquire(t, e, shared("a", "x"))
	first := acquire(t, e, shared("a", ""))
	check("acquire shared", lease, lease)
	if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: first.Token}}); err != nil {
		t.Fatal(err)
	}
	check("release of one of two", lease, lease)
	if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
		t.Fatal(err)
	}
	check("release of all", locks.Retention, locks.Retention)
	for range 3 {
		for _, do := range operations(e, "untouched") {
			_ = do()
		}
	}
	check("everything", 0, lease)
}

func TestPersistentLeaseKeepsItsKeysUntilItEnds(t *testing.T) {
	s := redistest.Start(t)
	e, c, ctx := open(t, s.URL(), 0), raw(t, s.Addr), context.Background()
	for _, mode := range []locks.Mode{locks.Exclusive, locks.Shared} {
		id := locks.ID(mode.String())
		acquire(t, e, locks.AcquireRequest{ID: id, Owner: "x", Mode: mode, TTL: locks.NoExpiry})
		for _, k := range c.Keys(ctx, "*"+string(id)+"*").Val() {
			if ttl := c.PTTL(ctx, k).Val(); ttl != -1 {
				t.Errorf("%q expires in %v beside a lease without expiry", k, ttl)
			}
		}
		if _, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: id, Claim: locks.Claim{Owner: "x"}, TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
		for _, k := range c.Keys(ctx, "*"+string(id)+"*").Val() {
			if ttl := c.PTTL(ctx, k).Val(); ttl <= 0 {
				t.Errorf("%q has no expiry although its lease has one now", k)
			}
		}
	}
}

func TestAllKeysOfALockShareOneHashTag(t *testing.T) {
	s := redistest.Start(t)
	e, c, ctx := open(t, s.URL(), 0), raw(t, s.Addr), context.Background()
	for _, id := range []locks.ID{"plain", "}", "}{", "{", "{}", "a}b", "%", "%7D", "%25", "a{b}c", "\x00\xff\r\n", locks.ID(strings.Repeat("}", locks.MaxIDLen))} {
		s.Do("FLUSHALL")
		acquire(t, e, shared(id, ""))
		slots := map[int64]bool{}
		keys := c.Keys(ctx, "*").Val()
		for _, k := range keys {
			slots[c.ClusterKeySlot(ctx, k).Val()] = true
		}
		if len(keys) != 4 || len(slots) != 1 {
			t.Errorf("%q: keys %q in %d slots, want 4 in one", id, keys, len(slots))
		}
		if page, err := e.Scan(ctx, locks.ScanRequest{Count: 1000}); err != nil || len(page.IDs) != 1 || page.IDs[0] != id {
			t.Errorf("scan of %q: %+v, %v", id, page, err)
		}
	}
}

func TestBadOptionsAreRefusedWithoutThePassword(t *testing.T) {
	for _, o := range []upstream.Options{
		{URL: "http://user:sesame@localhost"}, {URL: "redis://user:sesame@localhost:port"}, {URL: "redis://user:sesame@%zz"},
		{URL: "redis://user:sesame@localhost/x"}, {URL: "redis://localhost", Prefix: "a{b"}, {URL: ""}, {URL: "::sesame"},
	} {
		_, err := upstream.Open(o)
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestEnginesOnOneServerHoldOneLock(t *testing.T) {
	s := redistest.Start(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	granted := 0
	for range 4 {
		e := open(t, s.URL(), 0)
		for range 25 {
			wg.Go(func() {
				if _, err := e.Acquire(context.Background(), request("a", "")); err == nil {
					mu.Lock()
					defer mu.Unlock()
					granted++
				}
			})
		}
	}
	wg.Wait()
	if granted != 1 {
		t.Errorf("%d of 100 contenders hold the lock", granted)
	}
}

// A held lock may cost 200 bytes of the server's memory, and an uncontended
// acquire 7 µs of its time. The bytes are checked; the time, which depends on the machine, is reported.
func TestUncontendedLockIsCheap(t *testing.T) {
	const n = 50_000
	s := redistest.Start(t)
	e, c, ctx := open(t, s.URL(), 0), raw(t, s.Addr), context.Background()
	acquire(t, e, request("warm-up", ""))
	before := usedMemory(t, s)
	c.ConfigResetStat(ctx)
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < n; i += 16 {
				if _, err := e.Acquire(ctx, request(locks.ID(fmt.Sprintf("job:%08d", i)), "")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	bytes := (usedMemory(t, s) - before) / n
	t.Logf("%d bytes of Redis memory for each of %d held locks; %s", bytes, n,
		c.InfoMap(ctx, "commandstats").Item("Commandstats", "cmdstat_evalsha"))
	if bytes > 200 {
		t.Errorf("%d bytes for each held lock, at most 200 are allowed", bytes)
	}
}

func usedMemory(t *testing.T, s *redistest.Server) int64 {
	t.Helper()
	n, err := strconv.ParseInt(raw(t, s.Addr).InfoMap(context.Background(), "memory").Item("Memory", "used_memory"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
