package proxy

// This file is a client's connection. It lets only whole commands of bounded size
// through, and puts a deadline on whatever waits for the client.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/hangup"
)

const (
	readBuffer = 4 << 10
	keptArgs   = 64

	// What is read of a client while its command waits. One that sends more behind
	// such a command is broken.
	maxAhead = 64 << 10

	errAhead protocolError = "more than 64 KiB sent behind a command that waits"

	// What is read of a client after the last reply.
	lingerBytes = 256 << 10

	// Once candado is stopping, a connection stays open this much longer, so that
	// a command that is on its way is told that nothing was done.
	farewellTime = 100 * time.Millisecond
)

// guard is a connection and what has been read of it. All but leave and Close belongs to
// the goroutine that serves it; those may be called from any.
type guard struct {
	net.Conn
	socket net.Conn // under TLS; else Conn
	opts   *Options
	sess   *session // whose connection this is
	closed func()   // called at each Close
	ending func()   // called when no command is handed on any more

	frames framer
	buf    []byte // buf[r:w] has been read and not been handed on
	r, w   int
	args   [][]byte  // where the arguments of the next go
	broken error     // what is wrong with the bytes at r; the commands before are fine
	authBy time.Time // when the client has to have authenticated; zero: it has, or need not
	begun  time.Time // when the command at r began to arrive; zero if none has
	hungUp bool
	in     *hangup.Reader // of Conn

	buffers *sync.Pool // of *[readBuffer]byte, shared by all connections

	unshaken *tls.Conn // Conn, until the handshake; nil without TLS
	writeBy  time.Time // the write deadline in force

	mu      sync.Mutex
	armed   time.Time // the read deadline in force
	reading bool      // whether a Read may be waiting for the client
	leaving bool
	leaveAt time.Time // when a leaving connection ends; zero until its running commands are done
}

func newGuard(conn net.Conn, opts *Options, buffers *sync.Pool) *guard {
	g := &guard{
		Conn:    conn,
		socket:  socketOf(conn),
		opts:    opts,
		buffers: buffers,
		closed:  func() {},
		ending:  func() {},
		in:      hangup.NewReader(conn, maxAhead),
		frames:  framer{maxBytes: opts.MaxCommandBytes, maxArgs: opts.MaxArguments},
	}
	g.unshaken, _ = conn.(*tls.Conn)
	return g
}

// more waits for more bytes, or ends the connection. It is called when all whole commands
// were taken, or no more shall be, and the replies are written.
func (g *guard) more() error {
	switch {
	case g.hungUp:
		g.farewell()
		return io.EOF
	case g.broken != nil:
		g.refuse(g.broken)
		return io.EOF
	}
	return g.fill()
}

// arguments takes the next whole command. They point into the buffer: they are valid
// until more is called. Nil if there is none.
func (g *guard) arguments() [][]byte {
	if cap(g.args) > keptArgs {
		g.args = nil
	}
	for {
		cmd := g.frame()
		if cmd == nil {
			return nil
		}
		g.args = g.args[:0]
		if cmd[0] == '*' {
			for _, at := range g.frames.found {
				g.args = append(g.args, cmd[at.from:at.to:at.to])
			}
		} else if g.args, g.broken = inlineArguments(cmd, g.opts.MaxArguments); g.broken != nil {
			return nil
		}
		if len(g.args) > 0 {
			return g.args
		}
	}
}

// frame takes the next whole command as it came. It returns nil if there is none, or sets
// broken if there will never be one.
func (g *guard) frame() []byte {
	if g.broken != nil {
		return nil
	}
	n, err := g.frames.next(g.buf[g.r:g.w])
	if n == 0 {
		g.broken = err
		return nil
	}
	cmd := g.buf[g.r : g.r+n : g.r+n]
	g.r += n
	g.begun = time.Time{}
	return cmd
}

// fill waits for more bytes. Nothing points into the buffer any more.
func (g *guard) fill() error {
	if g.unshaken != nil {
		if err := g.shakeHands(g.unshaken); err != nil {
			return err
		}
	}
	g.makeRoom()
	g.await()
	n, err := g.in.Read(g.buf[g.w:])
	g.w += n
	leaving := g.awaited()
	switch {
	case n > 0:
		return nil // an error that came along will come again
	case errors.Is(err, os.ErrDeadlineExceeded) && leaving:
		g.farewell()
		return io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		g.late()
		return io.EOF
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// late ends a connection whose client was waited for in vain.
func (g *guard) late() {
	if g.w == g.r {
		quota := locks.QuotaIdleTime
		if g.frames.stranger {
			quota = locks.QuotaRequestTime
		}
		g.opts.Exceeded(quota) // and says nothing, as Redis does: it would pass for a reply
		if g.socket != g.Conn {
			g.farewell() // TLS has a word for that
		}
		return
	}
	text := fmt.Sprintf("the command did not arrive within %v (%s)", g.opts.CommandTimeout, locks.QuotaRequestTime.Flag())
	g.refuse(overError{protocolError(text), locks.QuotaRequestTime})
}

func (g *guard) makeRoom() {
	switch {
	case g.r == g.w && len(g.buf) != readBuffer:
		g.buf = g.newBuffer() // also gives back what a large command took
		fallthrough
	case g.r == g.w:
		g.r, g.w = 0, 0
	case g.r > 0:
		g.w = copy(g.buf, g.buf[g.r:g.w])
		g.r = 0
	}
	if g.w == len(g.buf) {
		// The framer refuses a command before it has maxBytes+1 bytes of it.
		grown := make([]byte, min(2*len(g.buf), g.opts.MaxCommandBytes+1))
		copy(grown, g.buf[:g.w])
		g.buf = grown
	}
}

func (g *guard) newBuffer() []byte {
	if b, ok := g.buffers.Get().(*[readBuffer]byte); ok {
		return b[:]
	}
	return make([]byte, readBuffer)
}

// spare lets others have the buffer while this connection has no use for it: while its
// command waits, and at its end. What arguments returned is not valid any more. If something
// in the buffer is still to be handed on, only what a large command took is given back.
func (g *guard) spare() {
	clear(g.args[:cap(g.args)])
	switch left := g.buf[g.r:g.w]; {
	case len(left) > 0 && len(g.buf) > readBuffer:
		g.buf = make([]byte, max(len(left), readBuffer))
		g.r, g.w = 0, copy(g.buf, left)
	case len(left) > 0:
	case len(g.buf) == readBuffer:
		g.buffers.Put((*[readBuffer]byte)(g.buf))
		fallthrough
	default:
		g.buf, g.r, g.w = nil, 0, 0
	}
}

// await sets the read deadline. The lock orders it with leave: without it, leave
// could set its deadline between our look at leaving and our own setting, which
// would undo it, and the connection would outlive the drain.
func (g *guard) await() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = true
	var deadline time.Time
	switch {
	case g.leaving:
		if g.leaveAt.IsZero() {
			g.leaveAt = time.Now().Add(farewellTime)
		}
		deadline = g.leaveAt
	case g.unshaken != nil:
		deadline = time.Now().Add(g.opts.CommandTimeout)
	case g.w > g.r:
		if g.begun.IsZero() {
			g.begun = time.Now()
		}
		deadline = g.begun.Add(g.opts.CommandTimeout)
	case g.opts.IdleTimeout > 0:
		deadline = time.Now().Add(g.opts.IdleTimeout)
	}
	if !g.authBy.IsZero() && !g.leaving && (deadline.IsZero() || g.authBy.Before(deadline)) {
		deadline = g.authBy
	}
	g.arm(deadline)
}

func (g *guard) arm(deadline time.Time) {
	if deadline != g.armed {
		g.armed = deadline
		_ = g.SetReadDeadline(deadline) // fails on a closed connection only, as the read will
	}
}

func (g *guard) awaited() (leaving bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = false
	return g.leaving
}

// leave makes the connection end soon: after the commands that run, and the
// farewell time.
func (g *guard) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaving = true
	if g.reading {
		g.leaveAt = time.Now().Add(farewellTime)
		g.arm(g.leaveAt)
	}
}

// watch calls gone when the client leaves before stop is called. Both belong to
// the goroutine that serves the connection. That is not in Read meanwhile, so
// that leave sets no deadline.
func (g *guard) watch(gone func()) (stop func() bool) {
	end := g.in.Watch(gone)
	return func() bool {
		left := end()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.armed = time.Time{} // as the watch has left it
		return left
	}
}

// hangUp ends the connection once the replies that are due are written. No
// further command is handed on.
func (g *guard) hangUp() { g.hungUp = true }

// refuse tells the client what is wrong with its bytes, unless it wants no reply, and ends the
// connection. One that does not take even that has no more time for it than any client has at
// the end.
func (g *guard) refuse(err error) {
	line := err.Error()
	g.opts.Refused(errorCode(line))
	if over, ok := errors.AsType[overError](err); ok {
		g.opts.Exceeded(over.quota)
	}
	if g.sess.mute() {
		g.farewell()
		return
	}
	_ = g.SetWriteDeadline(time.Now().Add(hangup.LingerTime)) // fails if the write will
	if _, err := g.Conn.Write([]byte("-" + line + "\r\n")); err == nil {
		g.farewell()
	}
}

// farewell lets the client read the last reply before the connection closes. What is bound
// to the connection does not wait for that.
func (g *guard) farewell() {
	g.ending()
	hangup.Linger(g.Conn, lingerBytes)
}

// Write gives the client WriteTimeout to take b, or up to a quarter less: the deadline of an
// earlier write may do, so not each reply costs the setting of one.
func (g *guard) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // at the end of each batch, replies or not
	}
	timeout := g.opts.WriteTimeout
	if time.Until(g.writeBy) < timeout-timeout/4 {
		g.writeBy = time.Now().Add(timeout)
		if err := g.SetWriteDeadline(g.writeBy); err != nil {
			return 0, err
		}
	}
	n, err := g.Conn.Write(b)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		g.opts.Exceeded(locks.QuotaWriteTime)
	}
	return n, err
}

// Close closes the connection at once, and then ends the commands that run. In the other
// order, one of them could tell the client that its outcome is unknown.
func (g *guard) Close() error {
	defer g.closed()
	return g.socket.Close()
}
