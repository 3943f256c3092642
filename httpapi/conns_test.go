package httpapi

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
)

// mustBeEnded fails unless reading has ended, for good.
func mustBeEnded(t *testing.T, c *conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading returns %v", err)
	}
}

func added(t *testing.T, r *registry) *conn {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = far.Close() })
	c, admission := r.add(near)
	if admission != admitted {
		t.Fatalf("not admitted: %v", admission)
	}
	return c
}

func TestDeadlineSetAfterTheEndChangesNothing(t *testing.T) {
	r := newRegistry(1, func(locks.Quota) {})
	c := added(t, r)
	r.drain()
	mustBeEnded(t, c)
}

func TestConnectionThatBecomesIdleWhileDrainingEnds(t *testing.T) {
	r := newRegistry(1, func(locks.Quota) {})
	c := added(t, r)
	r.track(c, fasthttp.StateActive)
	r.drain()
	r.track(c, fasthttp.StateIdle)
	mustBeEnded(t, c)
	_ = c.Close()
	_ = c.Close() // once more is harmless
	select {
	case <-r.empty:
	default:
		t.Error("the registry does not notice that it is empty")
	}
}

func TestConnectionThatComesWhileDrainingIsClosed(t *testing.T) {
	r := newRegistry(1, func(locks.Quota) {})
	r.drain()
	near, far := net.Pipe()
	if _, admission := r.add(near); admission != dropped {
		t.Errorf("it was not dropped: %v", admission)
	}
	if _, err := far.Write([]byte("x")); err == nil {
		t.Error("it is open")
	}
}
