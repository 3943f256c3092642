package httpapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
)

// secured is a listener with TLS.
func secured(t *testing.T) *pipes {
	t.Helper()
	return withAndWithoutTLS(t)[1]
}

// mustEnd fails unless the server closes the connection, having sent nothing, after that time.
func mustEnd(t *testing.T, conn net.Conn, want time.Duration) {
	t.Helper()
	mustTake(t, want, func() {
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

func TestSilentClientHasTheTimeOfARequestForItsHandshake(t *testing.T) {
	p := secured(t)
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
		silent, half := p.plain(), p.plain()
		if _, err := half.Write([]byte{0x16, 3, 1}); err != nil { // the beginning of a hello
			t.Fatal(err)
		}
		if got := p.dial(t).ask("GET", "/acquire/a"); got.status != 200 { // though they hold on
			t.Errorf("got %d %s", got.status, got.body)
		}
		mustEnd(t, silent, 10*time.Second)
		mustEnd(t, half, 0)
	})
}

func TestDrainEndsHandshakes(t *testing.T) {
	p := secured(t)
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
		silent := p.plain()
		synctest.Wait()
		go func() { _ = s.Shutdown(context.Background()) }()
		mustEnd(t, silent, farewellTime)
	})
}

func TestHandshakesThatFailAreCounted(t *testing.T) {
	p, m := secured(t), metrics.New(build())
	virtually(t, Options{Engine: agreeable(), Metrics: m}, p, func(t *testing.T, s *Server) {
		_ = p.plain().Close() // one who looks whether the port is open is none
		synctest.Wait()
		c := p.plain()
		go func() { _, _ = io.WriteString(c, get) }()
		reply, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(reply.Body)
		if want := `{"error":"this port speaks HTTPS only","state":0,"success":false}`; reply.StatusCode != 400 || string(body) != want {
			t.Errorf("got %s %s", reply.Status, body)
		}
		_ = c.Close()
		synctest.Wait()
		var b strings.Builder
		if err := m.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if want := `candado_listener_refusals_total{code="TLS",listener="http"} 1`; !strings.Contains(b.String(), want) {
			t.Errorf("the metrics lack %s:\n%s", want, &b)
		}
	})
}

func TestWhoIsOneTooManyIsToldSoThroughTLS(t *testing.T) {
	p := secured(t)
	virtually(t, Options{Engine: agreeable(), MaxConns: 1}, p, func(t *testing.T, s *Server) {
		c := p.dial(t)
		c.ask("GET", "/acquire/a")
		silent := p.plain()
		for path, want := range map[string]int{"/acquire/a": 503, "/healthz": 200} {
			if got := p.dial(t).ask("GET", path); got.status != want {
				t.Errorf("%s is %d %s", path, got.status, got.body)
			}
		}
		mustEnd(t, silent, extraTime)
		if got := c.ask("GET", "/acquire/a"); got.status != 200 {
			t.Errorf("got %d %s", got.status, got.body)
		}
	})
}

func TestShutdownThatRunsOutOfTimeDoesNotWaitForTLS(t *testing.T) {
	p := secured(t)
	virtually(t, Options{Engine: agreeable()}, p, func(t *testing.T, s *Server) {
		for range 3 { // who take no reply, and would take no goodbye
			c := p.dial(t)
			if err := c.Conn.(*tls.Conn).Handshake(); err != nil {
				t.Fatal(err)
			}
			c.send(get)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		mustTake(t, time.Second, func() {
			if err := s.Shutdown(ctx); err == nil {
				t.Error("nothing was cut off")
			}
		})
	})
}
