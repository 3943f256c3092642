package proxy

// This file is what a connection with TLS needs beyond one without.

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Those who speak without TLS to a port that has it are told so without TLS.
const msgNoTLS = "-ERR this port speaks TLS only\r\n"

// codeTLS stands for a handshake that failed among the codes of error replies.
const codeTLS = "TLS"

// socketOf returns the connection under TLS, or conn itself. Closing that takes no time, whereas
// TLS first says goodbye, for up to 5 s, to a client that may not listen.
func socketOf(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// shakeHands does the handshake of TLS, which has as much time as a command has. It
// belongs to the goroutine that serves the connection: whoever else is served,
// or waits to be, is not held up. A shutdown ends it as it ends the wait for a command.
func (g *guard) shakeHands(secure *tls.Conn) error {
	g.await()
	_ = g.SetWriteDeadline(time.Now().Add(g.opts.CommandTimeout)) // on a closed connection the handshake fails too
	err := secure.Handshake()
	leaving := g.awaited()
	if err == nil {
		established(secure)
		g.unshaken = nil
		return nil
	}
	if leaving || left(err) {
		return err
	}
	g.opts.Refused(codeTLS)
	g.opts.Log.Debug("TLS handshake failed", "client", g.RemoteAddr().String(), "error", err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		g.opts.Exceeded(locks.QuotaRequestTime)
		return err
	}
	socket := secure.NetConn()
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil {
		_, _ = socket.Write([]byte(msgNoTLS)) // the connection ends in any case
	}
	linger(socket) // over what the client sent: else it may not get to know why
	return err
}

// established tells what lies under TLS that the handshake is made, if it bounds what
// clients send before.
func established(secure *tls.Conn) {
	if wire, ok := secure.NetConn().(interface{ Established() }); ok {
		wire.Established()
	}
}

// left reports whether a handshake failed since the client went away, as one does that
// only looks whether the port is open, or since the server has closed the connection.
func left(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}
