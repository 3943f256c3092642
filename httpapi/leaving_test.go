package httpapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// Clients that leave while their requests wait.

// leaving is how a client goes away.
func leaving() map[string]func(t *testing.T, conn net.Conn) {
	tcp := func(t *testing.T, conn net.Conn) *net.TCPConn {
		if c, ok := conn.(*tls.Conn); ok {
			conn = c.NetConn()
		}
		c, ok := conn.(*net.TCPConn)
		if !ok {
			t.Fatalf("a %T", conn)
		}
		return c
	}
	return map[string]func(t *testing.T, conn net.Conn){
		"closes": func(_ *testing.T, conn net.Conn) { _ = conn.Close() },
		"resets": func(t *testing.T, conn net.Conn) {
			_ = tcp(t, conn).SetLinger(0)
			_ = tcp(t, conn).Close()
		},
		"closes its half": func(t *testing.T, conn net.Conn) {
			if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
				t.Fatal("can't close a half")
			}
		},
	}
}

func TestClientThatLeavesWhileItWaitsLeavesTheQueue(t *testing.T) {
	for _, secure := range []bool{false, true} {
		// Behind the request: nothing; what fasthttp has read with it; much that is
		// sent later.
		for _, pending := range [][2]int{{0, 0}, {10, 0}, {0, 1}, {10, 1000}} {
			for name, leave := range leaving() {
				t.Run(fmt.Sprintf("%s, TLS %v, %v pending", name, secure, pending), func(t *testing.T) {
					t.Parallel()
					engine, conn := connected(t, secure)
					c := newClient(t, conn)
					take := requestFor("/acquire/other?ttl=1h")
					c.send(requestFor("/acquire/job?wait=1h") + strings.Repeat(take, pending[0]))
					waiting(t, engine, 1)
					c.send(strings.Repeat(take, pending[1]))
					leave(t, conn)
					waiting(t, engine, 0)
					freeJob(t, engine)
					if info := describe(t, engine); info.Held() {
						t.Errorf("the lock is held by %+v", info.Holders)
					}
				})
			}
		}
	}
}

// connected returns a connection to a server whose lock "job" is held. When the
// test is over, nobody must hold the lock "other".
func connected(t *testing.T, secure bool) (*memory.Engine, net.Conn) {
	t.Helper()
	engine := memory.New(memory.Options{})
	t.Cleanup(func() { _ = engine.Close() })
	hold(t, engine, locks.AcquireRequest{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if secure {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	}
	t.Cleanup(func() { // the server has shut down
		if info, err := engine.Info(context.Background(), "other"); err != nil || info.LastToken != 0 {
			t.Errorf("a request behind the one that waited was served: %+v, %v", info, err)
		}
	})
	serveOn(t, ln, Options{Engine: engine})
	var conn net.Conn
	if secure {
		conn, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	} else {
		conn, err = net.Dial("tcp", addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return engine, conn
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestWaitOverTLSIsAnsweredAndGoesOn(t *testing.T) {
	engine, conn := connected(t, true)
	c := newClient(t, conn)
	c.request("/acquire/job?wait=1h")
	waiting(t, engine, 1)
	c.request("/healthz")
	freeJob(t, engine)
	c.wants(200, granted)
	c.wants(200, free)
	if got := c.ask("GET", "/release/job"); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestClientThatClosesItsHalfIsToldWhy(t *testing.T) {
	engine, conn := connected(t, false)
	c := newClient(t, conn)
	c.request("/acquire/job?wait=1h")
	waiting(t, engine, 1)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.receive("GET"); got.status != 400 || !strings.Contains(got.body, errGone.Error()) || !got.last {
		t.Errorf("got %d %s", got.status, got.body)
	}
	c.expectEnd()
}

func TestTooMuchBehindAWaitEndsTheConnection(t *testing.T) {
	engine, conn := connected(t, false)
	c := newClient(t, conn)
	c.request("/acquire/job?wait=1h")
	waiting(t, engine, 1)
	_, _ = c.Write([]byte(strings.Repeat(requestFor("/acquire/other"), 2000))) // fails if the end comes first
	waiting(t, engine, 0)
	freeJob(t, engine)
	if info := describe(t, engine); info.Held() {
		t.Errorf("the lock is held by %+v", info.Holders)
	}
}

func TestClientThatSentTooMuchBehindAWaitIsToldWhy(t *testing.T) {
	engine, conn := connected(t, false)
	c := newClient(t, conn)
	c.request("/acquire/job?wait=1h")
	waiting(t, engine, 1)
	c.send(strings.Repeat("x", maxAhead+30_000))
	if got := c.receive("GET"); got.status != 400 || !strings.Contains(got.body, errAhead.Error()) || !got.last {
		t.Errorf("got %d %s", got.status, got.body)
	}
	c.expectEnd()
}

func TestLeavingIsNoRefusal(t *testing.T) {
	p := newPipes()
	m := metrics.New(build())
	f := acquiring(func(ctx context.Context) (locks.Lease, error) {
		<-ctx.Done()
		return locks.Lease{}, locks.ErrUnavailable
	})
	virtually(t, Options{Engine: f, Metrics: m}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.request("/acquire/job?wait=1h")
		synctest.Wait()
		_ = c.Close()
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		var b strings.Builder
		if err := m.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "refusals_total{") {
			t.Errorf("a refusal is counted:\n%s", &b)
		}
	})
}

func TestLeaseGrantedToAClientThatHasLeftIsPassedOn(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*Server, *client)
	}{
		{"the client closes", func(_ *Server, c *client) { _ = c.Close() }},
		{"candado closes the connection", func(s *Server, _ *client) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.Shutdown(ctx) // its time is over at once
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPipes()
			released := make(chan locks.ReleaseRequest, 1)
			f := agreeable()
			f.acquire = func(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
				<-ctx.Done()
				time.Sleep(time.Millisecond) // until the connection is closed
				return locks.Lease{Token: 7, Owner: req.Owner}, nil
			}
			f.release = func(req locks.ReleaseRequest) (locks.Released, error) {
				released <- req
				return locks.Released{Ended: 1}, nil
			}
			virtually(t, Options{Engine: f}, p, func(t *testing.T, s *Server) {
				c := p.dial(t)
				c.request("/acquire/job?wait=1h&owner=me")
				synctest.Wait()
				test.end(s, c)
				time.Sleep(time.Second)
			})
			select {
			case got := <-released:
				if want := (locks.ReleaseRequest{ID: "job", Claim: locks.Claim{Token: 7}, Untold: true}); got != want {
					t.Errorf("released %+v, want %+v", got, want)
				}
			default:
				t.Error("the lease is left")
			}
		})
	}
}

func TestLeaseGrantedAsCandadoStopsIsTheClients(t *testing.T) {
	p := newPipes()
	f := agreeable() // without a release
	f.acquire = func(ctx context.Context, _ locks.AcquireRequest) (locks.Lease, error) {
		<-ctx.Done()
		return locks.Lease{Token: 7}, nil
	}
	virtually(t, Options{Engine: f}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.request("/acquire/job?wait=1h")
		synctest.Wait()
		done := make(chan error)
		go func() { done <- s.Shutdown(t.Context()) }()
		c.wants(200, granted)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A client that waited, and to whom the reply can't be written, was never told of its lease.
func TestGrantThatCanNotBeToldIsGivenBack(t *testing.T) {
	for name, test := range map[string]struct {
		target, behind string
		reads          int // replies
		back           bool
	}{
		"not read":           {target: "/acquire/job?wait=1h", back: true},
		"read":               {target: "/acquire/job?wait=1h", behind: "/locks", reads: 1},
		"behind another one": {target: "/healthz", behind: "/acquire/job?wait=1h", reads: 1, back: true},
		"did not wait":       {target: "/acquire/job?ttl=1h"},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := newPipes(), agreeable()
			virtually(t, Options{Engine: f}, p, func(t *testing.T, s *Server) {
				c := p.dial(t)
				raw := requestFor(test.target)
				if test.behind != "" {
					raw += requestFor(test.behind)
				}
				go c.send(raw)
				for range test.reads {
					c.receive("GET")
				}
				time.Sleep(6 * time.Second)
				if n := s.Connections(); n != 0 {
					t.Errorf("%d connections are left", n)
				}
				req, back := f.taken().(locks.ReleaseRequest)
				if want := (locks.ReleaseRequest{ID: "job", Claim: locks.Claim{Token: 7}, Untold: true}); back != test.back || back && req != want {
					t.Errorf("released %v: %+v", back, req)
				}
			})
		})
	}
}
