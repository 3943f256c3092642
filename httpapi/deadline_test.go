package httpapi

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// withAndWithoutTLS returns a listener of each kind.
func withAndWithoutTLS(t *testing.T) []*pipes {
	plain, secure := newPipes(), newPipes()
	secure.tls = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	return []*pipes{plain, secure}
}

// ofOneClient runs a test of one connection in virtual time, however long it
// takes, without and with TLS.
func ofOneClient(t *testing.T, test func(t *testing.T, c *client)) {
	for _, p := range withAndWithoutTLS(t) {
		virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, _ *Server) {
			c := p.dial(t)
			_ = c.SetDeadline(time.Now().Add(time.Hour))
			test(t, c)
		})
	}
}

func mustTake(t *testing.T, want time.Duration, what func()) {
	t.Helper()
	start := time.Now()
	what()
	if took := time.Since(start); took != want {
		t.Errorf("it took %v, not %v", took, want)
	}
}

// The pauses have what a connection was told last lie ahead and behind, sooner and
// later than is due.
var pauses = []time.Duration{0, time.Second, 3 * time.Second, 4900 * time.Millisecond, 20 * time.Second, 29 * time.Second, 0, time.Second}

func TestIdleTimeRunsFromTheLastReply(t *testing.T) {
	ofOneClient(t, func(t *testing.T, c *client) {
		for _, pause := range pauses {
			time.Sleep(pause)
			c.ask("GET", "/acquire/a")
		}
		mustTake(t, 30*time.Second, c.expectEnd)
	})
}

func TestTimeOfARequestRunsFromItsFirstByte(t *testing.T) {
	for _, pause := range pauses {
		ofOneClient(t, func(t *testing.T, c *client) {
			c.send("GET /a")
			time.Sleep(4 * time.Second)
			c.send(get[len("GET /a"):])
			c.receive("GET")
			time.Sleep(pause)
			c.send("GET /a")
			mustTake(t, 10*time.Second, func() {
				if got := c.receive("GET"); got.status != 408 {
					t.Errorf("after %v: got %d %s", pause, got.status, got.body)
				}
			})
			c.expectEnd()
		})
	}
}

func TestReplyMayBeTakenInPartsAnyTimeBeforeItsDeadline(t *testing.T) {
	for _, pause := range pauses {
		ofOneClient(t, func(t *testing.T, c *client) {
			c.ask("GET", "/acquire/a")
			time.Sleep(pause)
			c.send(get)
			time.Sleep(2500 * time.Millisecond)
			first := make([]byte, 1)
			if _, err := c.Read(first); err != nil {
				t.Errorf("after %v: %v", pause, err)
				return
			}
			time.Sleep(2499 * time.Millisecond)
			c.br = bufio.NewReader(io.MultiReader(bytes.NewReader(first), c.Conn))
			if got := c.receive("GET"); got.status != 200 || got.body != held {
				t.Errorf("after %v: got %d %s", pause, got.status, got.body)
			}
		})
	}
}

func TestReplyThatIsNotTakenTimesOutAfterOthers(t *testing.T) {
	for _, pause := range pauses {
		for _, p := range withAndWithoutTLS(t) {
			virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
				c := p.dial(t)
				c.ask("GET", "/acquire/a")
				time.Sleep(pause)
				c.send(get)
				time.Sleep(5*time.Second - 1)
				synctest.Wait()
				if n := s.Connections(); n != 1 {
					t.Errorf("%d connections are left while the reply may be taken, after %v", n, pause)
				}
				time.Sleep(time.Nanosecond)
				if p.tls != nil {
					time.Sleep(goodbyeTime)
				}
				synctest.Wait()
				if n := s.Connections(); n != 0 {
					t.Errorf("%d connections are left, after %v", n, pause)
				}
			})
		}
	}
}

// goodbyeTime is how long crypto/tls tries to tell the client that it closes.
const goodbyeTime = 5 * time.Second

func TestLeaveToSendABodyIsGivenAfterAPause(t *testing.T) {
	ofOneClient(t, func(t *testing.T, c *client) {
		c.ask("GET", "/acquire/a")
		time.Sleep(20 * time.Second) // longer than a reply has
		c.send("POST /acquire/a HTTP/1.1\r\nHost: candado\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
		leave := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
		if _, err := io.ReadFull(c.br, leave); err != nil || string(leave) != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("got %q, %v", leave, err)
		}
		c.send("x")
		if got := c.receive("POST"); got.status != 400 {
			t.Errorf("got %d %s", got.status, got.body)
		}
	})
}
