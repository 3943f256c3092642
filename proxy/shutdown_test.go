package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const shutdownReply = "-SHUTDOWN candado is shutting down, nothing was done\r\n"

func TestShutdownLetsTheRunningCommandFinish(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, srv *Server, dial func() *client) {
		engine := srv.opts.Engine.(*scripted)
		busy, idle, talking := dial(), dial(), dial()
		idle.want("+PONG\r\n", "PING")
		talking.want("+PONG\r\n", "PING")
		busy.send(encode("LOCK.ACQUIRE", "slow"))
		<-engine.entered

		done := make(chan error, 1)
		go func() { done <- srv.Shutdown(t.Context()) }()
		synctest.Wait()
		talking.want(shutdownReply, "LOCK.ACQUIRE", "job")
		if d := closedAfter(idle); d > time.Second {
			t.Errorf("the idle connection was closed after %v", d)
		}
		closedAfter(talking)
		time.Sleep(time.Minute)
		if n := srv.Connections(); n != 1 {
			t.Errorf("%d connections are open, want that of the running command", n)
		}

		close(engine.gate)
		if got := busy.reply(); got != ":1763860000000001\r\n" {
			t.Errorf("the running command got %q", got)
		}
		busy.want(shutdownReply, "LOCK.RELEASE", "slow")
		closedAfter(busy)
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestRestOfABatchIsRefusedOnceStopping(t *testing.T) {
	engine := newScripted()
	_, addr := start(t, Options{Engine: engine})
	srv, addr2 := start(t, Options{Engine: engine})
	c := dial(t, addr2)
	c.send(encode("LOCK.ACQUIRE", "slow") + encode("LOCK.ACQUIRE", "with it") + encode("PING") + encode("LOCK.ACQUIRE", "job"))
	<-engine.entered
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	eventually(t, "the server is stopping", srv.stopping.Load)
	close(engine.gate)
	if got := c.rest(); got != strings.Repeat(":1763860000000001\r\n", 2)+shutdownReply+shutdownReply {
		t.Errorf("got %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := net.Dial("tcp", addr2); err == nil {
		t.Error("a connection was accepted after Shutdown")
	}
	dial(t, addr).want("+PONG\r\n", "PING")
}

func TestShutdownClosesHardWhenItsTimeIsUp(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, srv *Server, dial func() *client) {
		engine := srv.opts.Engine.(*scripted)
		c := dial()
		c.send(encode("LOCK.ACQUIRE", "slow"))
		<-engine.entered
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("it took %v", d)
		}
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the client read %v", err)
		}
		synctest.Wait() // the handler's context has ended, and so has its goroutine
		if n := srv.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// A client that keeps sending can't keep the server from stopping.
func TestShutdownEndsABusyPipeline(t *testing.T) {
	srv, addr := start(t, Options{})
	c := dial(t, addr)
	c.want("+PONG\r\n", "PING")
	go func() {
		for {
			if _, err := io.WriteString(c.conn, encode("PING")); err != nil {
				return
			}
		}
	}()
	go func() { _, _ = io.Copy(io.Discard, c.r) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownWithoutConnectionsEndsServe(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, srv *Server, _ func() *client) {
		synctest.Wait()
		for range 2 {
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
	})
}

func TestServeAfterShutdownReturns(t *testing.T) {
	srv := New(quiet(Options{}))
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	ln := newPipeListener()
	if err := srv.Serve(ln); err != nil {
		t.Error(err)
	}
	select {
	case <-ln.closed:
	default:
		t.Error("the listener is open")
	}
}

func TestServeReportsAListenerClosedUnderIt(t *testing.T) {
	ln := newPipeListener()
	_ = ln.Close()
	if err := New(quiet(Options{})).Serve(ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
}
