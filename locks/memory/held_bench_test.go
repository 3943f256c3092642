package memory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// heldID returns the ID of the nth lock: 20 bytes, as long as IDs often are.
func heldID(n int) locks.ID { return locks.ID(fmt.Sprintf("lock:%015d", n)) }

// liveHeap returns how much memory is in use that is still referred to.
func liveHeap() float64 {
	runtime.GC()
	runtime.GC() // what the first has found unused is gone
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// holdMany holds n locks.
func holdMany(b *testing.B, e *memory.Engine, n int) {
	for i := range n {
		acquire(b, e, locks.AcquireRequest{ID: heldID(i), TTL: time.Hour})
	}
}

// shuffled returns the IDs of some of the n locks, in no order.
func shuffled(n int) []locks.ID {
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]locks.ID, min(n, 100_000))
	for i, j := range r.Perm(n)[:len(ids)] {
		ids[i] = heldID(j)
	}
	return ids
}

var decades = []int{1_000, 10_000, 100_000, 1_000_000}

// What a held lock takes, its ID included, as B/lock. An iteration is the
// acquisition of them all.
func BenchmarkHeldMemory(b *testing.B) {
	for _, n := range decades {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var bytes float64
			for b.Loop() {
				b.StopTimer()
				before := liveHeap()
				b.StartTimer()
				e := memory.New(memory.Options{})
				holdMany(b, e, n)
				b.StopTimer()
				bytes = (liveHeap() - before) / float64(n)
				_ = e.Close()
				b.StartTimer()
			}
			b.ReportMetric(bytes, "B/lock")
		})
	}
}

// What an operation costs beside ever more held locks. It ought to stay about
// the same; but a lock that was not touched for long is not in the processor's
// caches.
func BenchmarkAmongHeld(b *testing.B) {
	for _, n := range decades {
		e := memory.New(memory.Options{})
		holdMany(b, e, n)
		ctx := context.Background()
		ids, i := shuffled(n), 0
		next := func() locks.ID {
			i = (i + 1) % len(ids)
			return ids[i]
		}
		b.Run(fmt.Sprint("heartbeat/", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if lease, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: next()}); err != nil || lease.Token == 0 {
					b.Fatal(lease, err)
				}
			}
		})
		b.Run(fmt.Sprint("release+acquire/", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				id := next()
				if released, err := e.Release(ctx, locks.ReleaseRequest{ID: id}); err != nil || released.Ended != 1 {
					b.Fatal(released, err)
				}
				acquire(b, e, locks.AcquireRequest{ID: id, TTL: time.Hour})
			}
		})
		_ = e.Close()
	}
}

// Renewals of different locks, in parallel.
func BenchmarkHeartbeatParallel(b *testing.B) {
	const n = 10_000
	e := memory.New(memory.Options{})
	defer e.Close()
	holdMany(b, e, n)
	ids := shuffled(n)
	ctx := context.Background()
	var workers atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := int(workers.Add(1)) * len(ids) / 7
		for pb.Next() {
			i++
			if lease, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: ids[i%len(ids)]}); err != nil || lease.Token == 0 {
				b.Error(lease, err)
				return
			}
		}
	})
}

// One lock goes from hand to hand between the benchmark and one who waits: two
// hand-overs in each iteration.
func BenchmarkHandOverByOwner(b *testing.B) {
	e := memory.New(memory.Options{})
	defer e.Close()
	ctx := context.Background()
	take := func(owner locks.Owner) error {
		_, err := e.Acquire(ctx, locks.AcquireRequest{ID: "a", Owner: owner, TTL: time.Hour, Wait: locks.Forever})
		return err
	}
	give := func(owner locks.Owner) error {
		released, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Owner: owner}})
		if err == nil && released.Ended != 1 {
			err = errors.New("it was not held")
		}
		return err
	}
	if err := take("x"); err != nil {
		b.Fatal(err)
	}
	turns, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for range turns {
			if err = errors.Join(take("y"), give("y")); err != nil {
				break
			}
		}
		ended <- err
	}()
	b.ReportAllocs()
	for b.Loop() {
		turns <- struct{}{}
		for waiters(e, "a") == 0 { // until y waits, so that it is a hand-over
			runtime.Gosched()
		}
		if err := errors.Join(give("x"), take("x")); err != nil {
			b.Fatal(err)
		}
	}
	close(turns)
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
