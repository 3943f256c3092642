package hangup

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// LingerTime is for how long Linger reads.
const LingerTime = 500 * time.Millisecond

// Linger lets the client read the last reply before the connection is closed: it shuts
// the connection for writing, and reads to its end, at most so many bytes and for
// LingerTime. Closing a socket with unread bytes resets it, and a reset can overtake the
// reply. A connection that can't be shut for writing is left alone.
func Linger(conn net.Conn, most int64) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(LingerTime)) // fails if the read will
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, most))
}

// Established tells what lies under TLS that the handshake is made, if it bounds what
// clients send before.
func Established(secure *tls.Conn) {
	if wire, ok := secure.NetConn().(interface{ Established() }); ok {
		wire.Established()
	}
}

// Left reports whether a handshake failed since the client went away, as one does that
// only looks whether the port is open, or since the server has closed the connection.
func Left(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}
