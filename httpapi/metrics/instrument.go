package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/goodjobtech/candado/locks"
)

// Instrument returns an engine that passes everything on to e, and counts and
// times it here. Where e has a method Held() int, so has the result.
func (m *Metrics) Instrument(e locks.Engine) locks.Engine {
	i := &instrumented{
		Engine:    e,
		made:      time.Now(),
		upstream:  m.upstream,
		acquire:   m.meter("acquire"),
		wait:      m.meter("wait"),
		release:   m.meter("release"),
		heartbeat: m.meter("heartbeat"),
		check:     m.meter("check"),
		info:      m.meter("info"),
		scan:      m.meter("scan"),
		ready:     m.meter("ready"),
	}
	if h, ok := e.(holder); ok {
		return instrumentedHolder{i, h}
	}
	return i
}

// holder is what an engine that counts its held locks is, besides an Engine.
type holder interface{ Held() int }

type instrumentedHolder struct {
	*instrumented
	holder
}

// instrumented is an engine with a meter on every operation. Close passes.
type instrumented struct {
	locks.Engine
	made     time.Time
	upstream prometheus.Counter

	acquire, wait, release, heartbeat, check, info, scan, ready meter
}

// result is what an operation ended in.
type result int

const (
	resultOK result = iota
	resultHeld
	resultFree
	resultNotOwner
	resultMode
	resultBusy
	resultAbandoned // its client left, or candado stops
	resultUnavailable
	resultShutdown
	resultError
	results
)

func (r result) String() string {
	return [results]string{"ok", "held", "free", "not_owner", "mode", "busy", "abandoned", "unavailable", "shutdown", "error"}[r]
}

func resultOf(err error) result {
	switch {
	case err == nil:
		return resultOK
	case errors.Is(err, locks.ErrHeld):
		return resultHeld
	case errors.Is(err, locks.ErrNotOwner):
		return resultNotOwner
	case errors.Is(err, locks.ErrMode):
		return resultMode
	case errors.Is(err, locks.ErrBusy):
		return resultBusy
	case errors.Is(err, locks.ErrUnavailable):
		return resultUnavailable
	case errors.Is(err, locks.ErrShutdown):
		return resultShutdown
	}
	return resultError
}

// meter is one operation's metrics, looked up once.
type meter struct {
	seconds prometheus.Observer
	total   [results]prometheus.Counter
}

func (m *Metrics) meter(operation string) meter {
	mt := meter{seconds: m.seconds.WithLabelValues(operation)}
	for r := range results {
		mt.total[r] = m.operations.WithLabelValues(operation, r.String())
	}
	return mt
}

// now returns the time since i was made: of a time.Time, only the monotonic half is
// needed, and reading the other costs as much again.
func (i *instrumented) now() time.Duration { return time.Since(i.made) }

func (i *instrumented) record(m *meter, start time.Duration, r result) {
	i.count(m, i.now()-start, r)
}

func (i *instrumented) count(m *meter, took time.Duration, r result) {
	m.seconds.Observe(took.Seconds())
	m.total[r].Inc()
	if r == resultUnavailable {
		i.upstream.Inc()
	}
}

// Acquire passes the request on. One that waits is an operation of its own: its
// time says how long clients are patient, not how fast the engine is.
func (i *instrumented) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	start := i.now()
	lease, err := i.Engine.Acquire(ctx, req)
	if req.Wait == 0 {
		i.record(&i.acquire, start, resultOf(err))
		return lease, err
	}
	r := resultOf(err)
	if r == resultUnavailable && ctx.Err() != nil {
		r = resultAbandoned // which is no fault of the upstream's
	}
	i.record(&i.wait, start, r)
	return lease, err
}

// Release passes the request on.
func (i *instrumented) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	start := i.now()
	released, err := i.Engine.Release(ctx, req)
	r := resultOf(err)
	if err == nil && released.Ended == 0 {
		r = resultFree
	}
	i.record(&i.release, start, r)
	return released, err
}

// Do passes the operations on. Each counts as one, and takes the time that all take
// together: so long did whoever asked for it wait.
func (i *instrumented) Do(ctx context.Context, ops []locks.Op) {
	start := i.now()
	i.Engine.Do(ctx, ops)
	took := i.now() - start
	for n := range ops {
		op, m := &ops[n], &i.acquire
		r := resultOf(op.Err)
		switch op.Kind {
		case locks.OpRelease:
			m = &i.release
			if op.Err == nil && op.Released.Ended == 0 {
				r = resultFree
			}
		case locks.OpHeartbeat:
			m = &i.heartbeat
			if op.Err == nil && op.Lease.Token == 0 {
				r = resultFree
			}
		case locks.OpCheck:
			m = &i.check
		}
		i.count(m, took, r)
	}
}

// Heartbeat passes the request on.
func (i *instrumented) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	start := i.now()
	lease, err := i.Engine.Heartbeat(ctx, req)
	r := resultOf(err)
	if err == nil && lease.Token == 0 {
		r = resultFree
	}
	i.record(&i.heartbeat, start, r)
	return lease, err
}

// Check passes the request on.
func (i *instrumented) Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error) {
	start := i.now()
	live, err := i.Engine.Check(ctx, id, token)
	i.record(&i.check, start, resultOf(err))
	return live, err
}

// Info passes the request on.
func (i *instrumented) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	start := i.now()
	info, err := i.Engine.Info(ctx, id)
	i.record(&i.info, start, resultOf(err))
	return info, err
}

// Scan passes the request on.
func (i *instrumented) Scan(ctx context.Context, req locks.ScanRequest) (locks.Scanned, error) {
	start := i.now()
	scanned, err := i.Engine.Scan(ctx, req)
	i.record(&i.scan, start, resultOf(err))
	return scanned, err
}

// Ready passes the request on.
func (i *instrumented) Ready(ctx context.Context) error {
	start := i.now()
	err := i.Engine.Ready(ctx)
	i.record(&i.ready, start, resultOf(err))
	return err
}
