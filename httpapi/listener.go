package httpapi

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
)

const (
	firstBackOff = 5 * time.Millisecond
	longBackOff  = time.Second
)

// listener accepts connections for fasthttp: it waits out a lack of resources,
// and enters connections into the registry.
type listener struct {
	net.Listener
	server *Server

	once   sync.Once
	closed chan struct{}
	err    error // that Accept ended with; read after fasthttp's Serve returned
}

// Accept returns the next connection that is to be served. Its error is io.EOF
// when the listener failed or is closed (err says which): fasthttp passes that
// on without comment.
func (l *listener) Accept() (net.Conn, error) {
	var wait time.Duration
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil:
			if wait > 0 {
				l.server.options.Log.Info("accepting HTTP connections again")
				wait = 0
			}
			if c := l.admit(nc); c != nil {
				return c, nil
			}
		case passes(err) && l.backOff(&wait, err):
		default:
			l.err = err
			return nil, io.EOF
		}
	}
}

// passes reports whether accepting is worth another try.
func passes(err error) bool {
	for _, lack := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, // nothing to be had just now
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, // this one connection
	} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

// backOff waits, twice as long each time. It returns false if the listener was
// closed meanwhile.
func (l *listener) backOff(wait *time.Duration, err error) bool {
	if *wait == 0 {
		*wait = firstBackOff
		l.server.options.Log.Warn("cannot accept HTTP connections for now", "error", err)
	}
	timer := time.NewTimer(*wait)
	defer timer.Stop()
	*wait = min(2**wait, longBackOff)
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}

// admit returns the connection if it is to be served.
func (l *listener) admit(nc net.Conn) net.Conn {
	c, admission := l.server.conns.add(nc)
	if admission == dropped {
		l.server.countRefusal(fasthttp.StatusServiceUnavailable)
		l.server.exceeded(locks.QuotaHTTPConnections)
		return nil
	}
	return c
}

// Close closes the listener, once; Accept returns.
func (l *listener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}
