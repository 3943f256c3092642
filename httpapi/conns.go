package httpapi

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/hangup"
)

// farewellTime is how long connections are still read once the server drains:
// a request that was on its way is told that nothing was done.
const farewellTime = 100 * time.Millisecond

// largePage is above how many bytes a page counts to MaxSending.
const largePage = 16 << 10

// MaxSending is how many bytes may be kept, for all clients, of large pages that are being
// sent.
const MaxSending = 64 << 20

// maxAhead bounds what is read of a client while a request of its waits.
const maxAhead = 64 << 10

// registry knows every open connection, so that Shutdown can end those that
// have no request (fasthttp's own does not see the ones that never sent a byte)
// and, at last, the others.
type registry struct {
	max      int
	exceeded func(locks.Quota)
	failed   func(*conn, error) // told of each handshake that fails
	draining atomic.Bool
	sending  atomic.Int64  // bytes of large pages
	empty    chan struct{} // closed when draining and no connection is left

	mu    sync.Mutex
	conns map[*conn]struct{}
}

func newRegistry(limit int, exceeded func(locks.Quota)) *registry {
	return &registry{max: limit, exceeded: exceeded, failed: func(*conn, error) {}, empty: make(chan struct{}), conns: make(map[*conn]struct{})}
}

// What add makes of a new connection.
type admission int

const (
	admitted admission = iota
	dropped            // and closed
)

// add takes a new connection in, if there is room for it.
func (r *registry) add(nc net.Conn) (*conn, admission) {
	c := &conn{Conn: nc, registry: r, in: hangup.NewReader(nc, maxAhead)}
	c.secure, _ = nc.(*tls.Conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	// Draining is looked at under the mutex: were it set after the look and
	// before the insertion, drain would have found the registry empty.
	n := len(r.conns)
	if r.draining.Load() || n >= r.max+maxExtra {
		_ = nc.Close()
		return nil, dropped
	}
	r.conns[c] = struct{}{}
	if n >= r.max {
		c.extra = time.Now().Add(extraTime)
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
	c.idle = state == fasthttp.StateIdle
	if c.idle || state == fasthttp.StateClosed {
		c.sent()
	}
	// The reply may have been written before draining began, and so not say that
	// it is the connection's last.
	if state == fasthttp.StateIdle && r.draining.Load() {
		c.endReading()
	}
}

// drain makes connections end that have no request running, from now on. What
// arrives within the farewell time is still answered.
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
		if !c.serving.Load() {
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
		_ = c.abort()
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
// would lose it.
type conn struct {
	net.Conn
	registry *registry
	secure   *tls.Conn      // Conn; nil without TLS
	in       *hangup.Reader // of Conn
	serving  atomic.Bool    // while a request is being answered
	ended    atomic.Bool
	extra    time.Time // by when the request must be there of a connection above the limit; zero: it is none

	// Of the goroutine that serves the connection.
	user             string // who the latest request was authenticated as; empty: nobody
	shaken           bool   // whether the handshake of TLS is made
	lingers          bool   // whether there is more to read when it is closed
	spoken           bool   // whether the client has sent a byte
	large            int64  // bytes of the large page that is being sent
	idle             bool   // whether it has all its replies, and has begun no further request
	cut              bool   // whether a reply could not be written to its end
	untold           func() // gives back the lease of which the latest reply tells; nil: there is none to give back
	reading, writing deadline

	ending sync.Mutex // orders endReading and tellReading
}

func (c *conn) endReading() {
	c.ending.Lock()
	defer c.ending.Unlock()
	if !c.ended.Swap(true) {
		_ = c.Conn.SetReadDeadline(time.Now().Add(farewellTime))
	}
}

// SetReadDeadline sets when reading times out. It must not be called during Read.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.isExtra() && t.After(c.extra) {
		t = c.extra
	}
	c.reading.due = t
	return nil
}

// SetWriteDeadline sets when writing times out. It must not be called during Write.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writing.due = t
	return nil
}

// tellReading sets the connection's deadline. Once the end of reading has been set
// it stays so: fasthttp sets a deadline before each request, which might come just
// after.
func (c *conn) tellReading() error {
	c.ending.Lock()
	defer c.ending.Unlock()
	if c.ended.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(c.reading.tell())
}

// Write writes as net.Conn does.
func (c *conn) Write(p []byte) (n int, err error) {
	// TLS never writes again after a write that timed out: it has to be told each deadline.
	if c.writing.late() || c.secure != nil && c.writing.stale() {
		err = c.Conn.SetWriteDeadline(c.writing.tell())
	}
	if err == nil {
		n, err = c.Conn.Write(p)
	}
	if err == nil {
		return n, nil
	}
	if c.writing.early(err) {
		if err = c.Conn.SetWriteDeadline(c.writing.tell()); err == nil {
			var rest int
			rest, err = c.Conn.Write(p[n:])
			n += rest
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.registry.exceeded(locks.QuotaWriteTime)
	}
	c.cut = c.cut || err != nil
	return n, err
}

// Read reads as net.Conn does. Where reading was ended, or nothing ever came,
// its error is net.ErrClosed: that is how fasthttp knows to close without a
// reply. To a client that has asked nothing, a reply would pass for the answer
// to its first request.
func (c *conn) Read(p []byte) (n int, err error) {
	if c.unready() && c.shakeHands() != nil {
		return 0, net.ErrClosed
	}
	if c.reading.late() {
		err = c.tellReading()
	}
	if err == nil {
		n, err = c.in.Read(p)
	}
	if n == 0 && c.reading.early(err) {
		if err = c.tellReading(); err == nil {
			n, err = c.in.Read(p)
		}
	}
	c.spoken = c.spoken || n > 0
	if err != nil {
		c.waitedInVain(err)
	}
	if err != nil && (c.ended.Load() || !c.spoken && !c.isExtra()) {
		err = net.ErrClosed
	}
	return n, err
}

// waitedInVain counts a wait for a request that never began. Of one that did, the client
// is told, and it is counted then.
func (c *conn) waitedInVain(err error) {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded) || c.ended.Load() || c.isExtra():
	case c.idle:
		c.registry.exceeded(locks.QuotaHTTPIdleTime)
	case !c.spoken:
		c.registry.exceeded(locks.QuotaRequestTime)
	}
}

// sends counts a page that is to be sent. It returns false if it is large, and too much
// is being sent already.
func (c *conn) sends(size int) bool {
	if size <= largePage {
		return true
	}
	c.sent() // of a request before, if this one was pipelined
	n := int64(size)
	if all := c.registry.sending.Add(n); all > MaxSending && all > n {
		c.registry.sending.Add(-n)
		return false
	}
	c.large = n
	return true
}

// sent takes note that the page was sent, or will never be.
func (c *conn) sent() {
	if c.large > 0 {
		c.registry.sending.Add(-c.large)
		c.large = 0
	}
}

// watch calls gone when the client leaves before stop is called, and stop
// reports whether it has. Both are called while a request is being answered:
// then nothing else reads, and no read deadline is set but the watch's own
// (fasthttp sets one before it reads again). A drain that began before the
// request is seen by it, and one that begins later leaves its connection alone.
func (c *conn) watch(gone func()) (stop func() bool) {
	c.reading.told = time.Time{} // as it will be afterwards
	return c.in.Watch(gone)
}

// Close closes the connection and takes it out of the registry. It belongs to the goroutine
// that serves the connection.
func (c *conn) Close() error {
	defer c.registry.remove(c)
	if c.lingers {
		hangup.Linger(c.Conn, lingerBytes)
	}
	if c.cut && c.untold != nil {
		defer c.untold()
	}
	return c.Conn.Close()
}
