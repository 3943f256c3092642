package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// What LOCK.ACQUIRE … SESSION promises.

// faulty is the embedded engine, but for what a test makes of it.
type faulty struct {
	locks.Engine
	deaf  atomic.Bool   // renewals are not answered
	began chan struct{} // gets a value when an acquire of "slow" has begun, which is not answered
}

func newFaulty() *faulty {
	return &faulty{Engine: memory.New(memory.Options{}), began: make(chan struct{}, 1)}
}

func (e *faulty) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	if req.ID == "slow" {
		e.began <- struct{}{}
		<-ctx.Done()
		return locks.Lease{}, locks.ErrUnavailable
	}
	return e.Engine.Acquire(ctx, req)
}

func (e *faulty) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	if e.deaf.Load() {
		<-ctx.Done()
	}
	return e.Engine.Renew(ctx, reqs)
}

func (e *faulty) held() int { return e.Engine.(*memory.Engine).Held() }

// token acquires and returns the token, which must be one.
func (c *client) token(args ...string) string {
	c.t.Helper()
	reply := c.do(append([]string{"LOCK.ACQUIRE"}, args...)...)
	token := strings.TrimSuffix(strings.TrimPrefix(reply, ":"), "\r\n")
	if _, err := strconv.ParseInt(token, 10, 64); err != nil {
		c.t.Fatalf("acquiring %q: got %q", args, reply)
	}
	return token
}

// wantClosed waits for the server to close the connection.
func (c *client) wantClosed() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if rest, err := io.ReadAll(c.r); len(rest) > 0 {
		c.t.Errorf("before the connection was closed (%v) came %q", err, rest)
	}
}

func TestSessionLeasesEndWithTheConnection(t *testing.T) {
	for name, end := range map[string]func(c *client){
		"closed":         func(c *client) { _ = c.conn.Close() },
		"half closed":    func(c *client) { _ = c.conn.(*net.TCPConn).CloseWrite() },
		"QUIT":           func(c *client) { c.want("+OK\r\n", "QUIT") },
		"not RESP":       func(c *client) { c.send("*x\r\n") },
		"killed":         func(c *client) { _ = c.conn.(*net.TCPConn).SetLinger(0); _ = c.conn.Close() },
		"in mid-command": func(c *client) { c.send("*2\r\n$9\r\nLOCK."); _ = c.conn.Close() },
		"in a pipeline": func(c *client) {
			c.send(strings.Repeat(encode("LOCK.ACQUIRE", "late", "SESSION"), 100))
			_ = c.conn.Close()
		},
		"panic in a call": func(c *client) { c.send(encode("LOCK.ACQUIRE", "panic", "SESSION")) },
	} {
		t.Run(name, func(t *testing.T) {
			engine := panicky{newFaulty()}
			_, addr := start(t, Options{Engine: engine})
			c, other := dial(t, addr), dial(t, addr)
			for i := range 50 {
				c.token(fmt.Sprint(i), "SESSION", "EX", "3600")
			}
			c.token("owned", "session", "OWNER", "me")
			c.token("shared", "SHARED", "SESSION")
			other.token("shared", "LIMIT", "3", "SESSION")
			c.token("plain", "EX", "3600")
			end(c)
			eventually(t, "the leases are released", func() bool { return engine.held() == 2 })
			other.token("owned")
			other.want("$-1\r\n", "LOCK.ACQUIRE", "plain")
			other.want("$-1\r\n", "LOCK.ACQUIRE", "shared", "LIMIT", "1")
		})
	}
}

// panicky has a bug.
type panicky struct{ *faulty }

func (e panicky) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	if req.ID == "panic" {
		panic("an engine's bug")
	}
	return e.faulty.Acquire(ctx, req)
}

func TestResetReleasesSessionLeasesBeforeItReplies(t *testing.T) {
	_, addr := start(t, Options{Engine: newFaulty()})
	c, other := dial(t, addr), dial(t, addr)
	for range 20 {
		c.token("job", "SESSION")
		other.want("$-1\r\n", "LOCK.ACQUIRE", "job")
		c.want("+RESET\r\n", "RESET")
		c.want(":1\r\n", "LOCK.RELEASE", "job", other.token("job"))
	}
}

func TestSessionLeaseLastsAsLongAsTheConnection(t *testing.T) {
	withFaulty(t, func(t *testing.T, engine *faulty, _ *Server, dial func() *client) {
		c := dial()
		token := c.token("job", "SESSION", "PX", "100")
		time.Sleep(time.Hour)
		c.want(":1\r\n", "LOCK.CHECK", "job", token)
		_ = c.conn.Close()
		synctest.Wait()
		if n := engine.held(); n != 0 {
			t.Errorf("%d locks are held", n)
		}
	})
}

// virtual serves over pipes for as long as the test runs, in its bubble.
func virtual(t *testing.T, opts Options, test func(srv *Server, dial func() *client)) {
	t.Helper()
	ln := newPipeListener()
	virtualOn(t, ln, opts, func(srv *Server) {
		test(srv, func() *client { return newClient(t, ln.dial()) })
	})
}

func virtualOn(t *testing.T, ln net.Listener, opts Options, test func(srv *Server)) {
	t.Helper()
	srv := New(quiet(opts))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	test(srv)
	if err := srv.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// withFaulty runs a test in virtual time on an engine that is made there.
func withFaulty(t *testing.T, test func(t *testing.T, engine *faulty, srv *Server, dial func() *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		engine := newFaulty()
		virtual(t, Options{Engine: engine}, func(srv *Server, dial func() *client) { test(t, engine, srv, dial) })
		if n := engine.held(); n != 0 {
			t.Errorf("%d locks are held", n)
		}
		_ = engine.Close()
	})
}

func TestReleaseFromAnyConnectionIsNoLoss(t *testing.T) {
	withFaulty(t, func(t *testing.T, _ *faulty, srv *Server, dial func() *client) {
		c, other := dial(), dial()
		for _, from := range []*client{c, other} {
			from.want(":1\r\n", "LOCK.RELEASE", "job", c.token("job", "SESSION"))
			time.Sleep(time.Minute)
			c.token("job", "SESSION", "OWNER", "me")
			from.want(":1\r\n", "LOCK.RELEASE", "job", "OWNER", "me")
			time.Sleep(time.Minute)
			c.token("job", "SESSION")
			from.want(":1\r\n", "LOCK.RELEASE", "job")
			time.Sleep(time.Minute)
			c.token("job", "SESSION", "SHARED")
			c.token("job", "SESSION", "SHARED")
			from.want(":1\r\n", "LOCK.RELEASE", "job")
			time.Sleep(time.Minute)
			from.want(":1\r\n", "LOCK.RELEASE", "job")
			time.Sleep(time.Minute)
		}
		c.token("job", "SESSION")
		c.want(":1\r\n", "LOCK.RELEASE", "job", "FORCE")
		time.Sleep(time.Minute)
		c.token("job", "SESSION")
		if _, err := srv.Engine().Release(t.Context(), locks.ReleaseRequest{ID: "job"}); err != nil { // as HTTP does
			t.Error(err)
		}
		time.Sleep(time.Minute)
		c.want("+PONG\r\n", "PING")
	})
}

func TestForceClosesTheConnectionOfTheHolder(t *testing.T) {
	withFaulty(t, func(t *testing.T, engine *faulty, srv *Server, dial func() *client) {
		c, other := dial(), dial()
		c.token("job", "SESSION")
		c.token("more", "SESSION")
		other.want(":1\r\n", "LOCK.RELEASE", "job", "FORCE")
		c.wantClosed()
		synctest.Wait()
		if n := engine.held(); n != 0 {
			t.Errorf("%d locks are held", n)
		}
		if n := srv.Connections(); n != 1 {
			t.Errorf("%d connections are open", n)
		}
	})
}

// A holder that waits for something else hears of its loss, too.
func TestLossEndsTheCommandThatRuns(t *testing.T) {
	withFaulty(t, func(t *testing.T, engine *faulty, srv *Server, dial func() *client) {
		c, other := dial(), dial()
		token := c.token("job", "SESSION", "PX", "3000")
		c.send(encode("LOCK.ACQUIRE", "slow"))
		<-engine.began
		time.Sleep(time.Minute)
		other.want(":1\r\n", "LOCK.CHECK", "job", token)
		engine.deaf.Store(true)
		begin := time.Now()
		c.wantClosed()
		if d := time.Since(begin); d >= 3*time.Second {
			t.Errorf("closed after %v", d)
		}
		synctest.Wait()
		if n := srv.Connections(); n != 1 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestShutdownReleasesSessionLeases(t *testing.T) {
	for name, stop := range map[string]func(*Server) error{
		"Shutdown": func(s *Server) error { return s.Shutdown(context.Background()) },
		"Close":    (*Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFaulty()
			srv, addr := start(t, Options{Engine: engine})
			for range 10 {
				c := dial(t, addr)
				for i := range 50 {
					c.token("shared", "SESSION", "SHARED")
					c.token(fmt.Sprint(c.conn.LocalAddr(), i), "SESSION")
				}
			}
			if err := stop(srv); err != nil {
				t.Error(err)
			}
			if n := engine.held(); n != 0 {
				t.Errorf("%d locks are held", n)
			}
		})
	}
}
