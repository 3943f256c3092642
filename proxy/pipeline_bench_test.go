package proxy

// This file measures what a command costs from the connection to the engine and back,
// without the kernel.

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// BenchmarkCommands sends pairs of LOCK.ACQUIRE and LOCK.RELEASE, so many commands at a
// time.
func BenchmarkCommands(b *testing.B) {
	for _, engine := range []struct {
		name string
		make func() locks.Engine
	}{
		{"memory", func() locks.Engine { return memory.New(memory.Options{}) }},
		{"nothing", func() locks.Engine { return idle{} }},
	} {
		for _, pipeline := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/P=%d", engine.name, pipeline), func(b *testing.B) { commands(b, engine.make(), pipeline) })
		}
	}
}

func commands(b *testing.B, e locks.Engine, pipeline int) {
	defer e.Close()
	conn := newEndless(b.N, pipeline)
	ln := newPipeListener()
	srv := New(quiet(Options{Engine: e}))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	b.ReportAllocs()
	b.ResetTimer()
	ln.conns <- conn
	<-conn.closed
	b.StopTimer()
	_ = srv.Close()
	<-served
}

// endless is a connection on which commands arrive whenever it is read, until there were
// enough.
type endless struct {
	batches []string
	each    int // commands in a batch
	next    int
	left    int
	closed  chan struct{}
}

func newEndless(commands, pipeline int) *endless {
	c := &endless{left: commands, each: pipeline, closed: make(chan struct{})}
	if pipeline == 1 {
		c.batches = []string{encode("LOCK.ACQUIRE", "lock:000001", "PX", "30000"), encode("LOCK.RELEASE", "lock:000001")}
		return c
	}
	var acquires, releases strings.Builder
	for i := range pipeline / 2 {
		id := fmt.Sprintf("lock:000001:%d", i)
		acquires.WriteString(encode("LOCK.ACQUIRE", id, "PX", "30000"))
		releases.WriteString(encode("LOCK.RELEASE", id))
	}
	c.batches = []string{acquires.String() + releases.String()}
	return c
}

func (c *endless) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.EOF
	}
	c.left -= c.each
	n := copy(p, c.batches[c.next])
	c.next = (c.next + 1) % len(c.batches)
	return n, nil
}

func (c *endless) Write(p []byte) (int, error)      { return len(p), nil }
func (c *endless) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *endless) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *endless) SetDeadline(time.Time) error      { return nil }
func (c *endless) SetReadDeadline(time.Time) error  { return nil }
func (c *endless) SetWriteDeadline(time.Time) error { return nil }

func (c *endless) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

// idle is an engine that does nothing.
type idle struct{ locks.Engine }

func (idle) Acquire(context.Context, locks.AcquireRequest) (locks.Lease, error) {
	return locks.Lease{Token: 1763860000000001}, nil
}

func (idle) Release(context.Context, locks.ReleaseRequest) (locks.Released, error) {
	return locks.Released{Ended: 1}, nil
}

func (e idle) Do(ctx context.Context, ops []locks.Op) { locks.DoEach(ctx, e, ops) }

func (idle) Close() error { return nil }
