package lockstest

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
	"pgregory.net/rapid"
)

// embedded returns the suite of an embedded engine with a clock that stands
// still, with a fault in front if wrap is given.
func embedded(wrap func(locks.Engine) locks.Engine) Suite {
	return Suite{New: func(*testing.T) *Fixture {
		clock := NewClock(time.Unix(1_700_000_000, 0))
		var engine locks.Engine = memory.New(memory.Options{Now: clock.Now, Shards: 2})
		if wrap != nil {
			engine = wrap(engine)
		}
		return &Fixture{Engine: engine, Now: clock.Now, Advance: clock.Advance, Virtual: true, Close: func() { _ = engine.Close() }}
	}}
}

// running returns the suite of an embedded engine whose clock runs, as that of
// a server does.
func running() Suite {
	return Suite{New: func(*testing.T) *Fixture {
		engine := memory.New(memory.Options{})
		return &Fixture{Engine: engine, Now: time.Now, Advance: time.Sleep, Close: func() { _ = engine.Close() }}
	}}
}

// recorder stands in for a test that is expected to fail.
type recorder struct {
	rapid.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Name() string          { return "recorder" }
func (r *recorder) Log(...any)            {}
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Error(...any)          { r.failed = true }
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Fail()                 { r.failed = true }
func (r *recorder) Failed() bool          { return r.failed }
func (r *recorder) FailNow() {
	r.failed = true
	runtime.Goexit()
}
func (r *recorder) Fatalf(string, ...any) { r.FailNow() }
func (r *recorder) Fatal(...any)          { r.FailNow() }

// The faults. Each lives in one operation of an engine that is right otherwise.
type (
	releasesOthers struct{ locks.Engine }
	ignoresLimit   struct{ locks.Engine }
	keepsTTL       struct{ locks.Engine }
	forgetsAge     struct{ locks.Engine }
	hidesLocks     struct{ locks.Engine }
	extendsTTL     struct{ locks.Engine }
	refusesToWait  struct{ locks.Engine }
	forgetsPlaces  struct{ locks.Engine }
	doesBackwards  struct{ locks.Engine }
)

func (e releasesOthers) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	req.Force = req.Force || req.Claim.Token != 0
	return e.Engine.Release(ctx, req)
}

func (e ignoresLimit) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	req.Limit = 0
	return e.Engine.Acquire(ctx, req)
}

func (e keepsTTL) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	lease, err := e.Engine.Heartbeat(ctx, req)
	if err == nil && lease.Token != 0 && lease.Owner != "" {
		_, err = e.Engine.Acquire(ctx, locks.AcquireRequest{ID: req.ID, Owner: lease.Owner, Mode: lease.Mode, TTL: lease.TTL})
	}
	return lease, err
}

func (e forgetsAge) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	info, err := e.Engine.Info(ctx, id)
	for i := range info.Holders {
		info.Holders[i].Held = 0
	}
	return info, err
}

func (e hidesLocks) Scan(ctx context.Context, req locks.ScanRequest) (locks.Scanned, error) {
	page, err := e.Engine.Scan(ctx, req)
	page.IDs = page.IDs[:min(len(page.IDs), 1)]
	return page, err
}

func (e extendsTTL) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	asked := req.TTL
	if req.TTL > 0 {
		req.TTL += time.Millisecond
	}
	lease, err := e.Engine.Acquire(ctx, req)
	if lease.TTL > 0 {
		lease.TTL = asked
	}
	return lease, err
}

func (e refusesToWait) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	req.Wait = 0
	return e.Engine.Acquire(ctx, req)
}

// An owner that waits already should keep its place; here it waits twice.
func (e forgetsPlaces) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	if info, err := e.Engine.Info(ctx, req.ID); err == nil && info.Waiters > 0 && req.Wait != 0 && req.Owner == "x" {
		req.Owner = ""
		lease, err := e.Engine.Acquire(ctx, req)
		if err == nil {
			lease.Owner = "x"
		}
		return lease, err
	}
	return e.Engine.Acquire(ctx, req)
}

// Operations together should be done in order.
func (e doesBackwards) Do(ctx context.Context, ops []locks.Op) {
	slices.Reverse(ops)
	e.Engine.Do(ctx, ops)
	slices.Reverse(ops)
}

func TestCompareFindsFaults(t *testing.T) {
	for name, value := range map[string]string{"rapid.seed": "1", "rapid.nofailfile": "true", "rapid.shrinktime": "0s"} {
		before := flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, before) })
	}
	for _, fault := range []func(locks.Engine) locks.Engine{
		func(e locks.Engine) locks.Engine { return releasesOthers{e} },
		func(e locks.Engine) locks.Engine { return ignoresLimit{e} },
		func(e locks.Engine) locks.Engine { return keepsTTL{e} },
		func(e locks.Engine) locks.Engine { return forgetsAge{e} },
		func(e locks.Engine) locks.Engine { return hidesLocks{e} },
		func(e locks.Engine) locks.Engine { return extendsTTL{e} },
		func(e locks.Engine) locks.Engine { return refusesToWait{e} },
		func(e locks.Engine) locks.Engine { return forgetsPlaces{e} },
		func(e locks.Engine) locks.Engine { return doesBackwards{e} },
	} {
		t.Run(fmt.Sprintf("%T", fault(nil)), func(t *testing.T) {
			found := &recorder{}
			done := make(chan struct{})
			go func() { // FailNow ends the goroutine
				defer close(done)
				compare(found, t, embedded(nil), embedded(fault))
			}()
			<-done
			if !found.failed {
				t.Fatal("the fault was not found")
			}
		})
	}
}

func TestCompareFindsNoFaultInOneEngine(t *testing.T) {
	Compare(t, embedded(nil), embedded(nil))
}

func TestCompareBearsARealClock(t *testing.T) {
	Compare(t, embedded(nil), running())
}
