package secure

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// ownTime is how long a client may take to accept what TLS sends by itself.
const ownTime = time.Second

// handshakeBytes bounds what a client sends before it is let in: several times what
// a chain of large certificates takes. TLS itself would keep ten times as much for
// each of those who never get to the end.
const handshakeBytes = 32 << 10

var errLong = errors.New("a handshake of more than 32 KiB")

// Listener returns a listener that hands on inner's connections as *tls.Conn, of
// which each has yet to shake hands. Who has done that calls Established of what lies
// under the connection (NetConn), if there is such a method: until then the client may
// send 32 KiB.
func Listener(inner net.Listener, config *tls.Config) net.Listener {
	return &listener{inner, config}
}

type listener struct {
	net.Listener
	config *tls.Config
}

// Accept waits for nothing but a connection.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if socket, ok := conn.(*net.TCPConn); ok {
		conn = &wire{TCPConn: socket, room: handshakeBytes, shaking: true}
	}
	return tls.Server(conn, l.config), nil
}

// wire is the connection under TLS. Whoever reads from TLS may make it write: an
// answer to a request for new keys, or an alert. By then the write deadline may be
// one that was set for an earlier reply, and has passed; the write would fail, and
// TLS never writes again after one that failed. So such a write has a time of its own.
type wire struct {
	*net.TCPConn
	due atomic.Int64 // the write deadline, Unix ns; 0: none

	// Of who reads.
	shaking bool
	room    int // what the client may still send while shaking
}

// Established lets the client send what it likes. Nobody may read at the same time.
func (w *wire) Established() { w.shaking = false }

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	if !w.shaking {
		return w.TCPConn.Read(b)
	}
	if w.room == 0 {
		return 0, errLong
	}
	n, err := w.TCPConn.Read(b[:min(len(b), w.room)])
	w.room -= n
	return n, err
}

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error {
	w.note(t)
	return w.TCPConn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.note(t)
	return w.TCPConn.SetWriteDeadline(t)
}

func (w *wire) note(t time.Time) {
	due := int64(0)
	if !t.IsZero() {
		due = t.UnixNano()
	}
	w.due.Store(due)
}

// Write implements net.Conn. TLS calls it for one thing after the other.
func (w *wire) Write(b []byte) (int, error) {
	if due := w.due.Load(); due != 0 && time.Now().UnixNano() >= due {
		if err := w.SetWriteDeadline(time.Now().Add(ownTime)); err != nil {
			return 0, err
		}
	}
	return w.TCPConn.Write(b)
}
