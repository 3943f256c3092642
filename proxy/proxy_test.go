package proxy

// This file holds what the tests share: a scripted engine, a server on a free
// port, a client that sees raw replies.

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// scripted answers by the ID alone, always the same.
type scripted struct {
	entered chan struct{} // gets a value when a request for "slow" has begun
	gate    chan struct{} // closed to let requests for "slow" finish

	mu       sync.Mutex
	requests []any
}

func newScripted() *scripted {
	return &scripted{entered: make(chan struct{}, 100), gate: make(chan struct{})}
}

var errOdd = errors.New("something nobody thought of")

func (s *scripted) script(ctx context.Context, id locks.ID, req any) error {
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()
	switch id {
	case "held":
		return locks.ErrHeld
	case "others":
		return fmt.Errorf("releasing %q: %w", id, locks.ErrNotOwner)
	case "mode":
		return locks.ErrMode
	case "down":
		return fmt.Errorf("asking: %w", locks.ErrUnavailable)
	case "stopping":
		return locks.ErrShutdown
	case "odd":
		return errOdd
	case "panic":
		panic("a handler's bug")
	case "slow":
		s.entered <- struct{}{}
		select {
		case <-s.gate:
		case <-ctx.Done():
			return locks.ErrUnavailable
		}
	}
	return nil
}

// last returns the latest request.
func (s *scripted) last() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		return nil
	}
	return s.requests[len(s.requests)-1]
}

func (s *scripted) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	if err := s.script(ctx, req.ID, req); err != nil {
		return locks.Lease{}, err
	}
	return locks.Lease{Token: 1763860000000001, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, nil
}

func (s *scripted) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	err := s.script(ctx, req.ID, req)
	switch {
	case err != nil || req.ID == "free":
		return locks.Released{}, err
	case req.Force:
		return locks.Released{Ended: 3}, nil
	}
	return locks.Released{Ended: 1}, nil
}

func (s *scripted) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	err := s.script(ctx, req.ID, req)
	if err != nil || req.ID == "free" {
		return locks.Lease{}, err
	}
	if req.TTL == 0 {
		req.TTL = locks.DefaultTTL
	}
	return locks.Lease{Token: cmp.Or(req.Claim.Token, 7), TTL: req.TTL}, nil
}

func (s *scripted) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	results := make([]locks.Renewed, len(reqs))
	for i, req := range reqs {
		results[i].Lease, results[i].Err = s.Heartbeat(ctx, req)
	}
	return results
}

func (s *scripted) Do(ctx context.Context, ops []locks.Op) { locks.DoEach(ctx, s, ops) }

func (s *scripted) ReleaseAll(ctx context.Context, reqs []locks.ReleaseRequest) []locks.ReleaseResult {
	results := make([]locks.ReleaseResult, len(reqs))
	for i, req := range reqs {
		results[i].Released, results[i].Err = s.Release(ctx, req)
	}
	return results
}

func (s *scripted) Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error) {
	return token == 7, s.script(ctx, id, token)
}

func (s *scripted) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	info := locks.Info{ID: id, Mode: locks.Free}
	if err := s.script(ctx, id, id); err != nil || id == "free" {
		return info, err
	}
	return locks.Info{
		ID: id, Mode: locks.Shared, Waiters: 2, LastToken: 9,
		Holders: []locks.Holder{
			{Lease: locks.Lease{Token: 7, Owner: "a\r\nb", Mode: locks.Shared, TTL: 1500 * time.Microsecond}, Held: 4 * time.Second},
			{Lease: locks.Lease{Token: 9, Mode: locks.Shared, TTL: locks.NoExpiry}, Held: 900 * time.Microsecond},
		},
	}, nil
}

func (s *scripted) Scan(ctx context.Context, req locks.ScanRequest) (locks.Scanned, error) {
	return locks.Scanned{Cursor: req.Cursor + 5, IDs: []locks.ID{"a", "b\x00\xff"}}, s.script(ctx, "", req)
}

func (s *scripted) Ready(context.Context) error { return nil }
func (s *scripted) Close() error                { return nil }

// quiet fills in what every test wants of its options.
func quiet(opts Options) Options {
	if opts.Engine == nil {
		opts.Engine = newScripted()
	}
	opts.Version = "1.2.3"
	opts.Log = slog.New(slog.DiscardHandler)
	return opts
}

// start serves on a free port until the test ends, and then checks that no
// goroutine is left.
func start(t testing.TB, opts Options) (*Server, string) {
	t.Helper()
	before := runtime.NumGoroutine()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := New(quiet(opts))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
	return srv, ln.Addr().String()
}

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("not seen in 10 s: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func encode(args ...string) string {
	raw := make([][]byte, len(args))
	for i, arg := range args {
		raw[i] = []byte(arg)
	}
	return string(appendCommand(nil, raw))
}

func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("sending %.40q: %v", raw, err)
	}
}

// do sends one command and returns its raw reply.
func (c *client) do(args ...string) string {
	c.t.Helper()
	c.send(encode(args...))
	return c.reply()
}

func (c *client) reply() string {
	c.t.Helper()
	raw, err := readReply(c.r)
	if err != nil {
		c.t.Fatalf("reading a reply: %v (after %q)", err, raw)
	}
	return raw
}

// rest returns what the server still sends until it closes the connection.
func (c *client) rest() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	raw, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("reading to the end: %v (after %q)", err, raw)
	}
	return string(raw)
}

func (c *client) want(reply string, args ...string) {
	c.t.Helper()
	if got := c.do(args...); got != reply {
		c.t.Errorf("%q:\n got %q\nwant %q", args, got, reply)
	}
}

// readReply returns the bytes of one reply.
func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return line, err
	}
	if len(line) < 3 || !strings.HasSuffix(line, "\r\n") {
		return line, fmt.Errorf("bad line %q", line)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	elements := n
	switch line[0] {
	case '+', '-', ':', '_':
		return line, nil
	case '$', '=':
		if n < 0 {
			return line, nil
		}
		body := make([]byte, n+2)
		_, err := io.ReadFull(r, body)
		return line + string(body), err
	case '%':
		elements = 2 * n
	case '*', '~':
	default:
		return line, fmt.Errorf("unknown type in %q", line)
	}
	for range elements {
		element, err := readReply(r)
		line += element
		if err != nil {
			return line, err
		}
	}
	return line, nil
}

// appendCommand appends a command as an array of bulk strings.
func appendCommand(b []byte, args [][]byte) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}
