package proxy

// This file watches a client whose command waits: nothing but reading tells
// whether it is still there.

import (
	"errors"
	"os"
	"time"
)

// maxAhead bounds what is read of a client while its command waits. One that
// sends more behind such a command is broken.
const maxAhead = 1 << 20

const errAhead protocolError = "more than 1 MiB sent behind a command that waits"

// ahead is what was read of a client while a command of its waited.
type ahead struct {
	buf  []byte // behind the guard's own
	err  error  // what ended the reading, if it was not our deadline
	full bool
}

// watch reads ahead until stop is called, and calls gone as soon as the client
// has left, or has closed its half of the connection, or has sent too much.
// Stop reports whether that has happened, and must be called. Both belong to the
// goroutine that serves the connection, which can't be in Read meanwhile: so the
// bytes need no lock. They go to a buffer of their own, since what Read has not
// handed on yet must stay where it is.
func (g *guard) watch(gone func()) (stop func() bool) {
	done := make(chan struct{})
	g.mu.Lock()
	g.arm(time.Time{})
	g.mu.Unlock()
	go func() {
		defer close(done)
		if !g.readAhead() {
			gone()
		}
	}()
	return func() bool {
		// The goroutine that waits for bytes is woken by a deadline in the past. If
		// it has just got some, it meets the deadline at its next read.
		g.mu.Lock()
		g.arm(time.Unix(1, 0))
		g.mu.Unlock()
		<-done
		return g.ahead.err != nil || g.ahead.full
	}
}

// readAhead reads until the deadline has passed; then it returns true.
func (g *guard) readAhead() bool {
	if g.ahead.err != nil {
		return false // it left while an earlier command waited
	}
	chunk := make([]byte, readBuffer)
	for {
		n, err := g.Conn.Read(chunk)
		g.ahead.buf = append(g.ahead.buf, chunk[:n]...)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return true
		case err != nil:
			g.ahead.err = err
			return false
		case len(g.ahead.buf) > maxAhead:
			g.ahead.full = true
			return false
		}
	}
}

// takeAhead moves what was read ahead into the guard's buffer, as much as there
// is room for. It returns how much that was, and, once all is taken, what ended
// the reading.
func (g *guard) takeAhead() (n int, err error) {
	if len(g.ahead.buf) == 0 {
		return 0, g.ahead.err
	}
	n = copy(g.buf[g.w:], g.ahead.buf)
	g.w += n
	if g.ahead.buf = g.ahead.buf[n:]; len(g.ahead.buf) == 0 {
		g.ahead.buf = nil
	}
	return n, nil
}
