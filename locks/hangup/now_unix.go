//go:build unix

package hangup

import (
	"errors"
	"io"
	"syscall"
)

// readNow reads what has arrived, and waits for nothing. A net.Conn can't be
// asked for that: its Read either waits, or, once its deadline has passed, does
// not look. Without it, a client whose end arrived just before the watch was
// stopped would be taken to be there, and be made a holder. A connection that is
// no plain socket, such as one of TLS, is not looked at.
func (r *Reader) readNow() {
	socket, ok := r.conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
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
