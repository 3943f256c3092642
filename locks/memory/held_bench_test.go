package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
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
