package proxy

// This file is what a connection with TLS needs beyond one without.

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/hangup"
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
		hangup.Established(secure)
		g.unshaken = nil
		return nil
	}
	if leaving || hangup.Left(err) {
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
	hangup.Linger(socket, lingerBytes) // over what the client sent: else it may not get to know why
	return err
}
