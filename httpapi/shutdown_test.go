package httpapi

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const get = "GET /acquire/a HTTP/1.1\r\nHost: candado\r\n\r\n"

func TestShutdownClosesConnectionsWithoutRequestAfterAFarewell(t *testing.T) {
	p := newPipes()
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
		fresh, idle := p.dial(t), p.dial(t)
		idle.ask("GET", "/acquire/a")
		synctest.Wait()
		start := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != farewellTime {
			t.Errorf("it took %v", took)
		}
		fresh.expectEnd()
		idle.expectEnd()
	})
}

func TestRequestThatWasOnItsWayIsToldOfTheShutdown(t *testing.T) {
	p := newPipes()
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
		c, half := p.dial(t), p.dial(t)
		c.ask("GET", "/acquire/a")
		half.send("GET /acq")
		synctest.Wait()
		done := make(chan error)
		go func() { done <- s.Shutdown(t.Context()) }()
		time.Sleep(farewellTime / 2)
		if got := c.ask("GET", "/readyz"); got.status != 503 {
			t.Errorf("/readyz: got %d %s", got.status, got.body)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.expectEnd()
		half.expectEnd()
	})
}

func TestShutdownLetsRunningRequestsFinish(t *testing.T) {
	p := newPipes()
	f := acquiring(func(ctx context.Context) (locks.Lease, error) {
		select {
		case <-time.After(3 * time.Second):
			return locks.Lease{Token: 7}, nil
		case <-ctx.Done():
			return locks.Lease{}, locks.ErrUnavailable
		}
	})
	virtually(t, Options{Engine: f}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.send(get)
		synctest.Wait()
		start := time.Now()
		done := make(chan error)
		go func() { done <- s.Shutdown(t.Context()) }()
		if got := c.receive("GET"); got.status != 200 || got.body != held || !got.last {
			t.Errorf("got %d %s", got.status, got.body)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRequestThatArrivesWhileDrainingIsRefused(t *testing.T) {
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/acquire/a":   {503, errStop},
		"/release/a":   {503, errStop},
		"/heartbeat/a": {503, errStop},
		"/readyz":      {503, errStop},
		"/healthz":     {200, free},
	} {
		t.Run(target, func(t *testing.T) {
			p := newPipes()
			virtually(t, Options{Engine: ended(errors.New("asked"))}, p, func(t *testing.T, s *Server) {
				c := p.dial(t)
				c.ask("GET", "/healthz")
				c.send("GET " + target)
				synctest.Wait()
				done := make(chan error)
				go func() { done <- s.Shutdown(t.Context()) }()
				synctest.Wait()
				c.send(" HTTP/1.1\r\nHost: candado\r\n\r\n")
				if got := c.receive("GET"); got.status != want.status || got.body != want.body || !got.last {
					t.Errorf("got %d %s, want %d %s", got.status, got.body, want.status, want.body)
				}
				c.expectEnd()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRepliesToPipelinedRequestsSurviveShutdown(t *testing.T) {
	p := newPipes()
	var entered, leave chan bool
	f := acquiring(func(context.Context) (locks.Lease, error) {
		entered <- true
		<-leave
		return locks.Lease{Token: 7}, nil
	})
	virtually(t, Options{Engine: f}, p, func(t *testing.T, s *Server) {
		entered, leave = make(chan bool), make(chan bool)
		c := p.dial(t)
		c.send(get + get)
		<-entered
		leave <- true
		if got := c.receive("GET"); got.status != 200 || got.last { // while the second is answered
			t.Errorf("got %d %s", got.status, got.body)
		}
		<-entered
		done := make(chan error)
		go func() { done <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		leave <- true
		if got := c.receive("GET"); got.status != 200 || !got.last {
			t.Errorf("got %d %s", got.status, got.body)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownReturnsWhenItsTimeIsOver(t *testing.T) {
	p := newPipes()
	var cancelled atomic.Bool
	f := acquiring(func(ctx context.Context) (locks.Lease, error) {
		<-ctx.Done()
		cancelled.Store(true)
		return locks.Lease{}, locks.ErrUnavailable
	})
	virtually(t, Options{Engine: f}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.send(get)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		err := s.Shutdown(ctx)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 2*time.Second {
			t.Errorf("Shutdown returned %v after %v", err, took)
		}
		c.expectEnd()
		synctest.Wait()
		if n := s.Connections(); n != 0 || !cancelled.Load() {
			t.Errorf("%d connections are left, and the engine call was cancelled: %v", n, cancelled.Load())
		}
	})
}

func TestServeAfterShutdownReturns(t *testing.T) {
	s, p := New(Options{Engine: agreeable()}), newPipes()
	for range 2 {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Serve(p); err != nil {
		t.Error(err)
	}
	select {
	case <-p.closed:
	default:
		t.Error("the listener is left open")
	}
}
