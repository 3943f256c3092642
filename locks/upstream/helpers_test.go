package upstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
)

// open returns an engine on the server at url that is closed with the test.
func open(t testing.TB, url string, timeout time.Duration) *upstream.Engine {
	t.Helper()
	return openWith(t, upstream.Options{URL: url, Timeout: timeout})
}

func openWith(t testing.TB, o upstream.Options) *upstream.Engine {
	t.Helper()
	e, err := upstream.OpenUnwatched(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// raw returns a plain client of the server, for looking behind the engine.
func raw(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func request(id locks.ID, owner locks.Owner) locks.AcquireRequest {
	return locks.AcquireRequest{ID: id, Owner: owner, TTL: time.Minute}
}

func shared(id locks.ID, owner locks.Owner) locks.AcquireRequest {
	return locks.AcquireRequest{ID: id, Owner: owner, Mode: locks.Shared, TTL: time.Minute}
}

func acquire(t testing.TB, e locks.Engine, req locks.AcquireRequest) locks.Lease {
	t.Helper()
	lease, err := e.Acquire(context.Background(), req)
	if err != nil {
		t.Fatalf("acquire %+v: %v", req, err)
	}
	return lease
}

func info(t testing.TB, e locks.Engine, id locks.ID) locks.Info {
	t.Helper()
	info, err := e.Info(context.Background(), id)
	if err != nil {
		t.Fatalf("info %q: %v", id, err)
	}
	return info
}

// soon is how long what must happen may take on a machine that is as busy as can be.
const soon = 15 * time.Second

// eventually waits until ok returns true, for what only real time brings.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// serves waits until an engine with little time has been answered, which on a busy machine
// may take it several tries.
func serves(t testing.TB, e locks.Engine) {
	t.Helper()
	eventually(t, "the engine serves", func() bool {
		_, err := e.Acquire(context.Background(), request("warm-up", "me"))
		return err == nil
	})
}

// operations are all that an engine can be asked, by name.
func operations(e locks.Engine, id locks.ID) map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"acquire":        func() error { _, err := e.Acquire(ctx, request(id, "new")); return err },
		"acquire shared": func() error { _, err := e.Acquire(ctx, shared(id, "new")); return err },
		"release":        func() error { _, err := e.Release(ctx, locks.ReleaseRequest{ID: id}); return err },
		"force":          func() error { _, err := e.Release(ctx, locks.ReleaseRequest{ID: id, Force: true}); return err },
		"heartbeat":      func() error { _, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: id}); return err },
		"check":          func() error { _, err := e.Check(ctx, id, 1); return err },
		"info":           func() error { _, err := e.Info(ctx, id); return err },
		"scan":           func() error { _, err := e.Scan(ctx, locks.ScanRequest{}); return err },
		"ready":          func() error { return e.Ready(ctx) },
	}
}

// settled waits until no acquire of the engine is in doubt.
func settled(t testing.TB, e locks.Engine) {
	t.Helper()
	eventually(t, "no doubt is open", func() bool { return e.(*upstream.Engine).OpenDoubts() == 0 })
}
