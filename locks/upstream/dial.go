package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// alertTime is how long an alert may take that has already arrived.
const alertTime = 50 * time.Millisecond

// This file makes connections with TLS. The client library's own way knows one
// configuration for ever, and does not look whether such a connection is still
// alive before a request is sent on it.

var (
	errNoTLS       = errors.New("TLS is for rediss:// only")
	errTwoSources  = errors.New("a password in the URL and another one beside it")
	errUnsolicited = errors.New("the server has closed the connection, or speaks unasked")
)

// secure has the client's connections made with TLS, if its URL asks for that,
// by the configuration as it is then, and by the server's password as it is then.
func secure(o *redis.Options, config func() *tls.Config, password func() (string, error)) error {
	switch {
	case config != nil && o.TLSConfig == nil:
		return errNoTLS
	case password != nil && o.Password != "":
		return errTwoSources
	}
	if password != nil {
		user := o.Username
		o.CredentialsProviderContext = func(context.Context) (string, string, error) {
			word, err := password()
			return user, word, err
		}
	}
	if o.TLSConfig != nil {
		o.Dialer = dialer(o.DialTimeout, o.TLSConfig, config)
	}
	return nil
}

// dialer returns how to connect with TLS. What the URL says stands in base: the
// server's name, and whether it is looked at.
func dialer(timeout time.Duration, base *tls.Config, config func() *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	plain := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		// Shorter than what a request has: it is to be told of the handshake that took so long.
		ctx, cancel := context.WithTimeout(ctx, timeout-timeout/4)
		defer cancel()
		conn, err := plain.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		mine := base
		if config != nil {
			mine = config()
			mine.ServerName, mine.InsecureSkipVerify = base.ServerName, base.InsecureSkipVerify
		}
		secured := tls.Client(conn, mine)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, handshakeError(conn, err)
		}
		if socket, ok := conn.(syscall.Conn); ok {
			return &securedConn{Conn: secured, socket: socket}, nil
		}
		return secured, nil
	}
}

// handshakeError is one of dialling, which proves that nothing was asked.
func handshakeError(conn net.Conn, err error) error {
	return &net.OpError{Op: "dial", Net: conn.RemoteAddr().Network(), Addr: conn.RemoteAddr(), Err: fmt.Errorf("TLS handshake: %w", err)}
}

// securedConn is a connection with TLS that shows its socket. The library looks there
// before it sends a request on a connection that was idle: without, requests
// would meet each connection that the server has closed meanwhile.
type securedConn struct {
	*tls.Conn
	socket syscall.Conn
	heard  atomic.Bool // whether the server has said anything
}

// Write implements net.Conn. In TLS 1.3 the client has done its part before the server
// looks at its certificate, and may meet a connection that the server has closed.
// Why, stands before the end.
func (c *securedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil && !c.heard.Load() {
		_ = c.SetReadDeadline(time.Now().Add(alertTime))
		if _, why := c.Read(make([]byte, 1)); why != nil && handshakeFailed(why) {
			err = why
		}
	}
	return n, err
}

// Read implements net.Conn. The first that is said to a server only says who asks: if it
// is not answered but by an alert, nothing was asked.
func (c *securedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" && !c.heard.Load() {
		err = handshakeError(c.Conn, err)
	}
	return n, err
}

func handshakeFailed(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}

// SyscallConn implements syscall.Conn.
func (c *securedConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &idleConn{raw}, nil
}

// idleConn is the socket of a connection on which nothing was asked. What arrives
// there all the same makes it unfit: it is most likely TLS's goodbye, and the library
// would wait for what comes after it.
type idleConn struct{ syscall.RawConn }

// Read calls f with the socket, if nothing has arrived there.
func (c *idleConn) Read(f func(fd uintptr) bool) error {
	quiet := false
	err := c.RawConn.Read(func(fd uintptr) bool {
		quiet = noneArrived(fd)
		return true
	})
	switch {
	case err != nil:
		return err
	case !quiet:
		return errUnsolicited
	}
	return c.RawConn.Read(f)
}
