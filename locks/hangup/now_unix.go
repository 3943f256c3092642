//go:build unix

package hangup

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// unwrapping is how long reading may take what arrived under TLS, if that is only a
// part of what can be deciphered.
const unwrapping = 50 * time.Millisecond

// readNow reads what has arrived, and waits for nothing. A net.Conn can't be
// asked for that: its Read either waits, or, once its deadline has passed, does
// not look. Without it, a client whose end arrived just before the watch was
// stopped would be taken to be there, and be made a holder. A connection that has
// no socket is not looked at.
func (r *Reader) readNow() {
	raw, plain, ok := r.socket()
	switch {
	case !ok:
		return
	case !plain:
		r.readThrough(raw)
		return
	}
	for more := true; more && !r.left() && !r.full(); {
		closed := raw.Read(func(fd uintptr) bool {
			more = r.readSocket(int(fd))
			return true // whatever came, don't wait for more
		})
		if closed != nil {
			r.took(0, closed)
		}
	}
}

// readSocket does one read, and reports whether there may be more to read.
func (r *Reader) readSocket(fd int) (more bool) {
	n, err := syscall.Read(fd, r.room())
	switch {
	case errors.Is(err, syscall.EINTR):
		return true
	case errors.Is(err, syscall.EAGAIN):
		return false
	case err != nil:
		r.took(0, err)
	case n == 0:
		r.took(0, io.EOF)
	default:
		r.took(n, nil)
	}
	return true
}

// readThrough reads what has arrived on the socket by way of the TLS above, which
// could not be asked while the deadline had passed. A client that sends nothing
// costs one look at the socket.
func (r *Reader) readThrough(raw syscall.RawConn) {
	defer r.setDeadline(time.Time{})
	for !r.left() && !r.full() && arrived(raw) {
		r.setDeadline(time.Now().Add(unwrapping))
		if r.readSome() {
			return // what has arrived says nothing yet
		}
		// The rest of what TLS took from the socket: without waiting for more.
		r.setDeadline(time.Unix(1, 0))
		for !r.left() && !r.full() && !r.readSome() {
		}
	}
}

// arrived reports whether a read of the socket would not have to wait, whatever the
// deadline.
func arrived(raw syscall.RawConn) bool {
	now := true // that it is closed would be read as well
	_ = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		now = !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
	})
	return now
}
