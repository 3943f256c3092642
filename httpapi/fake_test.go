package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
)

// fake is an engine that answers what it is told to, and remembers what it was
// asked. A method that it was not told about panics.
type fake struct {
	locks.Engine
	acquire   func(context.Context, locks.AcquireRequest) (locks.Lease, error)
	release   func(locks.ReleaseRequest) (locks.Released, error)
	heartbeat func(locks.HeartbeatRequest) (locks.Lease, error)
	info      func(locks.ID) (locks.Info, error)
	scan      func(locks.ScanRequest) (locks.Scanned, error)
	ready     error

	mu   sync.Mutex
	last any
}

func (f *fake) note(req any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = req
}

// taken returns the last request, and forgets it.
func (f *fake) taken() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.last
	f.last = nil
	return last
}

func (f *fake) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	f.note(req)
	return f.acquire(ctx, req)
}

func (f *fake) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	if ctx.Err() != nil {
		return locks.Released{}, locks.ErrUnavailable
	}
	f.note(req)
	return f.release(req)
}

func (f *fake) Heartbeat(_ context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	f.note(req)
	return f.heartbeat(req)
}

func (f *fake) Info(_ context.Context, id locks.ID) (locks.Info, error) {
	f.note(id)
	return f.info(id)
}

func (f *fake) Scan(_ context.Context, req locks.ScanRequest) (locks.Scanned, error) {
	f.note(req)
	return f.scan(req)
}

func (f *fake) Ready(context.Context) error { return f.ready }

// agreeable returns an engine on which everything succeeds.
func agreeable() *fake {
	return &fake{
		acquire: func(_ context.Context, req locks.AcquireRequest) (locks.Lease, error) {
			return locks.Lease{Token: 7, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, nil
		},
		release: func(locks.ReleaseRequest) (locks.Released, error) { return locks.Released{Ended: 1}, nil },
		heartbeat: func(req locks.HeartbeatRequest) (locks.Lease, error) {
			ttl := req.TTL
			if ttl == 0 {
				ttl = locks.DefaultTTL
			}
			return locks.Lease{Token: 7, Owner: req.Claim.Owner, TTL: ttl}, nil
		},
		info: func(id locks.ID) (locks.Info, error) { return locks.Info{ID: id, Mode: locks.Free}, nil },
		scan: func(locks.ScanRequest) (locks.Scanned, error) { return locks.Scanned{}, nil },
	}
}

// acquiring returns an engine whose Acquire is the function, and nothing else.
func acquiring(fn func(context.Context) (locks.Lease, error)) *fake {
	return &fake{acquire: func(ctx context.Context, _ locks.AcquireRequest) (locks.Lease, error) { return fn(ctx) }}
}

func build() metrics.Build { return metrics.Build{Version: "devel", Engine: "embedded"} }

// serve starts a server on a free port of the loopback address, until the test
// ends.
func serve(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, o), ln.Addr().String()
}

// serveOn starts a server on a listener, until the test ends.
func serveOn(t testing.TB, ln net.Listener, o Options) *Server {
	t.Helper()
	s := New(o)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// client is one connection to a server, byte for byte.
type client struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, c)
}

func newClient(t testing.TB, c net.Conn) *client {
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a hung test shall say where
	return &client{Conn: c, t: t, br: bufio.NewReader(c)}
}

// send writes bytes as they are.
func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		c.t.Fatalf("writing %.60q: %v", raw, err)
	}
}

// answer is one reply.
type answer struct {
	status int
	header http.Header
	body   string
	last   bool // the server closes the connection after it
}

// receive reads the reply to a request of that method.
func (c *client) receive(method string) answer {
	c.t.Helper()
	r, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading a reply: %v", err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("reading a body: %v", err)
	}
	return answer{r.StatusCode, r.Header, string(body), r.Close}
}

// ask sends a request without a body and returns the reply.
func (c *client) ask(method, target string, headers ...string) answer {
	c.t.Helper()
	raw := method + " " + target + " HTTP/1.1\r\nHost: candado\r\n"
	for _, h := range headers {
		raw += h + "\r\n"
	}
	c.send(raw + "\r\n")
	return c.receive(method)
}

// expectEnd fails unless the server closes the connection without a word.
func (c *client) expectEnd() {
	c.t.Helper()
	if b, err := io.ReadAll(c.br); err != nil || len(b) > 0 {
		c.t.Errorf("the connection ended with %q, %v; want a plain end", b, err)
	}
}
