package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
)

func TestRequestThatDoesNotArriveTimesOut(t *testing.T) {
	p := newPipes()
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, _ *Server) {
		c, start := p.dial(t), time.Now()
		c.send("GET /acquire/a HTTP/1.1\r\nHost:")
		got := c.receive("GET")
		if took := time.Since(start); got.status != 408 || took != 10*time.Second {
			t.Errorf("got %d after %v, want 408 after 10s", got.status, took)
		}
		mustBeDocumented(t, got.body)
		c.expectEnd()
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	p := newPipes()
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.ask("GET", "/acquire/a")
		start := time.Now()
		c.expectEnd()
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("closed after %v, want 30s", took)
		}
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestReplyThatIsNotTakenTimesOut(t *testing.T) {
	p := newPipes()
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.send("GET /acquire/a HTTP/1.1\r\nHost: candado\r\n\r\n")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestLackOfDescriptorsIsWaitedOut(t *testing.T) {
	lack := &net.OpError{Op: "accept", Err: syscall.EMFILE}
	p := newPipes(lack, lack, lack, syscall.ECONNABORTED, lack)
	var log bytes.Buffer
	o := Options{Engine: agreeable(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	start := time.Now()
	virtually(t, o, p, func(t *testing.T, _ *Server) {
		start = time.Now()
		c := p.dial(t)
		if took, want := time.Since(start), (5+10+20+40+80)*time.Millisecond; took != want {
			t.Errorf("accepted after %v, want %v", took, want)
		}
		if got := c.ask("GET", "/acquire/a"); got.status != 200 {
			t.Errorf("got %d", got.status)
		}
	})
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d log lines, want one when it began and one when it was over:\n%s", n, &log)
	}
}

func TestShutdownEndsTheWaitForDescriptors(t *testing.T) {
	p := newPipes(syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE)
	virtually(t, Options{Engine: agreeable()}, p, func(*testing.T, *Server) { time.Sleep(40 * time.Millisecond) })
	if len(p.errs) == 0 {
		t.Error("all errors were waited out")
	}
}

func TestListenerThatFailsEndsServe(t *testing.T) {
	for _, fault := range []error{errors.New("no more"), net.ErrClosed} {
		ln := newPipes(fault)
		s := New(Options{Engine: agreeable()})
		if err := s.Serve(ln); !errors.Is(err, fault) {
			t.Errorf("Serve returned %v, want %v", err, fault)
		}
		select {
		case <-ln.closed:
		default:
			t.Error("the listener is left open")
		}
	}
}

func TestPanicEndsTheRequestOnly(t *testing.T) {
	f := acquiring(func(context.Context) (locks.Lease, error) { panic("the engine is broken") })
	var log bytes.Buffer
	m := metrics.New(build())
	_, addr := serve(t, Options{Engine: f, Metrics: m, Log: slog.New(slog.NewTextHandler(&log, nil))})
	got := dial(t, addr).ask("GET", "/acquire/a")
	if got.status != 500 || got.body != errUnknown || !got.last {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if !strings.Contains(log.String(), "the engine is broken") {
		t.Errorf("the log is %s", &log)
	}
	if got := dial(t, addr).ask("GET", "/healthz"); got.status != 200 {
		t.Errorf("afterwards /healthz is %d", got.status)
	}
}

func TestConnectionsAboveTheLimitAreTurnedAway(t *testing.T) {
	s, addr := serve(t, Options{Engine: agreeable(), MaxConns: 2})
	first, second := dial(t, addr), dial(t, addr)
	first.ask("GET", "/healthz")
	second.ask("GET", "/healthz")
	third := dial(t, addr)
	got := third.ask("GET", "/acquire/a")
	if got.status != 503 || got.header.Get("Content-Type") != "application/json" || !got.last {
		t.Errorf("got %d %v %s", got.status, got.header, got.body)
	}
	mustBeDocumented(t, got.body)
	_ = third.Close()
	_ = second.Close()
	waitFor(t, func() bool { return s.Connections() == 1 })
	if got := dial(t, addr).ask("GET", "/acquire/a"); got.status != 200 {
		t.Errorf("when there is room again: got %d", got.status)
	}
}

func TestFloodAboveTheLimitIsDropped(t *testing.T) {
	p := newPipes()
	virtually(t, Options{Engine: agreeable(), MaxConns: 1}, p, func(t *testing.T, s *Server) {
		p.dial(t)
		for range 2 * maxExtra {
			p.dial(t)
		}
		synctest.Wait()
		if n := s.Connections(); n != 1+maxExtra {
			t.Errorf("%d connections, want %d", n, 1+maxExtra)
		}
	})
}

// waitFor waits for something that happens soon, on its own.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	_, addr := serve(t, Options{Engine: agreeable()})
	c := dial(t, addr)
	const headers = " HTTP/1.1\r\nHost: candado\r\n\r\n"
	c.send("GET /acquire/a" + headers + "GET /release/a" + headers + "GET /nowhere" + headers + "GET /acquire/b" + headers)
	for _, want := range []int{200, 200, 404, 200} {
		if got := c.receive("GET"); got.status != want {
			t.Errorf("got %d, want %d", got.status, want)
		}
	}
}

func TestClientThatLeavesIsForgotten(t *testing.T) {
	s, addr := serve(t, Options{Engine: agreeable()})
	c := dial(t, addr)
	c.ask("GET", "/healthz")
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	_, _ = io.WriteString(c, "GET /half")
	_ = c.Close()
	waitFor(t, func() bool { return s.Connections() == 0 })
}
