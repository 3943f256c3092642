package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// refusals collects the codes of refusals.
type refusals struct {
	mu    sync.Mutex
	codes []string
}

func (r *refusals) add(code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes = append(r.codes, code)
}

func (r *refusals) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.codes, " ")
}

// withTLS runs a test in virtual time of a server with TLS. plain connects without a word,
// dial with a handshake.
func withTLS(t *testing.T, opts Options, test func(t *testing.T, srv *Server, plain func() net.Conn, dial func() *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		inner := newPipeListener()
		ln := tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
		virtualOn(t, ln, opts, func(srv *Server) {
			test(t, srv, inner.dial, func() *client {
				return newClient(t, tls.Client(inner.dial(), &tls.Config{InsecureSkipVerify: true}))
			})
		})
	})
}

func ended(t *testing.T, conn net.Conn, want time.Duration) {
	t.Helper()
	begin := time.Now()
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err != io.EOF || time.Since(begin) != want {
		t.Errorf("read %d bytes, %v, after %v; want the end after %v", n, err, time.Since(begin), want)
	}
}

func TestSilentClientHasTheTimeOfACommandForItsHandshake(t *testing.T) {
	var r refusals
	withTLS(t, Options{Refused: r.add}, func(t *testing.T, _ *Server, plain func() net.Conn, dial func() *client) {
		silent, half := plain(), plain()
		if _, err := half.Write([]byte{0x16, 3, 1}); err != nil { // the beginning of a hello
			t.Fatal(err)
		}
		c := dial()
		c.want("+PONG\r\n", "PING") // though they hold on
		ended(t, silent, 10*time.Second)
		ended(t, half, 0)
		time.Sleep(24 * time.Hour)
		c.want("+PONG\r\n", "PING") // one whose handshake was made may be silent
	})
	if got := r.String(); got != "TLS TLS" {
		t.Errorf("the refusals are %q", got)
	}
}

func TestClientWithoutTLSIsToldSo(t *testing.T) {
	var r refusals
	withTLS(t, Options{Refused: r.add}, func(t *testing.T, _ *Server, plain func() net.Conn, _ func() *client) {
		_ = plain().Close() // one who looks whether the port is open is no refusal
		synctest.Wait()
		c := newClient(t, plain())
		c.send(encode("PING"))
		if got := c.rest(); got != msgNoTLS {
			t.Errorf("got %q", got)
		}
	})
	if got := r.String(); got != "TLS" {
		t.Errorf("the refusals are %q", got)
	}
}

func TestClientWithTLSIsToldThatThereIsNone(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, _ *Server, dial func() *client) {
		c, begin := dial(), time.Now()
		err := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
		if err == nil || !strings.Contains(err.Error(), "does not look like a TLS handshake") || time.Since(begin) > 0 {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

func TestOneTooManyIsClosedWithoutAHandshake(t *testing.T) {
	var r refusals
	withTLS(t, Options{MaxConnections: 1, Refused: r.add}, func(t *testing.T, _ *Server, plain func() net.Conn, dial func() *client) {
		c := dial()
		c.want("+PONG\r\n", "PING")
		ended(t, plain(), 0)
		ended(t, plain(), 0)
		c.want("+PONG\r\n", "PING")
	})
	if got := r.String(); got != "ERR ERR" {
		t.Errorf("the refusals are %q", got)
	}
}

func TestShutdownEndsHandshakes(t *testing.T) {
	withTLS(t, Options{}, func(t *testing.T, srv *Server, plain func() net.Conn, dial func() *client) {
		silent, c := plain(), dial()
		c.want("+PONG\r\n", "PING")
		done := make(chan error, 1)
		go func() { done <- srv.Shutdown(t.Context()) }()
		ended(t, silent, farewellTime)
		if got := c.rest(); got != "" {
			t.Errorf("got %q", got)
		}
		_ = c.conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A connection is closed at once, though TLS would say goodbye to a client that does not listen.
func TestLostLeaseEndsAConnectionThatTakesNothing(t *testing.T) {
	withTLS(t, Options{}, func(t *testing.T, srv *Server, _ func() net.Conn, dial func() *client) {
		c := dial()
		c.want("+PONG\r\n", "PING")
		begin := time.Now()
		srv.lost(srv.list()[0], errOdd)
		synctest.Wait()
		if n := srv.Connections(); n != 0 || time.Since(begin) > 0 {
			t.Errorf("after %v, %d connections are open", time.Since(begin), n)
		}
	})
}

func TestReplyThatIsNotTakenEndsAConnectionWithTLS(t *testing.T) {
	withTLS(t, Options{}, func(t *testing.T, srv *Server, _ func() net.Conn, dial func() *client) {
		c := dial()
		for _, pause := range []time.Duration{0, time.Second, 4 * time.Second, time.Minute} {
			c.want("+PONG\r\n", "PING")
			time.Sleep(pause)
			c.send(encode("PING"))
			time.Sleep(3 * time.Second) // it takes the reply late
			if got := c.reply(); got != "+PONG\r\n" {
				t.Errorf("got %q", got)
			}
		}
		c.send(encode("PING"))
		time.Sleep(5*time.Second + 1)
		synctest.Wait()
		if n := srv.Connections(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}
