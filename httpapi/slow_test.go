package httpapi

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// Clients that are slow, silent or gone, in virtual time; and what is counted of them.

// slowly runs a test of one client whose connection must be gone in the end, without the
// client having closed it.
func slowly(t *testing.T, want locks.Quota, test func(t *testing.T, c *client)) {
	t.Helper()
	p, m := newPipes(), metrics.New(metrics.Build{})
	engine := agreeable()
	engine.scan = func(locks.ScanRequest) (locks.Scanned, error) {
		return locks.Scanned{IDs: []locks.ID{locks.ID(strings.Repeat("x", 1<<20))}}, nil
	}
	virtually(t, Options{Engine: engine, Metrics: m}, p, func(t *testing.T, s *Server) {
		test(t, p.dial(t))
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if n := s.Sending(); n != 0 {
			t.Errorf("%d bytes are kept for nobody", n)
		}
		mustHaveExceeded(t, m, want, 1)
	})
}

// mustHaveExceeded fails unless that quota was exceeded so often, and no other.
func mustHaveExceeded(t *testing.T, m *metrics.Metrics, want locks.Quota, n int) {
	t.Helper()
	var text strings.Builder
	if err := m.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, q := range locks.Quotas() {
		line := `candado_quota_refused_total{quota="` + q.String() + `"} `
		_, count, found := strings.Cut(text.String(), line)
		count, _, _ = strings.Cut(count, "\n")
		if !found || (count != "0") != (q == want) || q == want && n == 1 && count != "1" {
			t.Errorf("%s%s", line, count)
		}
	}
}

func TestPageThatIsTakenByteByByteIsCutOff(t *testing.T) {
	slowly(t, locks.QuotaWriteTime, func(t *testing.T, c *client) {
		begin := time.Now()
		c.send("GET /locks HTTP/1.1\r\nHost: candado\r\n\r\n")
		for b := make([]byte, 1); ; time.Sleep(time.Second) {
			if _, err := c.Conn.Read(b); err != nil {
				break
			}
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("cut off after %v", took)
		}
	})
}

// drip sends a byte each second, and returns a function that waits until no more are taken.
func drip(c *client, text string) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, b := range []byte(text) {
			if _, err := c.Conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}()
	return func() { <-done }
}

func TestSlowlorisIsCutOff(t *testing.T) {
	for name, text := range map[string]string{
		"line":    "GET /acquire/a HTTP/1.1\r\nHost: candado\r\n\r\n",
		"headers": "X: " + strings.Repeat("x", 60) + "\r\n\r\n",
		"body":    strings.Repeat("x", 60),
		"chunks":  "1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			slowly(t, locks.QuotaRequestTime, func(t *testing.T, c *client) {
				begin := time.Now()
				switch name {
				case "headers":
					c.send("GET /acquire/a HTTP/1.1\r\n")
				case "body":
					c.send("POST /acquire/a HTTP/1.1\r\nHost: candado\r\nContent-Length: 60\r\n\r\n")
				case "chunks":
					c.send("POST /acquire/a HTTP/1.1\r\nHost: candado\r\nTransfer-Encoding: chunked\r\n\r\n")
				}
				wait := drip(c, text)
				c.wants(408, `{"error":"the request did not arrive within 10s (--request-timeout)","state":0,"success":false}`)
				if took := time.Since(begin); took != 10*time.Second {
					t.Errorf("cut off after %v", took)
				}
				c.expectEnd()
				wait()
			})
		})
	}
}

func TestClientThatNeverSpeaksIsCutOffWithoutAWord(t *testing.T) {
	slowly(t, locks.QuotaRequestTime, func(t *testing.T, c *client) { mustTake(t, 10*time.Second, c.expectEnd) })
}

func TestIdleClientIsCutOff(t *testing.T) {
	slowly(t, locks.QuotaHTTPIdleTime, func(t *testing.T, c *client) {
		c.ask("GET", "/acquire/a")
		time.Sleep(20 * time.Second)
		c.ask("GET", "/acquire/a")
		mustTake(t, 30*time.Second, c.expectEnd)
	})
}

func TestLongHeadIsCounted(t *testing.T) {
	slowly(t, locks.QuotaHeaderBytes, func(t *testing.T, c *client) {
		go func() { _, _ = c.Conn.Write([]byte("GET /acquire/a HTTP/1.1\r\nX: " + strings.Repeat("x", 9000))) }()
		c.wants(431, `{"error":"the request line and headers are longer than 8192 bytes (--max-header-bytes)","state":0,"success":false}`)
		c.expectEnd()
	})
}

func TestLongPollOfAClientThatVanishedIsEnded(t *testing.T) {
	p := newPipes()
	virtually(t, Options{Engine: memory.New(memory.Options{})}, p, func(t *testing.T, s *Server) {
		hold(t, s.options.Engine, locks.AcquireRequest{})
		c := p.dial(t)
		c.request("/acquire/job?wait=1h")
		synctest.Wait()
		_ = c.Conn.Close()
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if info, err := s.options.Engine.Info(context.Background(), "job"); err != nil || info.Waiters != 0 {
			t.Errorf("%d wait, %v", info.Waiters, err)
		}
		_ = s.options.Engine.Close()
	})
}

// Many clients ask for what is large, and read none of it.
func TestLargePagesThatNobodyReadsAreBounded(t *testing.T) {
	const clients, size = 100, 1 << 20
	p, m := newPipes(), metrics.New(metrics.Build{})
	engine := agreeable()
	engine.scan = func(locks.ScanRequest) (locks.Scanned, error) {
		return locks.Scanned{IDs: []locks.ID{locks.ID(strings.Repeat("x", size))}}, nil
	}
	virtually(t, Options{Engine: engine, Metrics: m}, p, func(t *testing.T, s *Server) {
		for range clients {
			p.dial(t).request("/locks")
		}
		synctest.Wait()
		if n := s.Sending(); n < MaxSending/2 || n > MaxSending {
			t.Errorf("%d bytes are kept", n)
		}
		last := p.dial(t)
		last.request("/locks")
		last.wants(429, `{"error":"too many bytes of replies wait to be taken by their clients"`)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := s.Sending(); n != 0 {
			t.Errorf("%d bytes are kept for nobody", n)
		}
		if got := last.ask("GET", "/locks"); got.status != 200 || len(got.body) < size {
			t.Errorf("got %d, %d bytes", got.status, len(got.body))
		}
	})
}
