package upstream_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// benchIDs returns a function whose every call returns another lock's ID.
func benchIDs() func() locks.ID {
	var n atomic.Int64
	return func() locks.ID { return locks.ID(fmt.Sprintf("job:%08d", n.Add(1))) }
}

func BenchmarkAcquireRelease(b *testing.B) {
	e, id, ctx := open(b, redistest.Start(b).URL(), 0), benchIDs(), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		pair(b, ctx, e, id())
	}
}

// Many clients at the same time, as the batches serve them.
func BenchmarkAcquireReleaseParallel(b *testing.B) {
	for _, clients := range []int{10, 50, 200} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			e, id, ctx := open(b, redistest.Start(b).URL(), 0), benchIDs(), context.Background()
			b.ReportAllocs()
			b.SetParallelism((clients + 1) / 2) // times GOMAXPROCS, 2 where this was measured
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					pair(b, ctx, e, id())
				}
			})
		})
	}
}

// One client's pipeline of 16.
func BenchmarkDo(b *testing.B) {
	e, id, ctx := open(b, redistest.Start(b).URL(), 0), benchIDs(), context.Background()
	ops := make([]locks.Op, 16)
	b.ReportAllocs()
	for b.Loop() {
		for i := 0; i < len(ops); i += 2 {
			req := request(id(), "")
			ops[i] = locks.Op{Kind: locks.OpAcquire, Acquire: req}
			ops[i+1] = locks.Op{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: req.ID}}
		}
		e.Do(ctx, ops)
		for i := range ops {
			if ops[i].Err != nil {
				b.Fatal(ops[i].Err)
			}
		}
	}
}

func pair(b *testing.B, ctx context.Context, e locks.Engine, id locks.ID) {
	if _, err := e.Acquire(ctx, request(id, "")); err != nil {
		b.Error(err)
	}
	if r, err := e.Release(ctx, locks.ReleaseRequest{ID: id}); err != nil || r.Ended != 1 {
		b.Errorf("%+v, %v", r, err)
	}
}

func BenchmarkPack(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = script.Acquire{Entry: script.Entry{TTL: 30_000}}.Append(buf[:0])
	}
}

func BenchmarkLoadScripts(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		script.Load()
	}
}
