package lockstest

import (
	"context"
	"runtime"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// patience is how long a case waits for what must come. It is shorter than the
// TTL long, so that no lease that a case relies on ends meanwhile.
const patience = 10 * time.Second

// waiting returns the request with a wait that only its context ends.
func waiting(req locks.AcquireRequest) locks.AcquireRequest {
	req.Wait = locks.Forever
	return req
}

// call is an Acquire that runs beside the case.
type call struct {
	req    locks.AcquireRequest
	cancel context.CancelFunc
	done   chan struct{} // closed when the call has returned
	lease  locks.Lease   // valid once done, as is err
	err    error
}

// start sends the request to the engine and does not wait for anything.
func start(ctx context.Context, engine locks.Engine, req locks.AcquireRequest) *call {
	ctx, cancel := context.WithCancel(ctx)
	c := &call{req: req, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer cancel()
		c.lease, c.err = engine.Acquire(ctx, req)
	}()
	return c
}

func (c *call) returned() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// await reports whether the call returned while patience lasted.
func (c *call) await() bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
		return false
	}
}

// eventually reports whether the condition came true while patience lasted. At
// first it only yields: virtual time then stands still.
func eventually(condition func() bool) bool {
	for range 20_000 {
		if condition() {
			return true
		}
		runtime.Gosched()
	}
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}

func (p *probe) eventually(what string, condition func() bool) {
	p.t.Helper()
	if !eventually(condition) {
		p.t.Fatalf("%s: this did not happen", what)
	}
}

// settle lets the engine do by itself what is due.
func (p *probe) settle() {
	if p.Settle != nil {
		p.Settle()
	}
}

// on returns a probe of the same case that asks another engine.
func (p *probe) on(engine locks.Engine) *probe {
	f := *p.Fixture
	f.Engine = engine
	return &probe{Fixture: &f, t: p.t, calls: p.calls}
}

// second returns a probe of the second engine, and skips the case if there is
// none.
func (p *probe) second() *probe {
	if p.Second == nil {
		p.t.Skip("there is no second engine")
	}
	return p.on(p.Second)
}

// start sends a request; the case's end also ends it.
func (p *probe) start(req locks.AcquireRequest) *call {
	c := start(p.t.Context(), p.Engine, req)
	*p.calls = append(*p.calls, c)
	return c
}

// end cancels the calls that are still under way and sees them return.
func (p *probe) end() {
	for _, c := range *p.calls {
		c.cancel()
	}
	for _, c := range *p.calls {
		if !c.await() {
			p.t.Errorf("acquiring %q: a cancelled request does not return", c.req.ID)
		}
	}
}

// wait sends a request that waits, for ever if it does not say for how long, and
// returns when it stands in the queue.
func (p *probe) wait(req locks.AcquireRequest) *call {
	p.t.Helper()
	if req.Wait == 0 {
		req = waiting(req)
	}
	before := p.info(req.ID).Waiters
	c := p.start(req)
	p.eventually("the request enters the queue", func() bool {
		return c.returned() || p.info(req.ID).Waiters > before
	})
	if c.returned() {
		p.t.Fatalf("acquiring %q: the request that should wait returns %+v, %v", req.ID, c.lease, c.err)
	}
	return c
}

// granted wants the call to return its lease, and returns the token. Time may
// not pass meanwhile: a hand-over is part of the step that makes it possible.
func (p *probe) granted(c *call) locks.Token {
	p.t.Helper()
	before := p.Now()
	if !c.await() {
		p.t.Fatalf("acquiring %q for %q: the request still waits", c.req.ID, c.req.Owner)
	}
	p.must(c.err, "acquiring", c.req.ID)
	equal(p, "the lease", c.lease, locks.Lease{Token: c.lease.Token, Owner: c.req.Owner, Mode: c.req.Mode, TTL: c.req.TTL})
	if late := p.Now().Sub(before); p.Virtual && late > 0 {
		p.t.Fatalf("acquiring %q for %q: granted %v late", c.req.ID, c.req.Owner, late)
	}
	p.live(c.req.ID, c.lease.Token, true)
	return c.lease.Token
}

// ends wants the call to return the error, and no lease.
func (p *probe) ends(c *call, want error) {
	p.t.Helper()
	if !c.await() {
		p.t.Fatalf("acquiring %q for %q: the request still waits", c.req.ID, c.req.Owner)
	}
	p.wantErr(c.err, want, "acquiring", c.req.ID)
	equal(p, "the lease of a request that failed", c.lease, locks.Lease{})
}

// leaves cancels the call and wants it to return without a lease.
func (p *probe) leaves(c *call) {
	p.t.Helper()
	c.cancel()
	p.ends(c, locks.ErrUnavailable)
}

// stillWait wants all of these calls, and no others, to stand in the lock's queue.
func (p *probe) stillWait(id locks.ID, calls ...*call) {
	p.t.Helper()
	p.settle()
	for i, c := range calls {
		if c.returned() {
			p.t.Fatalf("acquiring %q for %q: waiter %d returns %+v, %v", id, c.req.Owner, i, c.lease, c.err)
		}
	}
	equal(p, "the number of waiters", p.info(id).Waiters, len(calls))
}
