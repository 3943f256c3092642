package httpapi

import (
	"crypto/tls"
	"errors"
	"os"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/hangup"
)

// codeTLS stands for a handshake that failed among the statuses of refusals.
const codeTLS = "TLS"

// shakeHands does the handshake of TLS, in the time that the first request has. It
// belongs to the goroutine that serves the connection: nobody else is held up. A
// drain ends it, as it ends the wait for a request.
func (c *conn) shakeHands() error {
	if err := c.tellReading(); err != nil {
		return err
	}
	c.writing.due = c.reading.due
	if err := c.Conn.SetWriteDeadline(c.writing.tell()); err != nil {
		return err
	}
	err := c.secure.Handshake()
	if err == nil {
		hangup.Established(c.secure)
		c.shaken = true
		return nil
	}
	if !c.ended.Load() && !hangup.Left(err) {
		c.registry.failed(c, err)
	}
	return err
}

// unready reports whether the handshake is still to be made.
func (c *conn) unready() bool { return c.secure != nil && !c.shaken }

// handshakeFailed takes note of a handshake that failed, and tells a client which speaks
// without TLS about it, without TLS.
func (s *Server) handshakeFailed(c *conn, err error) {
	if s.options.Metrics != nil {
		s.options.Metrics.Refused("http", codeTLS)
	}
	s.options.Log.Debug("TLS handshake failed", "client", c.RemoteAddr().String(), "error", err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.exceeded(locks.QuotaRequestTime)
		return
	}
	socket := c.secure.NetConn()
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil {
		_, _ = socket.Write(farewell(fasthttp.StatusBadRequest, "this port speaks HTTPS only"))
	}
	hangup.Linger(socket, lingerBytes)
}

// farewell returns a refusal that is the last reply of its connection.
func farewell(status int, text string) []byte {
	body := (&outcome{text: text}).appendTo(nil)
	return append([]byte("HTTP/1.1 "+strconv.Itoa(status)+" "+fasthttp.StatusMessage(status)+"\r\n"+
		"Content-Type: application/json\r\n"+
		"Cache-Control: no-store\r\n"+
		"X-Content-Type-Options: nosniff\r\n"+
		"Connection: close\r\n"+
		"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
}

// abort closes the connection at once, from any goroutine, and without a word: TLS would
// first say goodbye, for up to 5 s, to a client that may not listen.
func (c *conn) abort() error {
	defer c.registry.remove(c)
	if c.secure == nil {
		return c.Conn.Close()
	}
	return c.secure.NetConn().Close()
}
