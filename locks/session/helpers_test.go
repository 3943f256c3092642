package session_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/session"
)

// engine is the embedded one, with a hook before each operation that managers
// use. A hook that returns an error keeps the operation from being done.
type engine struct {
	locks.Engine

	mu        sync.Mutex
	renews    []int // how many requests each call of Renew had
	partings  []int // how many requests each call of ReleaseAll had
	releasing int
	most      int // calls of ReleaseAll under way at the same time, at most

	away atomic.Bool // renewals and the manager's releases fail

	onAcquire      func(context.Context, locks.AcquireRequest) error
	afterGrant     func(locks.AcquireRequest)
	onRelease      func(context.Context, locks.ReleaseRequest) error
	onParting      func(context.Context, []locks.ReleaseRequest) error // of what managers release
	onHeartbeat    func(context.Context, locks.HeartbeatRequest) error
	afterHeartbeat func()
	onRenew        func(context.Context, []locks.HeartbeatRequest) error
	afterRenew     func()
}

func (e *engine) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	if e.onAcquire != nil {
		if err := e.onAcquire(ctx, req); err != nil {
			return locks.Lease{}, err
		}
	}
	lease, err := e.Engine.Acquire(context.WithoutCancel(ctx), req)
	if err == nil && e.afterGrant != nil {
		e.afterGrant(req)
	}
	return lease, err
}

func (e *engine) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	if e.onRelease != nil {
		if err := e.onRelease(ctx, req); err != nil {
			return locks.Released{}, err
		}
	}
	return e.Engine.Release(ctx, req)
}

func (e *engine) Do(ctx context.Context, ops []locks.Op) { locks.DoEach(ctx, e, ops) }

func (e *engine) ReleaseAll(ctx context.Context, reqs []locks.ReleaseRequest) []locks.ReleaseResult {
	e.mu.Lock()
	e.partings = append(e.partings, len(reqs))
	e.releasing++
	e.most = max(e.most, e.releasing)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.releasing--
		e.mu.Unlock()
	}()
	var err error
	if e.onParting != nil {
		err = e.onParting(ctx, reqs)
	}
	if e.away.Load() {
		err = down()
	}
	if err != nil {
		return slices.Repeat([]locks.ReleaseResult{{Err: err}}, len(reqs))
	}
	return e.Engine.ReleaseAll(ctx, reqs)
}

func (e *engine) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	if e.onHeartbeat != nil {
		if err := e.onHeartbeat(ctx, req); err != nil {
			return locks.Lease{}, err
		}
	}
	lease, err := e.Engine.Heartbeat(ctx, req)
	if e.afterHeartbeat != nil {
		e.afterHeartbeat()
	}
	return lease, err
}

func (e *engine) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	e.mu.Lock()
	e.renews = append(e.renews, len(reqs))
	e.mu.Unlock()
	var err error
	if e.onRenew != nil {
		err = e.onRenew(ctx, reqs)
	}
	if e.away.Load() {
		err = down()
	}
	if err != nil {
		return slices.Repeat([]locks.Renewed{{Err: err}}, len(reqs))
	}
	results := e.Engine.Renew(ctx, reqs)
	if e.afterRenew != nil {
		e.afterRenew()
	}
	return results
}

func (e *engine) calls() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]int(nil), e.renews...)
}

// hang is a hook that answers never.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return down()
}

func down() error { return fmt.Errorf("asking: %w", locks.ErrUnavailable) }

// fixture is a manager in virtual time.
type fixture struct {
	*testing.T
	engine  *engine
	manager *session.Manager

	mu   sync.Mutex
	lost []error
}

// inVirtualTime runs a test in a bubble. In the end, it closes the manager and
// checks that nothing is left of it.
func inVirtualTime(t *testing.T, o session.Options, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &engine{Engine: memory.New(memory.Options{})}
		f := &fixture{T: t, engine: e, manager: session.New(e, o)}
		test(f)
		if err := f.manager.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n := f.manager.Leases(); n != 0 {
			t.Errorf("%d leases are left", n)
		}
		_ = e.Close()
	})
}

// open begins a session whose loss is noted.
func (f *fixture) open() *session.Session {
	return f.manager.Open(func(reason error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.lost = append(f.lost, reason)
	})
}

func (f *fixture) acquire(s *session.Session, req locks.AcquireRequest) locks.Lease {
	f.Helper()
	if req.TTL == 0 {
		req.TTL = 30 * time.Second
	}
	lease, err := s.Acquire(f.Context(), req)
	if err != nil {
		f.Fatalf("acquiring %q: %v", req.ID, err)
	}
	return lease
}

// force ends a lock's leases, as somebody who has none.
func (f *fixture) force(id locks.ID) {
	f.Helper()
	if _, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: id, Force: true}); err != nil {
		f.Error(err)
	}
}

func (f *fixture) wantLive(id locks.ID, token locks.Token, want bool) {
	f.Helper()
	live, err := f.engine.Check(f.Context(), id, token)
	if err != nil || live != want {
		f.Errorf("at %v: lease %d of %q lives: %v, %v; want %v", time.Now().Format("05.000"), token, id, live, err, want)
	}
}

// wantLost says how many sessions were lost so far.
func (f *fixture) wantLost(n int) {
	f.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lost) != n || f.manager.Lost() != uint64(n) {
		f.Errorf("lost: %v and %d counted, want %d", f.lost, f.manager.Lost(), n)
	}
}

// wantLostLeases says how many leases were lost so far.
func (f *fixture) wantLostLeases(n int) {
	f.Helper()
	synctest.Wait()
	if got := f.manager.LostLeases(); got != uint64(n) {
		f.Errorf("%d leases are lost, want %d", got, n)
	}
}

func (f *fixture) held() int { return f.engine.Engine.(*memory.Engine).Held() }

func (f *fixture) wantHeld(n int) {
	f.Helper()
	synctest.Wait()
	if got := f.held(); got != n {
		f.Errorf("%d locks are held, want %d", got, n)
	}
}

// openTold begins a session, and reports whether it was lost.
func (f *fixture) openTold() (s *session.Session, lost func() bool) {
	var told atomic.Bool
	return f.manager.Open(func(error) { told.Store(true) }), func() bool {
		synctest.Wait()
		return told.Load()
	}
}

func (f *fixture) wantLeases(n int) {
	f.Helper()
	synctest.Wait()
	if got := f.manager.Leases(); got != n {
		f.Errorf("%d leases are kept, want %d", got, n)
	}
}

// ttl is what is left of the lock's only lease.
func (f *fixture) ttl(id locks.ID) time.Duration {
	f.Helper()
	info, err := f.engine.Info(f.Context(), id)
	if err != nil || len(info.Holders) != 1 {
		f.Fatalf("%+v, %v", info, err)
	}
	return info.Holders[0].TTL
}

func token(t locks.Token) locks.Claim { return locks.Claim{Token: t} }
