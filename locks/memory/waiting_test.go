package memory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// What waiting costs, and how it bears a crowd.

// waitInLine lets n requests wait for the lock, each behind the one before. When
// one is granted, it calls done with its number and its lease.
func waitInLine(ctx context.Context, e *memory.Engine, id locks.ID, n int, done func(i int, lease locks.Lease, err error)) {
	for i := range n {
		req := locks.AcquireRequest{ID: id, TTL: time.Hour, Wait: locks.Forever}
		if i%2 == 0 {
			req.Owner = locks.Owner(fmt.Sprint(i))
		}
		go func() {
			lease, err := e.Acquire(ctx, req)
			done(i, lease, err)
		}()
		for waiters(e, id) <= i {
			runtime.Gosched()
		}
	}
}

// crowdOnce lets n goroutines come and go: the runtime keeps what it makes for
// them, which a test is not to take for the engine's.
func crowdOnce(n int) {
	var wg sync.WaitGroup
	end := make(chan struct{})
	for range n {
		wg.Go(func() { <-end })
	}
	close(end)
	wg.Wait()
}

func waiters(e *memory.Engine, id locks.ID) int {
	info, err := e.Info(context.Background(), id)
	if err != nil {
		return -1
	}
	return info.Waiters
}

func TestTenThousandWaitersAreServedInOrder(t *testing.T) {
	const n = locks.DefaultMaxWaiters
	synctest.Test(t, func(t *testing.T) { // the bubble fails the test if a goroutine is left
		e := memory.New(memory.Options{})
		defer e.Close()
		ctx := t.Context()
		crowdOnce(n)
		before := heapInUse()
		acquire(t, e, locks.AcquireRequest{ID: "a", Owner: "holder", TTL: time.Hour})
		next, last := 0, locks.Token(0) // the lock guards them
		waitInLine(ctx, e, "a", n, func(i int, lease locks.Lease, err error) {
			if err != nil || i != next || lease.Token <= last {
				t.Errorf("waiter %d is granted token %d (error: %v), want waiter %d above %d", i, lease.Token, err, next, last)
			}
			next, last = next+1, lease.Token
			if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: lease.Token}}); err != nil {
				t.Error(err)
			}
		})
		if _, err := e.Acquire(ctx, locks.AcquireRequest{ID: "a", TTL: time.Hour, Wait: locks.Forever}); !errors.Is(err, locks.ErrBusy) {
			t.Errorf("one more waiter gets %v, want %v", err, locks.ErrBusy)
		}
		full := heapInUse() - before
		if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if next != n || e.Held() != 0 {
			t.Errorf("%d of %d waiters were served, and %d locks are held", next, n, e.Held())
		}
		idle := int64(heapInUse()) - int64(before)
		t.Logf("heap: %d KiB with %d waiters, %d KiB after they were served", full>>10, n, idle>>10)
		if idle > 1<<20 {
			t.Errorf("%d bytes are kept after all waiters were served", idle)
		}
	})
}

func TestTenThousandWaitersLeaveInAnyOrder(t *testing.T) {
	const n = locks.DefaultMaxWaiters
	synctest.Test(t, func(t *testing.T) {
		e := memory.New(memory.Options{})
		defer e.Close()
		crowdOnce(n)
		before := heapInUse()
		token := acquire(t, e, locks.AcquireRequest{ID: "a", TTL: time.Hour}).Token
		var left atomic.Int64
		leave := make([]context.CancelFunc, n)
		for i := range leave {
			ctx, cancel := context.WithCancel(t.Context())
			leave[i] = cancel
			go func() {
				if _, err := e.Acquire(ctx, locks.AcquireRequest{ID: "a", Owner: locks.Owner(fmt.Sprint(i)), TTL: time.Hour, Wait: locks.Forever}); errors.Is(err, locks.ErrUnavailable) {
					left.Add(1)
				}
			}()
		}
		synctest.Wait()
		for _, i := range rand.Perm(n) {
			leave[i]()
		}
		synctest.Wait()
		if left.Load() != n || waiters(e, "a") != 0 {
			t.Errorf("%d of %d waiters left, and %d are in the queue", left.Load(), n, waiters(e, "a"))
		}
		released, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: token}})
		if err != nil || released != (locks.Released{Ended: 1}) {
			t.Errorf("the release that nobody waits for is %+v, %v", released, err)
		}
		clear(leave)
		if idle := int64(heapInUse()) - int64(before); idle > 1<<20 {
			t.Errorf("%d bytes are kept after all waiters have left", idle)
		}
	})
}

func TestExpiryHandsOverWithin100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memory.New(memory.Options{})
		defer e.Close()
		for i := range 100 {
			id := locks.ID(fmt.Sprint(i))
			ttl := time.Duration(1+i*7) * time.Millisecond
			acquire(t, e, locks.AcquireRequest{ID: id, TTL: ttl})
			expiry := time.Now().Add(ttl)
			acquire(t, e, locks.AcquireRequest{ID: id, TTL: time.Hour, Wait: locks.Forever})
			if late := time.Since(expiry); late < 0 || late > 100*time.Millisecond {
				t.Fatalf("granted %v after the expiry", late)
			}
		}
	})
}

func TestWaitIsAsLongAsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memory.New(memory.Options{})
		defer e.Close()
		acquire(t, e, locks.AcquireRequest{ID: "a", TTL: locks.NoExpiry})
		for _, wait := range []time.Duration{1, time.Millisecond, time.Minute, 1000 * time.Hour} {
			start := time.Now()
			_, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Hour, Wait: wait})
			if waited := time.Since(start); !errors.Is(err, locks.ErrHeld) || waited != wait {
				t.Errorf("a wait of %v ends after %v with %v", wait, waited, err)
			}
		}
	})
}

// With no token left nobody can be granted anything: then nobody waits for it.
func TestWaiterWithoutATokenIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var step atomic.Int64
		e := memory.New(memory.Options{Wall: func() time.Time { return time.Now().Add(time.Duration(step.Load())) }})
		defer e.Close()
		acquire(t, e, locks.AcquireRequest{ID: "a", TTL: time.Hour})
		var told atomic.Int64
		for range 3 {
			go func() {
				if _, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Hour, Wait: locks.Forever}); errors.Is(err, locks.ErrUnavailable) {
					told.Add(1)
				}
			}()
		}
		synctest.Wait()
		step.Store(int64(290 * 365 * 24 * time.Hour)) // beyond the year 2255
		released, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a"})
		synctest.Wait()
		if err != nil || released.Held || told.Load() != 3 || waiters(e, "a") != 0 {
			t.Errorf("the release is %+v, %v; %d of 3 waiters were told; %d wait", released, err, told.Load(), waiters(e, "a"))
		}
	})
}

// TestWaitersMeetEverything lets waiting, leaving, renewing, force and expiry
// meet, and then wants nothing to be left. The race detector judges the rest.
func TestWaitersMeetEverything(t *testing.T) {
	e := memory.New(memory.Options{Shards: 2, MaxWaiters: 8})
	defer e.Close()
	names := ids(3)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				meetOnce(t, e, random, names[random.IntN(len(names))], locks.Owner(fmt.Sprint(random.IntN(12))))
			}
		})
	}
	wg.Wait()
	for _, id := range names {
		if n := waiters(e, id); n != 0 {
			t.Errorf("%d requests wait for %q after all have returned", n, id)
		}
		if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: id, Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if held := e.Held(); held != 0 {
		t.Errorf("%d locks are held after all were released", held)
	}
}

func meetOnce(t *testing.T, e *memory.Engine, random *rand.Rand, id locks.ID, owner locks.Owner) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(4000))*time.Microsecond)
	defer cancel()
	req := locks.AcquireRequest{ID: id, Owner: owner, Mode: locks.Mode(random.IntN(2)), Limit: random.IntN(3), TTL: time.Duration(1+random.IntN(3)) * time.Millisecond}
	req.Wait = []time.Duration{0, locks.Forever, time.Duration(1 + random.IntN(1000))}[random.IntN(3)]
	lease, err := e.Acquire(ctx, req)
	if err != nil {
		return
	}
	claim := locks.Claim{Token: lease.Token}
	if random.IntN(2) == 0 {
		_, _ = e.Heartbeat(t.Context(), locks.HeartbeatRequest{ID: id, Claim: claim})
	}
	_, _ = e.Release(t.Context(), locks.ReleaseRequest{ID: id, Claim: claim, Force: random.IntN(9) == 0})
}

func TestCloseMeetsWaiters(t *testing.T) {
	for range 20 {
		e := memory.New(memory.Options{})
		names := ids(5)
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				for _, id := range names { // those that get a lease keep it: only Close ends the others
					_, _ = e.Acquire(t.Context(), locks.AcquireRequest{ID: id, TTL: time.Hour, Wait: locks.Forever})
				}
			})
		}
		wg.Go(func() { _ = e.Close() })
		wg.Wait()
	}
}
