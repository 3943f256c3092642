package httpapi

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// maxTurnedAway is how many connections above the limit are told so at one
// time. Beyond them, connections are closed without a word.
const maxTurnedAway = 64

// registry knows every open connection, so that Shutdown can end those that
// have no request (fasthttp's own does not see the ones that never sent a byte)
// and, at last, the others.
type registry struct {
	max      int
	draining atomic.Bool
	empty    chan struct{} // closed when draining and no connection is left

	mu    sync.Mutex
	conns map[*conn]struct{}
}

func newRegistry(limit int) *registry {
	return &registry{max: limit, empty: make(chan struct{}), conns: make(map[*conn]struct{})}
}

// What add makes of a new connection.
type admission int

const (
	admitted admission = iota
	turnedAway
	dropped // and closed
)

// add takes a new connection in, if there is room for it.
func (r *registry) add(nc net.Conn) (*conn, admission) {
	c := &conn{Conn: nc, registry: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Draining is looked at under the mutex: were it set after the look and
	// before the insertion, drain would have found the registry empty.
	n := len(r.conns)
	if r.draining.Load() || n >= r.max+maxTurnedAway {
		_ = nc.Close()
		return nil, dropped
	}
	r.conns[c] = struct{}{}
	if n >= r.max {
		return c, turnedAway
	}
	return c, admitted
}

func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, open := r.conns[c]; !open {
		return
	}
	delete(r.conns, c)
	if r.draining.Load() && len(r.conns) == 0 {
		close(r.empty)
	}
}

// track follows fasthttp's view of a connection.
func (r *registry) track(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case fasthttp.StateActive:
		c.active.Store(true)
	case fasthttp.StateIdle:
		// First the state, then the look at draining; drain does it the other
		// way round. So one of the two ends this connection.
		c.active.Store(false)
		if r.draining.Load() {
			c.endReading()
		}
	}
}

// drain ends the connections that have no request, now and from now on.
func (r *registry) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining.Swap(true) {
		return
	}
	if len(r.conns) == 0 {
		close(r.empty)
	}
	for c := range r.conns {
		if !c.active.Load() {
			c.endReading()
		}
	}
}

// closeAll closes what is left, and returns how many connections that were.
func (r *registry) closeAll() int {
	r.mu.Lock()
	left := make([]*conn, 0, len(r.conns))
	for c := range r.conns {
		left = append(left, c)
	}
	r.mu.Unlock()
	for _, c := range left {
		_ = c.Close()
	}
	return len(left)
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// conn is an accepted connection. The registry may end its reading at any time;
// writing is left alone, because a reply may be on its way. Closing instead
// would lose replies to pipelined requests, which fasthttp holds back while
// there is another request to read.
type conn struct {
	net.Conn
	registry *registry
	active   atomic.Bool // from the first byte of a request to the end of its reply
	ended    atomic.Bool

	deadline sync.Mutex // orders endReading and SetReadDeadline
}

func (c *conn) endReading() {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.ended.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// SetReadDeadline sets when reading times out. Once reading has been ended it
// stays so: fasthttp sets a deadline before each request, which might come just
// after the end.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.ended.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// Read reads as net.Conn does. Where reading was ended, its error is
// net.ErrClosed: that is how fasthttp knows to close without a reply.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.ended.Load() {
		err = net.ErrClosed
	}
	return n, err
}

// Close closes the connection and takes it out of the registry.
func (c *conn) Close() error {
	defer c.registry.remove(c)
	return c.Conn.Close()
}
