package httpapi

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

const crowded = `{"error":"there are too many connections (--max-connections)","state":0,"success":false}`

// full runs a test of a server whose connections all wait for a lock.
func full(t *testing.T, test func(t *testing.T, s *Server, p *pipes)) {
	t.Helper()
	p, m := newPipes(), metrics.New(build())
	virtually(t, Options{Engine: memory.New(memory.Options{}), Metrics: m, MaxConns: 2}, p, func(t *testing.T, s *Server) {
		hold(t, s.options.Engine, locks.AcquireRequest{})
		for range 2 {
			p.dial(t).request("/acquire/job?wait=1h")
		}
		synctest.Wait()
		test(t, s, p)
		_ = s.options.Engine.Close()
		synctest.Wait()
		if n := s.Connections(); n > 2 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestWhoWatchesAFullServerIsAnswered(t *testing.T) {
	full(t, func(t *testing.T, s *Server, p *pipes) {
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			for range maxExtra + 1 { // each makes room for the next
				if got := p.dial(t).ask("GET", path); got.status != 200 || !got.last {
					t.Fatalf("%s is %d, the last reply: %v", path, got.status, got.last)
				}
				synctest.Wait()
			}
		}
		for _, path := range []string{"/acquire/free", "/release/job", "/locks", "/locks/job", "/nothing", "/healthz/"} {
			if got := p.dial(t).ask("GET", path); got.status != 503 || got.body != crowded || !got.last {
				t.Errorf("%s is %d %s, the last reply: %v", path, got.status, got.body, got.last)
			}
			synctest.Wait()
		}
		mustHaveExceeded(t, s.options.Metrics, locks.QuotaHTTPConnections, 6)
	})
}

func TestExtraConnectionServesOneRequest(t *testing.T) {
	full(t, func(t *testing.T, _ *Server, p *pipes) {
		c := p.dial(t)
		go func() { _, _ = c.Conn.Write([]byte(requestFor("/healthz") + requestFor("/healthz"))) }()
		c.wants(200, "")
		c.expectEnd()
	})
}

func TestExtraConnectionMustAskAtOnce(t *testing.T) {
	for name, text := range map[string]string{"silent": "", "half a request": "GET /healthz HTTP/1.1\r\n"} {
		t.Run(name, func(t *testing.T) {
			full(t, func(t *testing.T, s *Server, p *pipes) {
				c := p.dial(t)
				c.send(text)
				mustTake(t, time.Second, func() { c.wants(503, crowded) })
				c.expectEnd()
				mustHaveExceeded(t, s.options.Metrics, locks.QuotaHTTPConnections, 1)
			})
		})
	}
}

func TestExtraConnectionThatCannotBeReadIsRefused(t *testing.T) {
	full(t, func(t *testing.T, _ *Server, p *pipes) {
		c := p.dial(t)
		c.send("HELLO 3\r\n\r\n")
		c.wants(503, crowded)
		c.expectEnd()
	})
}

// A client that sends too much gets the reply and a plain end, not a reset.
func TestLastReplyIsNotOvertakenByAReset(t *testing.T) {
	for name, raw := range map[string]string{
		"431": "GET /acquire/a HTTP/1.1\r\nX: " + strings.Repeat("x", 40_000),
		"413": "POST /acquire/a HTTP/1.1\r\nHost: candado\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := serve(t, Options{Engine: agreeable()})
			c := dial(t, addr)
			c.send(raw)
			got := c.receive("GET")
			mustBeDocumented(t, got.body)
			if strconv.Itoa(got.status) != name || !got.last {
				t.Errorf("got %d %s", got.status, got.body)
			}
			c.expectEnd()
		})
	}
}
