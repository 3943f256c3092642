package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
)

// Server answers HTTP requests with an engine. Make one with New. It is safe
// for concurrent use.
type Server struct {
	options Options // with their defaults

	http  *fasthttp.Server
	conns *registry

	// base is the context of every engine call; it ends when Shutdown has
	// given up on the requests that are still running.
	base   context.Context
	cancel context.CancelFunc

	// waiting ends when Shutdown begins: then nobody waits any more.
	waiting  context.Context
	endWaits context.CancelFunc

	mu        sync.Mutex
	listeners []*listener
}

// New returns a server that does not serve yet. The engine stays the caller's:
// the server never closes it.
func New(o Options) *Server {
	s := &Server{options: o.withDefaults()}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.waiting, s.endWaits = context.WithCancel(context.Background())
	s.conns = newRegistry(s.options.MaxConns, s.exceeded)
	s.conns.failed = s.handshakeFailed
	s.http = &fasthttp.Server{
		Handler:      s.handle,
		ErrorHandler: s.unreadable,
		ConnState:    func(c net.Conn, state fasthttp.ConnState) { s.conns.track(c, state) },
		Logger:       debugLog{s.options.Log},

		ReadTimeout:        s.options.ReadTimeout,
		WriteTimeout:       s.options.WriteTimeout,
		IdleTimeout:        s.options.IdleTimeout,
		ReadBufferSize:     s.options.MaxHeaderBytes,
		MaxRequestBodySize: MaxBodyBytes,

		// The registry refuses above MaxConns with a body of the documented
		// shape. fasthttp, whose refusal is plain text, counts a connection a
		// little longer than the registry does, hence the slack.
		Concurrency: 2 * (s.options.MaxConns + maxExtra),

		NoDefaultServerHeader:        true,
		NoDefaultDate:                s.options.NoDate,
		LazyRequestTime:              !s.options.NoDate, // nobody asks for it; it rests on what keeps the date
		DisablePreParseMultipartForm: true,              // it would write bodies to files
		SecureErrorLogMessage:        true,              // keeps requests out of the log
	}
	return s
}

// Serve accepts connections on ln and answers their requests until Shutdown,
// and then returns nil. It returns an error if the listener fails for good;
// a lack of file descriptors or memory is waited out. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	l := &listener{Listener: ln, server: s, closed: make(chan struct{})}
	defer l.Close()
	if !s.adopt(l) {
		return nil
	}
	err := s.http.Serve(l)
	if s.conns.draining.Load() {
		return nil
	}
	return fmt.Errorf("accepting HTTP connections: %w", errors.Join(err, l.err))
}

// adopt takes the listener in, unless Shutdown came first and would miss it.
func (s *Server) adopt(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns.draining.Load() {
		return false
	}
	s.listeners = append(s.listeners, l)
	return true
}

// Shutdown stops the server: it accepts no more, /readyz and requests to
// acquire, release or renew get 503, also those that wait; other requests that
// are running finish, and connections without one are closed. It returns nil once all connections are closed. If ctx ends
// first, it closes what is left, cancels the engine calls that are still
// running, and returns an error that wraps ctx.Err(). Calling it again is
// harmless.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	err := s.stopAccepting()
	select {
	case <-s.conns.empty:
		return err
	case <-ctx.Done():
	}
	if n := s.conns.closeAll(); n > 0 {
		err = errors.Join(err, fmt.Errorf("closed %d HTTP connections with requests running: %w", n, ctx.Err()))
	}
	return err
}

func (s *Server) stopAccepting() error {
	// Under the mutex, so that a listener that is being adopted is either seen
	// here or sees that the server is draining.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns.drain()
	s.endWaits()
	var err error
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	s.listeners = nil
	return err
}

// Sending returns how many bytes of large pages clients have yet to take.
func (s *Server) Sending() int { return int(s.conns.sending.Load()) }

// Connections returns how many connections are open.
func (s *Server) Connections() int { return s.conns.count() }

// countRefusal counts a reply that is an error.
func (s *Server) countRefusal(status int) {
	if s.options.Metrics != nil {
		s.options.Metrics.Refused("http", fmt.Sprint(status))
	}
}

// exceeded counts what was refused because of a quota.
func (s *Server) exceeded(q locks.Quota) {
	if s.options.Metrics != nil {
		s.options.Metrics.Exceeded(q)
	}
}

// stopping returns ErrShutdown once Shutdown has been called.
func (s *Server) stopping() error {
	if s.conns.draining.Load() {
		return locks.ErrShutdown
	}
	return nil
}

// debugLog takes fasthttp's own messages, which are about single connections
// and clients' mistakes.
type debugLog struct{ log *slog.Logger }

func (d debugLog) Printf(format string, args ...any) {
	if !d.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	shown := slices.Clone(args)
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			shown[i] = unquoted(err)
		}
	}
	d.log.Debug("http", "message", fmt.Sprintf(format, shown...))
}

// unquoted returns an error's text as far as it repeats nothing of a request, which
// fasthttp quotes: it may be a password.
func unquoted(err error) string {
	text, _, _ := strings.Cut(err.Error(), `"`)
	return text
}
