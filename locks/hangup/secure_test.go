//go:build unix

package hangup_test

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/goodjobtech/candado/cmd/candado/secure/certtest"
	"github.com/goodjobtech/candado/locks/hangup"
)

// securePair returns both ends of a connection with TLS.
func securePair(t *testing.T) (client, server *tls.Conn) {
	t.Helper()
	near, far := pair(t)
	return secured(t, near, far)
}

// secured returns both ends of a connection as they are with TLS over them.
func secured(t *testing.T, near, far net.Conn) (client, server *tls.Conn) {
	t.Helper()
	ca := certtest.New(t, "ca")
	server = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{ca.Issue(certtest.Wish{}).TLS(t)}})
	client = tls.Client(near, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return client, server
}

// dozing is a connection whose Read tells nothing until it wakes, as if its
// goroutine had not been scheduled.
type dozing struct {
	*tls.Conn
	awake atomic.Bool
	asked chan struct{}
}

func (d *dozing) Read(b []byte) (int, error) {
	if !d.awake.Load() {
		d.asked <- struct{}{}
		return 0, os.ErrDeadlineExceeded
	}
	return d.Conn.Read(b)
}

func TestClientThatLeftUnderTLSJustBeforeTheStopIsGone(t *testing.T) {
	for name, leave := range map[string]func(*tls.Conn){
		"stays":                     func(*tls.Conn) {},
		"closes":                    func(c *tls.Conn) { _ = c.Close() },
		"says goodbye":              func(c *tls.Conn) { _ = c.CloseWrite() },
		"closes without a goodbye":  func(c *tls.Conn) { _ = c.NetConn().Close() },
		"resets":                    func(c *tls.Conn) { _ = c.NetConn().(*net.TCPConn).SetLinger(0); _ = c.NetConn().Close() },
		"stays, in half a sentence": func(c *tls.Conn) { _, _ = c.NetConn().Write([]byte{23, 3, 3, 0, 99}) },
	} {
		for _, said := range []string{"", "last words", string(make([]byte, 10_000))} {
			t.Run(name, func(t *testing.T) {
				client, server := securePair(t)
				conn := &dozing{Conn: server, asked: make(chan struct{}, 1)}
				r := hangup.NewReader(conn, 1<<20)
				stop := r.Watch(func() {})
				<-conn.asked
				conn.awake.Store(true)
				write(t, client, []byte(said))
				leave(client)
				if gone := stop(); gone == strings.HasPrefix(name, "stays") {
					t.Errorf("after %d bytes, stop says %v", len(said), gone)
				}
				if name != "resets" { // that throws away what was sent
					read(t, r, []byte(said))
				}
			})
		}
	}
}

// slicing is a socket that can hold back what is written, so that the test sends it piece
// by piece.
type slicing struct {
	net.Conn
	held []byte
	hold bool
}

func (s *slicing) Write(b []byte) (int, error) {
	if !s.hold {
		return s.Conn.Write(b)
	}
	s.held = append(s.held, b...)
	return len(b), nil
}

// TestRecordsInPiecesAreReadAcrossWatches: a watch may begin and end within a record.
func TestRecordsInPiecesAreReadAcrossWatches(t *testing.T) {
	near, far := pair(t)
	wire := &slicing{Conn: near}
	client, server := secured(t, wire, far)
	wire.hold = true
	write(t, client, []byte("first"))
	write(t, client, []byte("second"))
	r := hangup.NewReader(server, 1<<20)
	for i := range wire.held {
		stop := r.Watch(func() { t.Error("the client has not left") })
		if _, err := near.Write(wire.held[i : i+1]); err != nil {
			t.Fatal(err)
		}
		if stop() {
			t.Fatalf("after %d bytes of two records the client is taken to be gone", i+1)
		}
	}
	read(t, r, []byte("firstsecond"))
}
