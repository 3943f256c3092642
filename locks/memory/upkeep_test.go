package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// What the engine does when nobody asks it, what it costs, and how it bears a
// crowd.

func acquire(tb testing.TB, e *memory.Engine, req locks.AcquireRequest) locks.Lease {
	tb.Helper()
	lease, err := e.Acquire(context.Background(), req)
	if err != nil {
		tb.Fatalf("acquiring %q: %v", req.ID, err)
	}
	return lease
}

func ids(n int) []locks.ID {
	all := make([]locks.ID, n)
	for i := range all {
		all[i] = locks.ID(fmt.Sprintf("lock/%08d", i))
	}
	return all
}

// heapInUse returns the bytes that live objects take.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestExpiredLeaseIsGoneWithin100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memory.New(memory.Options{})
		defer e.Close()
		for i := range 100 {
			id := locks.ID(fmt.Sprint(i))
			ttl := time.Duration(1+i*7) * time.Millisecond
			acquire(t, e, locks.AcquireRequest{ID: id, TTL: ttl})
			time.Sleep(ttl - 1)
			if held := e.Held(); held != 1 {
				t.Fatalf("%d locks are held just before the expiry, want 1", held)
			}
			time.Sleep(100 * time.Millisecond)
			if held := e.Held(); held != 0 {
				t.Fatalf("%d locks are held 100 ms after the expiry, want 0", held)
			}
		}
	})
}

func TestHeldCountsLocksNotLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memory.New(memory.Options{})
		defer e.Close()
		want := func(n int) {
			t.Helper()
			if e.Held() != n {
				t.Fatalf("%d locks are held, want %d", e.Held(), n)
			}
		}
		for range 5 {
			acquire(t, e, locks.AcquireRequest{ID: "shared", Mode: locks.Shared, TTL: time.Second})
		}
		want(1)
		acquire(t, e, locks.AcquireRequest{ID: "forever", TTL: locks.NoExpiry})
		want(2)
		_, _ = e.Info(t.Context(), "unknown")
		_, _ = e.Acquire(t.Context(), locks.AcquireRequest{ID: "forever", TTL: time.Second})
		want(2)
		time.Sleep(time.Minute)
		want(1)
		_, _ = e.Release(t.Context(), locks.ReleaseRequest{ID: "forever"})
		_, _ = e.Release(t.Context(), locks.ReleaseRequest{ID: "forever"})
		want(0)
	})
}

func TestMemoryIsGivenBack(t *testing.T) {
	const n = 100_000
	names := ids(n)
	before := heapInUse()
	var e *memory.Engine
	synctest.Test(t, func(t *testing.T) {
		e = memory.New(memory.Options{})
		defer e.Close()
		for i, id := range names {
			req := locks.AcquireRequest{ID: id, Owner: locks.Owner(id), TTL: time.Duration(1+i%30_000) * time.Millisecond}
			if i%10 == 0 {
				req.ID, req.Mode = names[i%1000], locks.Shared
			}
			acquire(t, e, req)
		}
		full := heapInUse() - before
		goroutines := runtime.NumGoroutine()
		if goroutines > 50 {
			t.Errorf("%d goroutines run beside %d leases", goroutines, n)
		}
		time.Sleep(31*time.Second + locks.Retention)
		if held := e.Held(); held != 0 {
			t.Errorf("%d locks are held after all expired", held)
		}
		idle := int64(heapInUse()) - int64(before)
		t.Logf("heap: %d KiB with %d leases, %d KiB after they expired", full>>10, n, idle>>10)
		if idle > int64(full)/10 {
			t.Errorf("%d bytes of %d are kept after all leases expired", idle, full)
		}
	})
	runtime.KeepAlive(names)
}

func TestAnonymousExclusiveLockIsSmall(t *testing.T) {
	const n = 200_000
	names := ids(n)
	e := memory.New(memory.Options{})
	defer e.Close()
	before := heapInUse()
	for _, id := range names {
		acquire(t, e, locks.AcquireRequest{ID: id, TTL: time.Hour})
	}
	each := (heapInUse() - before) / n
	runtime.KeepAlive(names)
	t.Logf("%d bytes for each held lock, its ID apart", each)
	if each > 230 { // room for 16 bytes of ID below 250
		t.Errorf("a held lock takes %d bytes", each)
	}
}

func TestClosedEngineLeavesNothing(t *testing.T) {
	// The bubble fails the test if a goroutine is left.
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		e := memory.New(memory.Options{Shards: 1, Now: func() time.Time {
			asked.Add(1)
			return time.Now()
		}})
		for _, id := range ids(1000) {
			acquire(t, e, locks.AcquireRequest{ID: id, TTL: time.Second})
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		asked.Store(0)
		time.Sleep(time.Hour)
		if n := asked.Load(); n != 0 {
			t.Errorf("the closed engine read its clock %d times", n)
		}
		if held := e.Held(); held != 0 {
			t.Errorf("%d locks are held in a closed engine", held)
		}
	})
}

func TestIdleEngineSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		e := memory.New(memory.Options{Shards: 1, Now: func() time.Time {
			asked.Add(1)
			return time.Now()
		}})
		defer e.Close()
		for range 10_000 { // they end at 10 000 moments, in the same second
			acquire(t, e, locks.AcquireRequest{ID: "a", Mode: locks.Shared, TTL: time.Second})
			time.Sleep(100 * time.Microsecond)
		}
		asked.Store(0)
		time.Sleep(time.Second)
		if n := asked.Load(); n > 25 { // every 50 ms, and some room
			t.Errorf("the engine looked %d times in a second", n)
		}
		time.Sleep(2 * locks.Retention)
		asked.Store(0)
		time.Sleep(24 * time.Hour)
		if n := asked.Load(); n != 0 {
			t.Errorf("an engine without locks looked %d times", n)
		}
	})
}

func TestStoppedClockDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The timer is due just after the deadline, and the clock stops just before.
		const ttl = 999_999_999 * time.Nanosecond
		start := time.Now()
		var asked, stopped atomic.Int64
		e := memory.New(memory.Options{Shards: 1, Now: func() time.Time {
			asked.Add(1)
			return start.Add(time.Duration(stopped.Load()))
		}})
		defer e.Close()
		acquire(t, e, locks.AcquireRequest{ID: "a", TTL: ttl})
		stopped.Store(int64(ttl - 1))
		time.Sleep(2 * time.Second)
		if n := asked.Load(); n > 1010 { // every millisecond of the last second
			t.Errorf("the engine looked %d times at a clock that stands still", n)
		}
	})
}

// TestRaces lets every operation meet every other, and then wants the count of
// held locks to be right. The race detector judges the rest.
func TestRaces(t *testing.T) {
	e := memory.New(memory.Options{Shards: 3})
	defer e.Close()
	names := ids(20)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			ctx := t.Context()
			owner := locks.Owner(fmt.Sprint(g))
			for i := range 500 {
				id := names[(i*7+g)%len(names)]
				mode := locks.Mode(i % 2)
				lease, err := e.Acquire(ctx, locks.AcquireRequest{ID: id, Owner: owner, Mode: mode, TTL: time.Duration(i%3+1) * time.Millisecond})
				if err == nil {
					_, _ = e.Heartbeat(ctx, locks.HeartbeatRequest{ID: id, Claim: locks.Claim{Token: lease.Token}})
					_, _ = e.Check(ctx, id, lease.Token)
				}
				_, _ = e.Info(ctx, id)
				_, _ = e.Scan(ctx, locks.ScanRequest{Count: 5})
				if i%3 == 0 {
					_, _ = e.Release(ctx, locks.ReleaseRequest{ID: id, Claim: locks.Claim{Owner: owner}, Force: i%9 == 0})
				}
			}
		})
	}
	wg.Wait()
	for _, id := range names {
		if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: id, Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if held := e.Held(); held != 0 {
		t.Errorf("%d locks are held after all were released", held)
	}
}

// Tokens are unique over all locks, so one number can't be taken for another
// lock's lease.
func TestTokensOfAllLocksDiffer(t *testing.T) {
	clock := time.Unix(1_700_000_000, 0) // stands still: only the floor tells tokens apart
	e := memory.New(memory.Options{Now: func() time.Time { return clock }})
	defer e.Close()
	const each = 2000
	tokens := make([][]locks.Token, 8)
	var wg sync.WaitGroup
	for g := range tokens {
		wg.Go(func() {
			for i := range each {
				id := locks.ID(fmt.Sprint(g, "/", i))
				tokens[g] = append(tokens[g], acquire(t, e, locks.AcquireRequest{ID: id, TTL: time.Hour}).Token)
			}
		})
	}
	wg.Wait()
	seen := map[locks.Token]bool{}
	for _, some := range tokens {
		for _, token := range some {
			if seen[token] {
				t.Fatalf("token %d was granted twice", token)
			}
			seen[token] = true
		}
	}
}

func TestCloseMeetsOperations(t *testing.T) {
	e := memory.New(memory.Options{})
	names := ids(50)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, id := range names {
				_, _ = e.Acquire(t.Context(), locks.AcquireRequest{ID: id, TTL: time.Millisecond})
				_, _ = e.Scan(t.Context(), locks.ScanRequest{})
			}
		})
		wg.Go(func() { _ = e.Close() })
	}
	wg.Wait()
	if held := e.Held(); held != 0 {
		t.Errorf("%d locks are held in a closed engine", held)
	}
}
