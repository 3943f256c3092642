package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipeListener accepts in-memory connections, so that tests can run in virtual
// time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// inVirtualTime runs a test against a server over pipes, whose engine is made
// within the bubble, too; goroutines that are left fail it.
func inVirtualTime(t *testing.T, opts Options, test func(t *testing.T, srv *Server, dial func() *client)) {
	synctest.Test(t, func(t *testing.T) {
		virtual(t, opts, func(srv *Server, dial func() *client) { test(t, srv, dial) })
	})
}

// closedAfter waits for the server to end the connection and returns how long
// that took.
func closedAfter(c *client) time.Duration {
	begin := time.Now()
	_, _ = io.Copy(io.Discard, c.r)
	return time.Since(begin)
}

// TestCommandThatEndsWithItsConnectionCanSayNothing: the client would take what it is told
// for the outcome.
func TestCommandThatEndsWithItsConnectionCanSayNothing(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	g := newGuard(near, new(quiet(Options{}).withDefaults()), new(sync.Pool))
	ended := false
	g.closed = func() {
		ended = true
		_ = near.SetDeadline(time.Now()) // nobody reads
		if _, err := near.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("when commands end, writing to the client gives %v", err)
		}
	}
	if err := g.Close(); err != nil || !ended {
		t.Errorf("closing: %v; commands have ended: %v", err, ended)
	}
}

func TestUnfinishedCommandIsNotWaitedForLong(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, _ *Server, dial func() *client) {
		c := dial()
		c.want("+PONG\r\n", "PING")
		time.Sleep(time.Hour)
		c.send("*1\r\n$4\r\nPI")
		if d := closedAfter(c); d != 10*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// The time for a command runs from its first byte: bytes that trickle in do not
// prolong it.
func TestSlowLorisIsCutOff(t *testing.T) {
	inVirtualTime(t, Options{CommandTimeout: 5 * time.Second}, func(t *testing.T, srv *Server, dial func() *client) {
		c := dial()
		begin := time.Now()
		for {
			if _, err := io.WriteString(c.conn, "x"); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if d := time.Since(begin); d > 6*time.Second {
			t.Errorf("cut off after %v", d)
		}
	})
}

func TestSteadyPipelineIsNotTakenForASlowCommand(t *testing.T) {
	inVirtualTime(t, Options{CommandTimeout: 5 * time.Second}, func(t *testing.T, _ *Server, dial func() *client) {
		c := dial()
		ping := encode("PING")
		c.send(ping[:5])
		for range 10 { // there is always an unfinished command, never an old one
			time.Sleep(3 * time.Second)
			c.send(ping[5:] + ping[:5])
			if got := c.reply(); got != "+PONG\r\n" {
				t.Fatalf("got %q", got)
			}
		}
	})
}

func TestIdleConnectionLivesUnlessALimitIsSet(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, _ *Server, dial func() *client) {
		c := dial()
		c.want("+PONG\r\n", "PING")
		time.Sleep(100 * time.Hour)
		c.want("+PONG\r\n", "PING")
	})
	inVirtualTime(t, Options{IdleTimeout: time.Minute}, func(t *testing.T, _ *Server, dial func() *client) {
		c := dial()
		for range 5 {
			time.Sleep(50 * time.Second)
			c.want("+PONG\r\n", "PING")
		}
		if d := closedAfter(c); d != time.Minute {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestUnreadReplyIsNotWaitedForLong(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, srv *Server, dial func() *client) {
		c := dial()
		c.send(encode("PING")) // a pipe holds nothing: the reply can't be written
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		if n := srv.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// halfCloser is a pipe that can be shut for writing, as a TCP connection can.
type halfCloser struct{ net.Conn }

func (halfCloser) CloseWrite() error { return nil }

type halfCloserListener struct{ *pipeListener }

func (l halfCloserListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- halfCloser{theirs}
	return ours
}
