// Package hangup tells a front end when a client has left while a request of its
// waits. Nothing but reading tells that: so the connection is read ahead, and
// what came is kept for whoever reads it next.
//
// reader.go reads ahead; acquire.go acquires for a client that is watched so; end.go is about
// how connections end and, under TLS, begin.
package hangup

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// leastRead is how much room there is for a read ahead. It is little, since most
// clients send nothing while they wait; a buffer that fills grows in doubles.
const leastRead = 128

// patience is for how long a client may have sent more than is read ahead, and
// can't be looked at behind it, before it is taken to be gone.
const patience = 250 * time.Millisecond

// glance is how often the state of such a client's connection is looked at.
const glance = 50 * time.Millisecond

// Reader reads a connection, of which it may have read a part ahead. It belongs
// to the goroutine that serves the connection.
type Reader struct {
	conn net.Conn
	max  int

	buf  []byte // read ahead; at most max bytes
	err  error  // what ended the reading, if it was not our deadline
	over bool   // the buffer was full for too long
}

// NewReader returns a Reader of conn, which nothing else may read between Watch
// and its stop. It reads at most limit bytes ahead; then the client has to wait.
// A client that has sent so much can't be watched any further: it is taken to be
// gone if its request still waits a quarter of a second later: its end may be stuck
// behind what it sent.
func NewReader(conn net.Conn, limit int) *Reader { return &Reader{conn: conn, max: limit} }

// Limit changes how many bytes are read ahead. It must not be called between Watch and
// its stop.
func (r *Reader) Limit(limit int) { r.max = limit }

// Read returns what was read ahead; once all of it is taken, what ended the
// reading, or else what conn's Read does.
func (r *Reader) Read(p []byte) (int, error) {
	switch {
	case len(r.buf) > 0:
		n := copy(p, r.buf)
		if r.buf = r.buf[n:]; len(r.buf) == 0 {
			r.buf = nil
		}
		return n, nil
	case r.err != nil:
		return 0, r.err
	}
	return r.conn.Read(p)
}

// Overrun reports whether the client was taken to be gone since it had sent too
// much.
func (r *Reader) Overrun() bool { return r.over }

// Watch reads ahead until stop is called, and calls gone as soon as the client
// has left, or has closed its half of the connection, or soon after it has
// sent too much.
// Stop reports whether that has happened, and must be called unless the
// connection is closed; gone has then returned, if it was called.
//
// The caller must be the goroutine that reads: it can't be in Read meanwhile, so
// what is read needs no lock. Nobody else may set a read deadline between the
// two calls. Afterwards, the connection has none.
func (r *Reader) Watch(gone func()) (stop func() bool) {
	stopped, done := make(chan struct{}), make(chan struct{})
	r.setDeadline(time.Time{})
	go func() {
		defer close(done)
		if !r.readAhead(stopped) {
			gone()
		}
	}()
	return func() bool {
		close(stopped)
		// The goroutine that waits for bytes is woken by a deadline in the past. If
		// it has just got some, it meets the deadline at its next read.
		r.setDeadline(time.Unix(1, 0))
		<-done
		r.setDeadline(time.Time{})
		if !r.left() {
			r.readNow() // it may have left just before the deadline was set
		}
		if !r.left() && r.full() {
			r.leaves()
		}
		if len(r.buf) == 0 {
			r.buf = nil
		}
		return r.left()
	}
}

// socket returns the connection as the kernel knows it, be it under TLS, and whether
// it is there; plain, whether nothing lies between.
func (r *Reader) socket() (raw syscall.RawConn, plain, ok bool) {
	conn, plain := r.conn, true
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn, plain = secure.NetConn(), false
	}
	known, ok := conn.(syscall.Conn)
	if !ok {
		return nil, plain, false
	}
	raw, err := known.SyscallConn()
	return raw, plain, err == nil
}

// setDeadline fails on a closed connection only, as the read will.
func (r *Reader) setDeadline(t time.Time) { _ = r.conn.SetReadDeadline(t) }

func (r *Reader) left() bool { return r.err != nil || r.over }

func (r *Reader) full() bool { return len(r.buf) >= r.max }

// readAhead reads until the deadline has passed, which follows on stopped being
// closed; then it returns true.
func (r *Reader) readAhead(stopped <-chan struct{}) bool {
	for !r.left() {
		if r.full() {
			return r.lookOn(stopped)
		}
		if r.readSome() {
			return true
		}
	}
	return false
}

// readSome does one read, and reports whether the deadline ended it.
func (r *Reader) readSome() (late bool) {
	n, err := r.conn.Read(r.room())
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.took(n, nil)
		return true
	}
	r.took(n, err)
	return false
}

// lookOn watches a client that has sent as much as is read ahead. It returns true
// once stopped is closed.
func (r *Reader) lookOn(stopped <-chan struct{}) bool {
	look, end := time.NewTicker(glance), time.NewTimer(patience)
	defer look.Stop()
	defer end.Stop()
	for {
		select {
		case <-stopped:
			return true
		case <-end.C: // a look may be due as well
			r.over = !r.leaves()
			return false
		case <-look.C:
			if r.leaves() {
				return false
			}
		}
	}
}

// leaves reports whether such a client has left, and notes that.
func (r *Reader) leaves() bool {
	if !r.closing() {
		return false
	}
	r.err = io.ErrUnexpectedEOF // what it sent last is thrown away
	return true
}

// room returns where the next bytes go. The buffer must not be full.
func (r *Reader) room() []byte {
	r.buf = slices.Grow(r.buf, leastRead)
	return r.buf[len(r.buf):min(cap(r.buf), r.max)]
}

// took notes what a read into room came to.
func (r *Reader) took(n int, err error) {
	r.buf = r.buf[:len(r.buf)+n]
	r.err = err
}
