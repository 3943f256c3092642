package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

func BenchmarkAcquireRelease(b *testing.B) {
	e := memory.New(memory.Options{})
	defer e.Close()
	ctx := context.Background()
	acquire := locks.AcquireRequest{ID: "a", TTL: locks.DefaultTTL}
	release := locks.ReleaseRequest{ID: "a"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Acquire(ctx, acquire); err != nil {
			b.Fatal(err)
		}
		if _, err := e.Release(ctx, release); err != nil {
			b.Fatal(err)
		}
	}
}

// Each goroutine has locks of its own, so they meet in shards and at the floor only.
func BenchmarkAcquireReleaseParallel(b *testing.B) {
	e := memory.New(memory.Options{})
	defer e.Close()
	ctx := context.Background()
	var workers atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		names := make([]locks.ID, 100)
		worker := workers.Add(1)
		for i := range names {
			names[i] = locks.ID(fmt.Sprint(worker, "/", i))
		}
		for i := 0; pb.Next(); i++ {
			id := names[i%len(names)]
			if _, err := e.Acquire(ctx, locks.AcquireRequest{ID: id, TTL: locks.DefaultTTL}); err != nil {
				b.Error(err)
				return
			}
			if _, err := e.Release(ctx, locks.ReleaseRequest{ID: id}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkRefused(b *testing.B) {
	e := memory.New(memory.Options{})
	defer e.Close()
	ctx := context.Background()
	acquire(b, e, locks.AcquireRequest{ID: "a", TTL: time.Hour})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Acquire(ctx, locks.AcquireRequest{ID: "a", TTL: time.Hour}); err == nil {
			b.Fatal("granted twice")
		}
	}
}

// One more shared holder beside many comes and goes.
func BenchmarkSharedAmong(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := memory.New(memory.Options{})
			defer e.Close()
			ctx := context.Background()
			for i := range n {
				acquire(b, e, locks.AcquireRequest{ID: "a", Owner: locks.Owner(fmt.Sprint(i)), Mode: locks.Shared, TTL: time.Hour})
			}
			b.ReportAllocs()
			for b.Loop() {
				acquire(b, e, locks.AcquireRequest{ID: "a", Mode: locks.Shared, TTL: time.Hour})
				if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Workers take turns on one lock: each iteration is one hand-over.
func BenchmarkHandOver(b *testing.B) {
	for _, n := range []int{2, 32, 256, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := memory.New(memory.Options{})
			defer e.Close()
			ctx := context.Background()
			var wg sync.WaitGroup
			var turns atomic.Int64
			b.ReportAllocs()
			for range n {
				wg.Go(func() {
					for turns.Add(1) <= int64(b.N) {
						lease, err := e.Acquire(ctx, locks.AcquireRequest{ID: "a", TTL: time.Hour, Wait: locks.Forever})
						if err != nil {
							b.Error(err)
							return
						}
						if _, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: lease.Token}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// One waiter more comes, and leaves, behind many.
func BenchmarkLeaveAmong(b *testing.B) {
	for _, n := range []int{0, 100, 9_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := memory.New(memory.Options{})
			acquire(b, e, locks.AcquireRequest{ID: "a", TTL: time.Hour})
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					_, _ = e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", TTL: time.Hour, Wait: locks.Forever})
				})
			}
			for waiters(e, "a") < n {
				runtime.Gosched()
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", Owner: "me", TTL: time.Hour, Wait: 1}); err == nil {
					b.Fatal("granted twice")
				}
			}
			_ = e.Close()
			wg.Wait()
		})
	}
}

func BenchmarkScanPage(b *testing.B) {
	e := memory.New(memory.Options{})
	defer e.Close()
	for _, id := range ids(100_000) {
		acquire(b, e, locks.AcquireRequest{ID: id, TTL: time.Hour})
	}
	req := locks.ScanRequest{}
	b.ReportAllocs()
	for b.Loop() {
		page, err := e.Scan(context.Background(), req)
		if err != nil {
			b.Fatal(err)
		}
		req.Cursor = page.Cursor
	}
}
