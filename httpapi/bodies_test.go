package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
)

const (
	free       = `{"error":"","state":0,"success":true}`
	held       = `{"error":"","state":1,"success":true}`
	errHeld    = `{"error":"the lock is held","state":1,"success":false}`
	errOthers  = `{"error":"the lock is held by others","state":1,"success":false}`
	errIsFree  = `{"error":"the lock is free","state":0,"success":false}`
	errMode    = `{"error":"the owner holds the lock in another mode","state":1,"success":false}`
	errAway    = `{"error":"the upstream is unavailable, the outcome is unknown","state":0,"success":false}`
	errStop    = `{"error":"candado is shutting down, nothing was done","state":0,"success":false}`
	errUnknown = `{"error":"candado has failed at this request, the outcome is unknown","state":0,"success":false}`
)

// ended returns an engine on which every operation ends in err.
func ended(err error) *fake {
	err = fmt.Errorf("doing something at 10.0.0.1: %w", err)
	return &fake{
		acquire:   func(context.Context, locks.AcquireRequest) (locks.Lease, error) { return locks.Lease{}, err },
		release:   func(locks.ReleaseRequest) (locks.Released, error) { return locks.Released{}, err },
		heartbeat: func(locks.HeartbeatRequest) (locks.Lease, error) { return locks.Lease{}, err },
		info:      func(locks.ID) (locks.Info, error) { return locks.Info{}, err },
		scan:      func(locks.ScanRequest) (locks.Scanned, error) { return locks.Scanned{}, err },
		ready:     err,
	}
}

// allFree returns an engine whose locks are all free.
func allFree() *fake {
	f := agreeable()
	f.release = func(locks.ReleaseRequest) (locks.Released, error) { return locks.Released{}, nil }
	f.heartbeat = func(locks.HeartbeatRequest) (locks.Lease, error) { return locks.Lease{}, nil }
	return f
}

// manyShare returns an engine whose locks have other shared holders.
func manyShare() *fake {
	f := agreeable()
	f.release = func(locks.ReleaseRequest) (locks.Released, error) { return locks.Released{Ended: 1, Held: true}, nil }
	return f
}

func TestBodiesAreExact(t *testing.T) {
	broken := errors.New("disk on fire")
	bad := &locks.ArgumentError{Name: "lock ID", Reason: "is odd"}
	for _, test := range []struct {
		name   string
		engine *fake
		target string
		status int
		body   string
	}{
		{"granted", agreeable(), "/acquire/a", 200, held},
		{"granted", agreeable(), "/acquire/a?", 200, held},
		{"granted", agreeable(), "/acquire/a?ttl=1500ms", 200, `{"error":"","state":1,"success":true,"token":7,"ttl_ms":1500}`},
		{"granted", agreeable(), "/acquire/a?owner=me", 200, `{"error":"","state":1,"success":true,"token":7,"ttl_ms":30000,"owner":"me"}`},
		{"granted", agreeable(), "/acquire/a?persist=1", 200, `{"error":"","state":1,"success":true,"token":7,"ttl_ms":-1}`},
		{"granted", agreeable(), `/acquire/a?owner=%22%5c%0a%ff%7f%c3%a9`, 200,
			`{"error":"","state":1,"success":true,"token":7,"ttl_ms":30000,"owner":"\"\\\u000a` + "\ufffd" + `\u007fé"}`},
		{"released", agreeable(), "/release/a", 200, free},
		{"released", agreeable(), "/release/a?token=7", 200, `{"error":"","state":0,"success":true,"token":7}`},
		{"released", agreeable(), "/release/a?owner=me", 200, `{"error":"","state":0,"success":true,"owner":"me"}`},
		{"released", agreeable(), "/release/a?force=1", 200, free},
		{"released one of many", manyShare(), "/release/a", 200, held},
		{"renewed", agreeable(), "/heartbeat/a", 200, held},
		{"renewed", agreeable(), "/heartbeat/a?token=7", 200, `{"error":"","state":1,"success":true,"token":7,"ttl_ms":30000}`},
		{"renewed", agreeable(), "/heartbeat/a?ttl=2s&owner=me", 200, `{"error":"","state":1,"success":true,"token":7,"ttl_ms":2000,"owner":"me"}`},

		{"free", allFree(), "/release/a", 409, errIsFree},
		{"free", allFree(), "/release/a?force=1", 409, errIsFree},
		{"free", allFree(), "/heartbeat/a", 200, free},
		{"free", allFree(), "/heartbeat/a?ttl=2s", 200, free},
		{"free", allFree(), "/heartbeat/a?token=7", 409, errIsFree},
		{"free", allFree(), "/heartbeat/a?owner=me", 409, errIsFree},

		{"held", ended(locks.ErrHeld), "/acquire/a", 409, errHeld},
		{"held", ended(locks.ErrHeld), "/acquire/a?owner=me", 409, errHeld},
		{"others'", ended(locks.ErrNotOwner), "/release/a", 409, errOthers},
		{"others'", ended(locks.ErrNotOwner), "/release/a?token=8", 409, errOthers},
		{"others'", ended(locks.ErrNotOwner), "/heartbeat/a", 200, held},
		{"others'", ended(locks.ErrNotOwner), "/heartbeat/a?ttl=2s", 409, errOthers},
		{"others'", ended(locks.ErrNotOwner), "/heartbeat/a?token=8", 409, errOthers},
		{"mode", ended(locks.ErrMode), "/acquire/a?owner=me&shared=1", 409, errMode},

		{"away", ended(locks.ErrUnavailable), "/acquire/a", 503, errAway},
		{"away", ended(locks.ErrUnavailable), "/release/a", 503, errAway},
		{"away", ended(locks.ErrUnavailable), "/heartbeat/a", 503, errAway},
		{"away", ended(locks.ErrUnavailable), "/locks/a", 503, errAway},
		{"away", ended(locks.ErrUnavailable), "/locks", 503, errAway},
		{"away", ended(locks.ErrUnavailable), "/readyz", 503, `{"error":"the engine does not answer","state":0,"success":false}`},
		{"unsafe", ended(&locks.UnsafeError{Reason: "odd"}), "/acquire/a", 503, errAway},
		{"unsafe", ended(&locks.UnsafeError{Reason: "odd"}), "/readyz", 503, `{"error":"the upstream is unsafe: odd","state":0,"success":false}`},
		{"away", ended(locks.ErrUnavailable), "/healthz", 200, free},
		{"full", ended(&locks.QuotaError{Quota: locks.QuotaLockWaiters}), "/acquire/a?wait=1s", 429,
			`{"error":"too many requests wait for this lock (--max-waiters)","state":1,"success":false}`},
		{"busy", ended(&locks.QuotaError{Quota: locks.QuotaUpstreamOperations}), "/acquire/a", 429,
			`{"error":"too many operations wait for the upstream","state":0,"success":false}`},
		{"full", ended(&locks.QuotaError{Quota: locks.QuotaWaiting}), "/acquire/a?wait=1s", 429,
			`{"error":"too many requests wait (--max-waiting)","state":1,"success":false}`},
		{"closed", ended(locks.ErrShutdown), "/acquire/a", 503, errStop},
		{"bad", ended(bad), "/acquire/a", 400, `{"error":"lock ID is odd","state":0,"success":false}`},
		{"broken", ended(broken), "/acquire/a", 500, errUnknown},
		{"ready", agreeable(), "/readyz", 200, free},
	} {
		t.Run(test.name+" "+test.target, func(t *testing.T) {
			_, addr := serve(t, Options{Engine: test.engine, Limits: locks.Limits{AllowPersist: true}})
			got := dial(t, addr).ask("GET", test.target)
			if got.status != test.status || got.body != test.body {
				t.Errorf("got %d %s\nwant %d %s", got.status, got.body, test.status, test.body)
			}
		})
	}
}

func TestLockPageIsExact(t *testing.T) {
	f := agreeable()
	f.info = func(id locks.ID) (locks.Info, error) {
		return locks.Info{ID: id, Mode: locks.Shared, Waiters: 3, LastToken: 9, Holders: []locks.Holder{
			{Lease: locks.Lease{Token: 8, Mode: locks.Shared, TTL: 1500 * time.Millisecond}, Held: 2 * time.Second},
			{Lease: locks.Lease{Token: 9, Mode: locks.Shared, TTL: locks.NoExpiry, Owner: "a\xff<b>"}, Held: time.Second},
		}}, nil
	}
	_, addr := serve(t, Options{Engine: f})
	c := dial(t, addr)
	for target, want := range map[string]string{
		"/locks/a%2fb": `{"id":"a/b","state":1,"mode":"shared","holders":[` +
			`{"token":8,"owner":"","mode":"shared","ttl_ms":1500,"held_ms":2000},` +
			`{"token":9,"owner":"a\ufffd<b>","owner_escaped":"a%FF%3Cb%3E","mode":"shared","ttl_ms":-1,"held_ms":1000}` +
			`],"waiters":3,"last_token":9}`,
		"/locks/%fe/+~": `{"id":"\ufffd/+~","id_escaped":"%FE%2F%2B~","state":1,`,
	} {
		if got := c.ask("GET", target); got.status != 200 || !strings.HasPrefix(got.body, want) {
			t.Errorf("%s: got %d %s\nwant %s", target, got.status, got.body, want)
		}
	}
}

func TestFreeLockHasAPage(t *testing.T) {
	_, addr := serve(t, Options{Engine: agreeable()})
	want := `{"id":"a","state":0,"mode":"free","holders":[],"waiters":0,"last_token":0}`
	if got := dial(t, addr).ask("GET", "/locks/a"); got.status != 200 || got.body != want {
		t.Errorf("got %d %s\nwant %s", got.status, got.body, want)
	}
}

func TestScanPageIsExact(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	c := dial(t, addr)
	for _, test := range []struct {
		found locks.Scanned
		body  string
	}{
		{locks.Scanned{}, `{"cursor":"0","ids":[]}`},
		{locks.Scanned{Cursor: 1<<64 - 1, IDs: []locks.ID{"a", "ü/&"}}, `{"cursor":"18446744073709551615","ids":["a","ü/&"]}`},
		{locks.Scanned{IDs: []locks.ID{"a b", "\xff"}}, `{"cursor":"0","ids":["a b","\ufffd"],"ids_escaped":["a%20b","%FF"]}`},
	} {
		f.scan = func(locks.ScanRequest) (locks.Scanned, error) { return test.found, nil }
		if got := c.ask("GET", "/locks"); got.status != 200 || got.body != test.body {
			t.Errorf("got %d %s\nwant %s", got.status, got.body, test.body)
		}
	}
}

func TestEveryReplyHasItsHeaders(t *testing.T) {
	_, addr := serve(t, Options{Engine: agreeable(), Metrics: metrics.New(build())})
	for target, kind := range map[string]string{
		"/acquire/a": "application/json", "/acquire/": "application/json", "/nowhere": "application/json",
		"/locks": "application/json", "/locks/a": "application/json", "/healthz": "application/json",
		"/metrics": "text/plain; version=0.0.4; charset=utf-8",
	} {
		got := dial(t, addr).ask("GET", target)
		for name, want := range map[string]string{
			"Content-Type": kind, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "",
		} {
			if v := got.header.Get(name); v != want {
				t.Errorf("%s: %s is %q, want %q", target, name, v, want)
			}
		}
		if got.header.Get("Date") == "" {
			t.Errorf("%s: no Date", target)
		}
	}
}

func TestMetricsPageCountsRefusals(t *testing.T) {
	_, addr := serve(t, Options{Engine: agreeable(), Metrics: metrics.New(build())})
	c := dial(t, addr)
	c.ask("GET", "/nowhere")
	c.ask("GET", "/nowhere")
	if got, want := c.ask("GET", "/metrics").body, `candado_listener_refusals_total{code="404",listener="http"} 2`; !strings.Contains(got, want) {
		t.Errorf("no %s in\n%s", want, got)
	}
}

func TestWithoutMetricsThereIsNoPage(t *testing.T) {
	_, addr := serve(t, Options{Engine: agreeable()})
	if got := dial(t, addr).ask("GET", "/metrics"); got.status != 404 {
		t.Errorf("got %d", got.status)
	}
}
