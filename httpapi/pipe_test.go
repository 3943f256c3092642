package httpapi

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes, which virtual time needs.
// errs, if any, are what its first Accepts end in; tls, if set, is how they are secured.
type pipes struct {
	errs   []error
	tls    *tls.Config
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes(errs ...error) *pipes {
	p := &pipes{errs: errs}
	p.open()
	return p
}

// open makes the channels, which must belong to the bubble that they are used in.
func (p *pipes) open() { p.conns, p.closed = make(chan net.Conn), make(chan struct{}) }

func (p *pipes) Accept() (net.Conn, error) {
	if len(p.errs) > 0 {
		err := p.errs[0]
		p.errs = p.errs[1:]
		return nil, err
	}
	select {
	case c := <-p.conns:
		if p.tls != nil {
			c = tls.Server(c, p.tls)
		}
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial(t testing.TB) *client {
	client := p.plain()
	if p.tls != nil {
		client = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	}
	return newClient(t, client)
}

// plain returns a connection on which nothing was said yet.
func (p *pipes) plain() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// virtually runs a test of a server in virtual time.
func virtually(t *testing.T, o Options, p *pipes, test func(*testing.T, *Server)) {
	synctest.Test(t, func(t *testing.T) {
		p.open()
		o.NoDate = true
		s := New(o)
		done := make(chan error)
		go func() { done <- s.Serve(p) }()
		test(t, s)
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		time.Sleep(time.Minute) // until fasthttp's workers have gone
	})
}
