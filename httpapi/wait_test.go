package httpapi

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// Requests that wait, and are answered.

// queueing starts a server on an embedded engine whose lock "job" is held.
func queueing(t testing.TB, o memory.Options) (engine *memory.Engine, s *Server, addr string) {
	t.Helper()
	engine = memory.New(o)
	t.Cleanup(func() { _ = engine.Close() })
	s, addr = serve(t, Options{Engine: engine})
	hold(t, engine, locks.AcquireRequest{})
	return engine, s, addr
}

func hold(t testing.TB, engine locks.Engine, req locks.AcquireRequest) {
	t.Helper()
	req.ID, req.TTL = "job", time.Hour
	if _, err := engine.Acquire(context.Background(), req); err != nil {
		t.Fatal(err)
	}
}

func freeJob(t testing.TB, engine locks.Engine) {
	t.Helper()
	if _, err := engine.Release(context.Background(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
		t.Fatal(err)
	}
}

func describe(t testing.TB, engine locks.Engine) locks.Info {
	t.Helper()
	info, err := engine.Info(context.Background(), "job")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// waiting returns when so many requests wait for the lock.
func waiting(t testing.TB, engine locks.Engine, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d requests wait", want), func() bool { return describe(t, engine).Waiters == want })
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("not seen in 20 s: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// request sends a GET, and does not wait for the reply.
func (c *client) request(target string) { c.send(requestFor(target)) }

func requestFor(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: candado\r\n\r\n" }

func (c *client) wants(status int, body string) {
	c.t.Helper()
	if got := c.receive("GET"); got.status != status || !strings.HasPrefix(got.body, body) {
		c.t.Errorf("got %d %s, want %d %s", got.status, got.body, status, body)
	}
}

const (
	granted = `{"error":"","state":1,"success":true,"token":`
	runOut  = `{"error":"the lock is held","state":1,"success":false}`
)

func TestWaitGetsTheLock(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{})
	c := dial(t, addr)
	c.request("/acquire/job?wait=1h&owner=me&ttl=5s")
	waiting(t, engine, 1)
	freeJob(t, engine)
	got := c.receive("GET")
	token := describe(t, engine).LastToken
	if want := fmt.Sprintf(`%s%d,"ttl_ms":5000,"owner":"me"}`, granted, token); got.status != 200 || got.body != want || got.last {
		t.Errorf("got %d %s, want %s", got.status, got.body, want)
	}
	if got := c.ask("GET", fmt.Sprintf("/release/job?token=%d", token)); got.status != 200 {
		t.Errorf("the connection goes on with %d %s", got.status, got.body)
	}
}

func TestWaitForAFreeLockDoesNotWait(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{})
	freeJob(t, engine)
	c := dial(t, addr)
	c.request("/acquire/job?wait=1h")
	c.wants(200, granted)
}

// inBubble runs a test of a server on an embedded engine whose lock "job" is
// held, in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, engine *memory.Engine, s *Server, dial func() *client)) {
	p := newPipes()
	var late struct{ locks.Engine } // it must be of the bubble
	virtually(t, Options{Engine: &late}, p, func(t *testing.T, s *Server) {
		engine := memory.New(memory.Options{})
		defer engine.Close()
		late.Engine = engine
		hold(t, engine, locks.AcquireRequest{})
		test(t, engine, s, func() *client {
			c := p.dial(t)
			_ = c.SetDeadline(time.Time{}) // time is nothing here
			return c
		})
	})
}

func TestWaitThatRunsOutIs409(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Engine, _ *Server, dial func() *client) {
		c := dial()
		// Longer than any time that a request, a reply or an idle connection has;
		// within the hour that the lock is held.
		for _, wait := range []time.Duration{1500 * time.Millisecond, 50 * time.Minute} {
			begin := time.Now()
			c.request("/acquire/job?wait=" + wait.String())
			c.wants(409, runOut)
			if took := time.Since(begin); took != wait {
				t.Errorf("waited for %v, want %v", took, wait)
			}
		}
		if got := c.ask("GET", "/healthz"); got.status != 200 {
			t.Errorf("the connection goes on with %d %s", got.status, got.body)
		}
	})
}

func TestWaitOfNothingDoesNotWait(t *testing.T) {
	inBubble(t, func(t *testing.T, engine *memory.Engine, _ *Server, dial func() *client) {
		c, begin := dial(), time.Now()
		c.request("/acquire/job?wait=0s")
		c.wants(409, runOut)
		freeJob(t, engine)
		c.request("/acquire/job?wait=0s")
		c.wants(200, granted)
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestTimeoutsAreInForceAfterAWait(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Engine, _ *Server, dial func() *client) {
		idle, half := dial(), dial()
		begin := time.Now()
		idle.request("/acquire/job?wait=1m")
		half.request("/acquire/job?wait=1m")
		idle.wants(409, runOut)
		half.wants(409, runOut)
		half.send("GET /acq")
		half.wants(408, `{"error":"the request did not arrive within 10s (--request-timeout)"`)
		half.expectEnd()
		if took := time.Since(begin); took != 70*time.Second {
			t.Errorf("the half request ended after %v", took)
		}
		idle.expectEnd()
		if took := time.Since(begin); took != 90*time.Second {
			t.Errorf("the idle connection ended after %v", took)
		}
	})
}

func TestReplyOfAWaitThatIsNotTakenTimesOut(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Engine, s *Server, dial func() *client) {
		dial().request("/acquire/job?wait=1m")
		time.Sleep(time.Minute + 4*time.Second)
		synctest.Wait()
		if n := s.Connections(); n != 1 {
			t.Errorf("%d connections are left while the reply may be taken", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestRefusalAfterAPauseIsSent(t *testing.T) {
	inBubble(t, func(_ *testing.T, _ *memory.Engine, _ *Server, dial func() *client) {
		c := dial()
		c.ask("GET", "/healthz")
		time.Sleep(20 * time.Second) // longer than a reply has
		c.send("nonsense\r\n\r\n")
		c.wants(400, `{"error":"this is not an HTTP request"`)
		c.expectEnd()
	})
}

func TestFullQueueIs429(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{MaxWaiters: 1})
	first, second := dial(t, addr), dial(t, addr)
	first.request("/acquire/job?wait=1h")
	waiting(t, engine, 1)
	second.request("/acquire/job?wait=1h")
	second.wants(429, `{"error":"too many requests wait for this lock (--max-waiters)","state":1,"success":false}`)
	second.request("/acquire/job")
	second.wants(409, runOut)
}

func TestWhatAWaitEndsIn(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		body   string
	}{
		{locks.ErrUnavailable, 503, `{"error":"the upstream is unavailable, the outcome is unknown","state":0,"success":false}`},
		{locks.ErrShutdown, 503, errStop},
		{locks.ErrMode, 409, `{"error":"the owner holds the lock in another mode","state":1,"success":false}`},
		{errors.New("broken"), 500, `{"error":"candado has failed`},
	} {
		p := newPipes()
		f := acquiring(func(ctx context.Context) (locks.Lease, error) {
			select {
			case <-time.After(time.Minute):
				return locks.Lease{}, fmt.Errorf("waiting: %w", test.err)
			case <-ctx.Done():
				t.Error("cancelled")
				return locks.Lease{}, ctx.Err()
			}
		})
		virtually(t, Options{Engine: f}, p, func(t *testing.T, _ *Server) {
			c := p.dial(t)
			_ = c.SetDeadline(time.Time{})
			c.request("/acquire/job?wait=1m")
			c.wants(test.status, test.body)
			c.request("/healthz")
			c.wants(200, free)
		})
	}
}

func TestPanicWhileWaitingEndsTheConnection(t *testing.T) {
	p := newPipes()
	f := acquiring(func(context.Context) (locks.Lease, error) { panic("the engine is broken") })
	virtually(t, Options{Engine: f}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.request("/acquire/job?wait=1m")
		c.wants(500, `{"error":"candado has failed`)
		c.expectEnd()
	})
}

func TestSharedRequestsWaitForALimit(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{})
	freeJob(t, engine)
	hold(t, engine, locks.AcquireRequest{Mode: locks.Shared, Owner: "a"})
	hold(t, engine, locks.AcquireRequest{Mode: locks.Shared, Owner: "b"})
	limited, exclusive, shared := dial(t, addr), dial(t, addr), dial(t, addr)
	limited.request("/acquire/job?wait=1h&limit=2&owner=c")
	waiting(t, engine, 1)
	exclusive.request("/acquire/job?wait=1h&owner=d")
	waiting(t, engine, 2)
	shared.request("/acquire/job?wait=1h&shared=1&owner=e")
	waiting(t, engine, 3)
	c := dial(t, addr)
	for _, step := range []struct {
		release string
		granted *client
	}{{"a", limited}, {"b", nil}, {"c", exclusive}, {"d", shared}} {
		if got := c.ask("GET", "/release/job?owner="+step.release); got.status != 200 {
			t.Fatalf("releasing %s: got %d %s", step.release, got.status, got.body)
		}
		if step.granted != nil {
			step.granted.wants(200, granted)
		}
	}
}

func TestOwnerThatWaitsAgainTakesItsOwnPlace(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{})
	older, other, newer := dial(t, addr), dial(t, addr), dial(t, addr)
	older.request("/acquire/job?wait=1h&owner=me")
	waiting(t, engine, 1)
	other.request("/acquire/job?wait=1h&owner=other")
	waiting(t, engine, 2)
	newer.request("/acquire/job?wait=1h&owner=me")
	older.wants(409, runOut)
	freeJob(t, engine)
	newer.wants(200, granted)
	freeJob(t, engine)
	other.wants(200, granted)
}

func TestPipelineAroundAWaitKeepsItsOrder(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{})
	c := dial(t, addr)
	c.send(requestFor("/healthz") + requestFor("/acquire/job?wait=1h") + requestFor("/nowhere/0"))
	c.wants(200, free) // before the wait is over
	waiting(t, engine, 1)
	const behind = 1000 // more than fasthttp's buffer holds, less than is read ahead
	for i := range behind {
		c.request(fmt.Sprint("/nowhere/", i+1))
	}
	freeJob(t, engine)
	c.wants(200, granted)
	for i := range behind + 1 {
		c.wants(404, fmt.Sprintf(`{"error":"there is nothing at \"/nowhere/%d\"`, i))
	}
}

func TestWaitsOneBehindAnother(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{})
	c := dial(t, addr)
	c.send(requestFor("/acquire/job?wait=1h&owner=me") + requestFor("/release/job?owner=me"))
	waiting(t, engine, 1)
	c.send(requestFor("/acquire/job?wait=1h") + requestFor("/acquire/job?wait=20ms") + requestFor("/healthz"))
	freeJob(t, engine)
	c.wants(200, granted)
	c.wants(200, `{"error":"","state":0,"success":true`)
	c.wants(200, granted)
	c.wants(409, runOut)
	c.wants(200, free)
}

func TestWaitByPOSTAndHTTP10(t *testing.T) {
	engine, _, addr := queueing(t, memory.Options{})
	post, old := dial(t, addr), dial(t, addr)
	post.send("POST /acquire/job?wait=1h HTTP/1.1\r\nHost: candado\r\nContent-Length: 0\r\n\r\n")
	waiting(t, engine, 1)
	old.send("GET /acquire/job?wait=1h HTTP/1.0\r\n\r\n")
	waiting(t, engine, 2)
	freeJob(t, engine)
	post.wants(200, granted)
	freeJob(t, engine)
	if got := old.receive("GET"); got.status != 200 || !got.last {
		t.Errorf("got %d %s", got.status, got.body)
	}
	old.expectEnd()
}

func TestShutdownTellsThoseWhoWait(t *testing.T) {
	inBubble(t, func(t *testing.T, engine *memory.Engine, s *Server, dial func() *client) {
		var clients []*client
		for range 3 {
			c := dial()
			c.request("/acquire/job?wait=30m")
			clients = append(clients, c)
		}
		synctest.Wait()
		if n := describe(t, engine).Waiters; n != 3 {
			t.Fatalf("%d requests wait", n)
		}
		begin, done := time.Now(), make(chan error)
		go func() { done <- s.Shutdown(t.Context()) }()
		for _, c := range clients {
			got := c.receive("GET")
			if got.status != 503 || got.body != errStop || !got.last {
				t.Errorf("got %d %s", got.status, got.body)
			}
			c.expectEnd()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
		if n := describe(t, engine).Waiters; n != 0 {
			t.Errorf("%d requests are left in the queue", n)
		}
	})
}
