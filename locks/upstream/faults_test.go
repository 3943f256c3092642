package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// allUnavailable checks that every operation says so, and soon.
func allUnavailable(t *testing.T, e locks.Engine, within time.Duration) {
	t.Helper()
	for name, do := range operations(e, "a") {
		begin := time.Now()
		if err := do(); !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
		if took := time.Since(begin); took > within+5*time.Second {
			t.Errorf("%s took %v, the time-out is %v", name, took, within)
		}
	}
}

func TestKilledServerIsUnavailableUntilItIsBack(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e := open(t, s.URL(), 20*time.Second)
	lease := acquire(t, e, request("a", "me"))
	s.Kill()
	allUnavailable(t, e, 0) // it need not wait to know
	s.Restart()
	eventually(t, "the engine serves again", func() bool { return e.Ready(context.Background()) == nil })
	if live, err := e.Check(context.Background(), "a", lease.Token); err != nil || !live {
		t.Errorf("the lease after the restart: live %v, %v", live, err)
	}
}

func TestServerThatCameBackEmptyKeepsTokensIncreasing(t *testing.T) {
	s := redistest.StartWithClock(t)
	e := open(t, s.URL(), 0)
	lease := acquire(t, e, request("a", ""))
	for range 3 {
		s.Kill()
		s.SetClock(-time.Hour) // the floor alone must do
		s.Restart()
		eventually(t, "the engine serves again", func() bool { return e.Ready(context.Background()) == nil })
		if got, err := e.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: "a"}); err != nil || got.Token != 0 {
			t.Errorf("heartbeat of a lost lease: %+v, %v; want a free lock", got, err)
		}
		next := acquire(t, e, request("a", ""))
		if next.Token <= lease.Token {
			t.Errorf("token %d after %d", next.Token, lease.Token)
		}
		lease = next
	}
}

func TestPausedServerIsUnavailableAndNothingIsLeftBehind(t *testing.T) {
	const timeout = 200 * time.Millisecond
	s := redistest.Start(t)
	e := open(t, s.URL(), timeout)
	serves(t, e)
	s.Pause()
	allUnavailable(t, e, timeout)
	s.Resume()
	settled(t, e)
	if i := info(t, open(t, s.URL(), 0), "a"); i.Held() {
		t.Errorf("a caller that was told UNAVAILABLE holds: %+v", i)
	}
	serves(t, e)
}

func TestRequestThatRunsTooLateDoesNothing(t *testing.T) {
	const timeout = 100 * time.Millisecond
	s := redistest.StartWithClock(t)
	e := open(t, s.URL(), timeout)
	serves(t, e)
	settled(t, e)
	s.Pause()
	for i := range 5 {
		id := locks.ID(fmt.Sprint(i))
		if _, err := e.Acquire(context.Background(), request(id, "")); !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("acquire while the server is stopped: %v", err)
		}
	}
	s.SetClock(5 * time.Second) // what it shows is estimated, which may be off by as much as a reply took
	s.Resume()
	// No undo is needed, nor waited for: the records were never written.
	c := raw(t, s.Addr)
	if n := c.DBSize(context.Background()).Val(); n != 1 {
		t.Errorf("%d keys, want the warm-up's alone", n)
	}
}

func TestServerAsleepIsUnavailableThenServes(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 500*time.Millisecond)
	lease := acquire(t, e, request("a", "me"))
	slept := make(chan struct{})
	go func() { defer close(slept); s.Do("DEBUG SLEEP 2") }()
	eventually(t, "an operation times out", func() bool { return errors.Is(e.Ready(context.Background()), locks.ErrUnavailable) })
	<-slept
	eventually(t, "the engine serves again", func() bool { return e.Ready(context.Background()) == nil })
	if live, err := e.Check(context.Background(), "a", lease.Token); err != nil || !live {
		t.Errorf("live %v, %v", live, err)
	}
}

func TestFlushedScriptsAreLoadedAgain(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	for name, do := range operations(e, "a") {
		s.Do("SCRIPT FLUSH")
		if err := do(); errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("%s after SCRIPT FLUSH: %v", name, err)
		}
	}
}

// As behind a balancer while servers change places.
func TestScriptsAreLoadedWhereTheyAreSent(t *testing.T) {
	was, is := redistest.Start(t), redistest.Start(t)
	p := redistest.NewProxy(t, was.Addr)
	e := open(t, p.URL(), 0)
	ready := func() {
		if err := e.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	}
	ready()
	p.Divert(is.Addr)
	var both sync.WaitGroup
	p.Freeze()
	both.Go(ready)
	both.Go(ready) // by a connection of its own
	eventually(t, "both are on their way", func() bool { return p.Connections() == 2 })
	p.Thaw()
	both.Wait()
	for range 8 {
		was.Do("SCRIPT FLUSH")
		is.Do("SCRIPT FLUSH")
		ready()
	}
}

func TestFlushedDataFreesLocksAndKeepsTokensIncreasing(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	for _, req := range []locks.AcquireRequest{request("a", "me"), shared("b", "me")} {
		lease := acquire(t, e, req)
		s.Do("FLUSHALL")
		if got, err := e.Heartbeat(context.Background(), locks.HeartbeatRequest{ID: req.ID, Claim: locks.Claim{Token: lease.Token}}); err != nil || got.Token != 0 {
			t.Errorf("heartbeat of a lost lease: %+v, %v", got, err)
		}
		if next := acquire(t, e, req); next.Token <= lease.Token {
			t.Errorf("token %d after %d", next.Token, lease.Token)
		}
	}
}

func TestReplicaAnswersNothing(t *testing.T) {
	primary := redistest.Start(t)
	direct := open(t, primary.URL(), 0)
	acquire(t, direct, request("a", "holder"))
	acquire(t, direct, shared("b", "holder"))
	acquire(t, direct, locks.AcquireRequest{ID: "expired", TTL: time.Millisecond})
	acquire(t, direct, locks.AcquireRequest{ID: "expired shared", Mode: locks.Shared, TTL: time.Millisecond})
	acquire(t, direct, request("released", ""))
	if _, err := direct.Release(context.Background(), locks.ReleaseRequest{ID: "released"}); err != nil {
		t.Fatal(err)
	}
	replica := replicaOf(t, primary)
	e := open(t, replica.URL(), 0)
	for _, id := range []locks.ID{"a", "b", "expired", "expired shared", "released", "free"} {
		ops := operations(e, id)
		ops["acquire in the other mode"] = func() error { _, err := e.Acquire(context.Background(), shared(id, "holder")); return err }
		ops["acquire in the one mode"] = func() error { _, err := e.Acquire(context.Background(), request(id, "holder")); return err }
		for name, do := range ops {
			if err := do(); !errors.Is(err, locks.ErrUnavailable) {
				t.Errorf("%s of %q on a replica: %v, want ErrUnavailable", name, id, err)
			}
		}
	}
}

func replicaOf(t *testing.T, primary *redistest.Server) *redistest.Server {
	t.Helper()
	host, port := primary.HostPort()
	replica := redistest.Start(t, "--replicaof", host+" "+port)
	c := raw(t, replica.Addr)
	want := raw(t, primary.Addr).DBSize(context.Background()).Val()
	eventually(t, "the replica is in step", func() bool { return c.DBSize(context.Background()).Val() == want })
	return replica
}

func TestPromotedStaleReplicaKeepsTokensIncreasing(t *testing.T) {
	primary := redistest.Start(t)
	p := redistest.NewProxy(t, primary.Addr)
	e := open(t, p.URL(), 0)
	acquire(t, e, request("a", "first"))
	replica := replicaOf(t, primary)
	replica.Do("REPLICAOF NO ONE") // from here on it misses what the primary grants
	if _, err := e.Release(context.Background(), locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
		t.Fatal(err)
	}
	lost := acquire(t, e, request("a", "second"))
	primary.Kill()
	p.Retarget(replica.Addr)
	if live, err := e.Check(context.Background(), "a", lost.Token); err != nil || live {
		t.Errorf("a lease that the replica never saw: live %v, %v", live, err)
	}
	if _, err := e.Release(context.Background(), locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
		t.Fatal(err)
	}
	if next := acquire(t, e, request("a", "third")); next.Token <= lost.Token {
		t.Errorf("token %d after %d", next.Token, lost.Token)
	}
}

func TestLoadingServerIsUnavailable(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024")
	e := open(t, s.URL(), 0)
	lease := acquire(t, e, request("a", "me"))
	s.Do("DEBUG POPULATE 300 filler 2000")
	s.Do("BGREWRITEAOF")
	c := raw(t, s.Addr)
	eventually(t, "the data is saved", func() bool {
		return c.InfoMap(context.Background(), "persistence").Item("Persistence", "aof_rewrite_in_progress") == "0" &&
			c.InfoMap(context.Background(), "persistence").Item("Persistence", "aof_rewrite_scheduled") == "0"
	})
	s.Kill()
	s.Launch()
	loading := false
	eventually(t, "the engine serves again", func() bool {
		live, err := e.Check(context.Background(), "a", lease.Token)
		if err != nil && !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("while loading: %v", err)
		}
		if err == nil && !live {
			t.Error("a wrong answer while loading")
		}
		said := c.Ping(context.Background()).Err()
		loading = loading || said != nil && strings.HasPrefix(said.Error(), "LOADING")
		return err == nil
	})
	if !loading {
		t.Error("the server was never seen loading: this test tested nothing")
	}
}

func TestSteppedClockFailsNoRequest(t *testing.T) {
	s := redistest.StartWithClock(t)
	e := open(t, s.URL(), 0)
	token := locks.Token(0)
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour, 48 * time.Hour, 0} {
		s.SetClock(offset)
		lease := acquire(t, e, request("a", ""))
		if lease.Token <= token {
			t.Errorf("clock at %v: token %d after %d", offset, lease.Token, token)
		}
		token = lease.Token
		if _, err := e.Release(context.Background(), locks.ReleaseRequest{ID: "a"}); err != nil {
			t.Error(err)
		}
	}
}

func TestForeignValuesAreRefusedAndLeftAlone(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	c, ctx := raw(t, s.Addr), context.Background()
	c.Set(ctx, "candado:{string}", "not a record, but long enough to be mistaken for one", 0)
	c.RPush(ctx, "candado:{list}", "x")
	c.Set(ctx, "candado:{letter}", "Dear reader, this is just a string that somebody stored here", 0)
	c.Set(ctx, "candado:{shout}", "A foreign string that is at least 43 bytes long, yes", 0)
	for _, id := range []locks.ID{"string", "list", "letter", "shout"} {
		for name, do := range operations(e, id) {
			if name == "scan" || name == "ready" {
				continue
			}
			if err := do(); !errors.Is(err, locks.ErrUnavailable) {
				t.Errorf("%s of a foreign %s: %v, want ErrUnavailable", name, id, err)
			}
		}
	}
	if page, err := e.Scan(ctx, locks.ScanRequest{Count: 100}); err != nil || len(page.IDs) != 0 {
		t.Errorf("scan beside foreign values: %+v, %v", page, err)
	}
	if n := c.Exists(ctx, "candado:{string}", "candado:{list}", "candado:{letter}", "candado:{shout}").Val(); n != 4 {
		t.Errorf("%d of 4 foreign keys are left", n)
	}
	acquire(t, e, request("unrelated", ""))
}

func TestClosedEngineSaysShutdown(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	for name, do := range operations(e, "a") {
		if err := do(); !errors.Is(err, locks.ErrShutdown) {
			t.Errorf("%s after Close: %v, want ErrShutdown", name, err)
		}
	}
}

func TestFullServerStillReleasesAndRenews(t *testing.T) {
	s := redistest.Start(t)
	e, ctx := open(t, s.URL(), 0), context.Background()
	for _, req := range []locks.AcquireRequest{request("a", "me"), shared("b", "me"), shared("b", "you")} {
		acquire(t, e, req)
	}
	s.Do("CONFIG SET maxmemory 1")
	if _, err := e.Acquire(ctx, request("new", "")); !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("acquire on a full server: %v, want ErrUnavailable", err)
	}
	if err := e.Ready(ctx); !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("a server that can grant nothing is ready: %v", err)
	}
	for _, id := range []locks.ID{"a", "b"} {
		claim := locks.Claim{Owner: "me"}
		if lease, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: id, Claim: claim}); err != nil || lease.Token == 0 {
			t.Errorf("heartbeat of %q on a full server: %+v, %v", id, lease, err)
		}
		if got, err := e.Release(ctx, locks.ReleaseRequest{ID: id, Claim: claim}); err != nil || got.Ended != 1 {
			t.Errorf("release of %q on a full server: %+v, %v", id, got, err)
		}
	}
	if got, err := e.Release(ctx, locks.ReleaseRequest{ID: "b", Force: true}); err != nil || got.Ended != 1 {
		t.Errorf("force on a full server: %+v, %v", got, err)
	}
	s.Do("CONFIG SET maxmemory 0")
	acquire(t, e, request("new", ""))
}

func TestFullServerGrantsNothingBehindOthersOfABatch(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	acquire(t, e, request("held", "me"))
	s.Do("CONFIG SET maxmemory 1")
	claim := locks.Claim{Owner: "me"}
	ops := []locks.Op{
		{Kind: locks.OpCheck, Check: locks.CheckRequest{ID: "held", Token: 1}},
		{Kind: locks.OpHeartbeat, Heartbeat: locks.HeartbeatRequest{ID: "held", Claim: claim}},
		{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "held", Claim: claim}},
		{Acquire: request("new", "")},
		{Acquire: shared("shared", "")},
	}
	e.Do(context.Background(), ops)
	for i := range ops {
		if refused := ops[i].Kind == locks.OpAcquire; errors.Is(ops[i].Err, locks.ErrUnavailable) != refused {
			t.Errorf("operation %d: %v", i, ops[i].Err)
		}
	}
	for _, alone := range []locks.AcquireRequest{request("alone", ""), shared("alone", "")} {
		if lease, err := e.Acquire(context.Background(), alone); !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("%v alone: %+v, %v", alone.Mode, lease, err)
		}
	}
}

func TestStateOfTheServerIsLoggedOnce(t *testing.T) {
	s := redistest.Start(t)
	var log bytes.Buffer
	e, err := upstream.Open(upstream.Options{URL: s.URL(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	raw(t, s.Addr).Set(context.Background(), "candado:{foreign}", "x", 0)
	for range 20 {
		_, _ = e.Acquire(context.Background(), request("foreign", ""))
		_ = e.Ready(context.Background())
	}
	s.Kill()
	for range 20 {
		_ = e.Ready(context.Background())
	}
	s.Restart()
	eventually(t, "the engine serves again", func() bool { return e.Ready(context.Background()) == nil })
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"upstream refuses requests", "upstream unavailable", "upstream answers again"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", line, n, log.String())
		}
	}
}

func TestCloseDoesNotWaitForAServerThatIsAway(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 40*time.Second)
	acquire(t, e, request("warm-up", ""))
	s.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := e.Acquire(ctx, request("a", "")); !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("acquire while the server is stopped: %v", err)
	}
	begin := time.Now()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
}
