package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/goodjobtech/candado/locks"
)

// engine answers everything with one error, or with success, and takes a while.
type engine struct {
	err    error
	free   bool
	takes  time.Duration
	closed bool
}

func (e *engine) Acquire(context.Context, locks.AcquireRequest) (locks.Lease, error) {
	time.Sleep(e.takes)
	return locks.Lease{Token: 1}, e.err
}

func (e *engine) Release(context.Context, locks.ReleaseRequest) (locks.Released, error) {
	if e.free {
		return locks.Released{}, e.err
	}
	return locks.Released{Ended: 1}, e.err
}

func (e *engine) Heartbeat(context.Context, locks.HeartbeatRequest) (locks.Lease, error) {
	if e.free {
		return locks.Lease{}, e.err
	}
	return locks.Lease{Token: 2}, e.err
}

func (e *engine) Do(ctx context.Context, ops []locks.Op) { locks.DoEach(ctx, e, ops) }

func (e *engine) ReleaseAll(ctx context.Context, reqs []locks.ReleaseRequest) []locks.ReleaseResult {
	results := make([]locks.ReleaseResult, len(reqs))
	for i, req := range reqs {
		results[i].Released, results[i].Err = e.Release(ctx, req)
	}
	return results
}

func (e *engine) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	results := make([]locks.Renewed, len(reqs))
	for i, req := range reqs {
		results[i].Lease, results[i].Err = e.Heartbeat(ctx, req)
	}
	return results
}

func (e *engine) Check(context.Context, locks.ID, locks.Token) (bool, error) { return true, e.err }

func (e *engine) Info(_ context.Context, id locks.ID) (locks.Info, error) {
	return locks.Info{ID: id}, e.err
}

func (e *engine) Scan(context.Context, locks.ScanRequest) (locks.Scanned, error) {
	return locks.Scanned{Cursor: 3}, e.err
}

func (e *engine) Ready(context.Context) error { return e.err }

func (e *engine) Close() error {
	e.closed = true
	return nil
}

type counting struct{ *engine }

func (counting) Held() int { return 5 }

func text(t *testing.T, m *Metrics) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// all calls every operation once.
func all(e locks.Engine) {
	ctx := context.Background()
	_, _ = e.Acquire(ctx, locks.AcquireRequest{})
	_, _ = e.Acquire(ctx, locks.AcquireRequest{Wait: time.Second})
	_, _ = e.Release(ctx, locks.ReleaseRequest{})
	_, _ = e.Heartbeat(ctx, locks.HeartbeatRequest{})
	_, _ = e.Check(ctx, "a", 1)
	_, _ = e.Info(ctx, "a")
	_, _ = e.Scan(ctx, locks.ScanRequest{})
	_ = e.Ready(ctx)
}

func TestWaitThatTheCallerEndsIsNoUpstreamError(t *testing.T) {
	m := New(Build{})
	e := m.Instrument(&engine{err: fmt.Errorf("waiting: %w", locks.ErrUnavailable)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = e.Acquire(ctx, locks.AcquireRequest{Wait: time.Second})
	got := text(t, m)
	for _, line := range []string{
		`candado_engine_operations_total{operation="wait",result="abandoned"} 1`,
		`candado_upstream_errors_total 0`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

func TestOperationsAreCountedByResult(t *testing.T) {
	for want, e := range map[string]*engine{
		"ok":          {},
		"held":        {err: locks.ErrHeld},
		"not_owner":   {err: locks.ErrNotOwner},
		"mode":        {err: locks.ErrMode},
		"busy":        {err: locks.ErrBusy},
		"unavailable": {err: locks.ErrUnavailable},
		"shutdown":    {err: locks.ErrShutdown},
		"error":       {err: errors.New("odd")},
	} {
		if e.err != nil {
			e.err = fmt.Errorf("doing something: %w", e.err)
		}
		m := New(Build{})
		all(m.Instrument(e))
		got := text(t, m)
		for _, operation := range []string{"acquire", "wait", "release", "heartbeat", "check", "info", "scan", "ready"} {
			for _, line := range []string{
				fmt.Sprintf(`candado_engine_operations_total{operation=%q,result=%q} 1`, operation, want),
				fmt.Sprintf(`candado_engine_operation_seconds_count{operation=%q} 1`, operation),
			} {
				if !strings.Contains(got, line+"\n") {
					t.Errorf("%s: no %s", want, line)
				}
			}
		}
		upstream := "candado_upstream_errors_total 0\n"
		if want == "unavailable" {
			upstream = "candado_upstream_errors_total 8\n"
		}
		if !strings.Contains(got, upstream) {
			t.Errorf("%s: no %s", want, upstream)
		}
	}
}

func TestReleaseAndHeartbeatOfFreeLockAreCountedAsSuch(t *testing.T) {
	m := New(Build{})
	all(m.Instrument(&engine{free: true}))
	for _, operation := range []string{"release", "heartbeat"} {
		line := fmt.Sprintf("candado_engine_operations_total{operation=%q,result=\"free\"} 1\n", operation)
		if !strings.Contains(text(t, m), line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestOperationsAreTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Build{})
		_, _ = m.Instrument(&engine{takes: 30 * time.Millisecond}).Acquire(t.Context(), locks.AcquireRequest{})
		got := text(t, m)
		for _, line := range []string{
			`candado_engine_operation_seconds_bucket{operation="acquire",le="0.025"} 0`,
			`candado_engine_operation_seconds_bucket{operation="acquire",le="0.05"} 1`,
			`candado_engine_operation_seconds_sum{operation="acquire"} 0.03`,
		} {
			if !strings.Contains(got, line+"\n") {
				t.Errorf("no %s", line)
			}
		}
	})
}

func TestInstrumentedEngineGivesTheSameAnswers(t *testing.T) {
	base := &engine{err: errors.New("odd")}
	e := New(Build{}).Instrument(base)
	ctx := t.Context()
	lease, err := e.Acquire(ctx, locks.AcquireRequest{})
	if lease.Token != 1 || err != base.err {
		t.Error(lease, err)
	}
	released, err := e.Release(ctx, locks.ReleaseRequest{})
	if released.Ended != 1 || err != base.err {
		t.Error(released, err)
	}
	lease, err = e.Heartbeat(ctx, locks.HeartbeatRequest{})
	if lease.Token != 2 || err != base.err {
		t.Error(lease, err)
	}
	live, err := e.Check(ctx, "a", 1)
	if !live || err != base.err {
		t.Error(live, err)
	}
	info, err := e.Info(ctx, "a")
	if info.ID != "a" || err != base.err {
		t.Error(info, err)
	}
	scanned, err := e.Scan(ctx, locks.ScanRequest{})
	if scanned.Cursor != 3 || err != base.err {
		t.Error(scanned, err)
	}
	if err := e.Ready(ctx); err != base.err {
		t.Error(err)
	}
	if err := e.Close(); err != nil || !base.closed {
		t.Error("Close did not pass")
	}
}

func TestInstrumentHidesNoCountOfHeldLocks(t *testing.T) {
	m := New(Build{})
	if h, ok := m.Instrument(counting{&engine{}}).(interface{ Held() int }); !ok || h.Held() != 5 {
		t.Error("Held is hidden")
	}
	if _, ok := m.Instrument(&engine{}).(interface{ Held() int }); ok {
		t.Error("Held is invented")
	}
}

func TestGaugesAreAskedAtEachScrape(t *testing.T) {
	m := New(Build{Version: "1.2", Engine: "embedded", GoVersion: "go9"})
	if strings.Contains(text(t, m), "candado_engine_held_locks") {
		t.Error("held locks are reported though nobody knows them")
	}
	for _, name := range []string{"candado_upstream_unsafe", "candado_upstream_up", "candado_session_leases"} {
		if strings.Contains(text(t, m), name) {
			t.Errorf("%s is reported where there is none", name)
		}
	}
	for reason, n := range map[string]int{"clock": 1, "version": 0, "replica": -1} {
		m.Unsafe(reason, func() int { return n })
	}
	if strings.Contains(text(t, m), `reason="replica"`) {
		t.Error("what is not known is reported")
	}
	n := 3
	m.Held(func() int { return n })
	m.Up(func() int { return n - 4 })
	m.SessionLeases(func() int { return n }, func() int { return 2 * n })
	m.Connections("http", func() int { return 0 })
	m.Connections("http", func() int { return 10 * n })
	m.Connections("resp", func() int { return 100 * n })
	m.Connections("door", func() int { return 1 })
	n = 4
	got := text(t, m)
	for _, line := range []string{
		"candado_engine_held_locks 4",
		"candado_upstream_up 0",
		"# TYPE candado_session_leases gauge\ncandado_session_leases 4",
		"# TYPE candado_session_leases_lost_total counter\ncandado_session_leases_lost_total 8",
		`candado_upstream_unsafe{reason="clock"} 1`,
		`candado_upstream_unsafe{reason="version"} 0`,
		`candado_listener_connections{listener="http"} 40`,
		`candado_listener_connections{listener="resp"} 400`,
		`candado_listener_connections{listener="other"} 1`,
		`candado_build_info{engine="embedded",goversion="go9",version="1.2"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
}

func TestRefusalsHaveAClosedSetOfCodes(t *testing.T) {
	m := New(Build{})
	for range 3 {
		m.Refused("resp", "NOTOWNER")
	}
	for i := range 50 {
		m.Refused("http", fmt.Sprint("x", i))
	}
	m.Refused("door", "409")
	got := text(t, m)
	for _, line := range []string{
		`candado_listener_refusals_total{code="NOTOWNER",listener="resp"} 3`,
		`candado_listener_refusals_total{code="other",listener="http"} 50`,
		`candado_listener_refusals_total{code="409",listener="other"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if n := strings.Count(got, "\ncandado_listener_refusals_total{"); n != 3 {
		t.Errorf("%d series", n)
	}
}

func TestTextIsWellFormed(t *testing.T) {
	m := New(Build{Version: "1.2", Engine: "embedded"})
	all(m.Instrument(&engine{}))
	m.Refused("http", "404")
	m.Held(func() int { return 1 })
	m.Unsafe("clock", func() int { return 1 })
	m.Up(func() int { return 1 })
	m.SessionLeases(func() int { return 1 }, func() int { return 1 })
	m.Connections("http", func() int { return 1 })
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	ours := regexp.MustCompile(`^candado_[a-z]+_[a-z_]+$`)
	for _, name := range []string{
		"candado_build_info", "candado_engine_operations_total", "candado_engine_operation_seconds", "candado_engine_held_locks",
		"candado_listener_connections", "candado_listener_refusals_total", "candado_upstream_errors_total",
		"candado_upstream_unsafe", "candado_upstream_up", "candado_session_leases", "candado_session_leases_lost_total", "go_goroutines", "process_start_time_seconds",
	} {
		family := families[name]
		if family == nil || family.GetHelp() == "" {
			t.Errorf("%s: %v", name, family)
		}
		if strings.HasPrefix(name, "candado") && !ours.MatchString(name) {
			t.Errorf("%s is oddly named", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "candado") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestMetricsShareNothing(t *testing.T) {
	a, b := New(Build{}), New(Build{})
	a.Refused("http", "404")
	if strings.Contains(text(t, b), `code="404"`) {
		t.Error("one counts into the other")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the pipe is broken") }

func TestErrorOfTheWriterIsReturned(t *testing.T) {
	if err := New(Build{}).WriteText(brokenWriter{}); err == nil || !strings.Contains(err.Error(), "the pipe is broken") {
		t.Errorf("got %v", err)
	}
}
