package proxy

// This file is the server's life: serving, draining, closing.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/locks"
	leases "github.com/goodjobtech/candado/locks/session"
)

// closeTime is how long Close waits for session leases to be released.
const closeTime = time.Second

// Server serves RESP. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	engine   locks.Engine // opts.Engine, for all but what sessions ask: leases must know what is done to them
	leases   *leases.Manager
	losses   *lossLog
	commands commandTable
	started  time.Time
	groups   sync.Pool    // of *group
	buffers  sync.Pool    // of *[readBuffer]byte
	sending  atomic.Int64 // bytes of large replies that are being written
	listing  sync.Mutex   // one CLIENT LIST is made at a time

	stopping atomic.Bool     // true from the beginning of a shutdown
	serving  context.Context // ends with it: then nobody waits any more
	stop     context.CancelFunc
	drained  chan struct{} // closed when stopping and no connection is left, or at Close

	mu        sync.Mutex
	listeners []net.Listener
	sessions  map[int64]*session // by ID
	lastID    int64
	turned    int64 // connections turned away
	done      bool  // drained is closed
}

// New returns a server that asks opts.Engine. It does nothing until Serve.
func New(opts Options) *Server {
	opts = opts.withDefaults()
	kept := leases.New(opts.Engine, leases.Options{MaxLeases: opts.MaxSessionLeases})
	serving, stop := context.WithCancel(context.Background())
	return &Server{
		opts:     opts,
		serving:  serving,
		engine:   kept.Engine(),
		leases:   kept,
		losses:   &lossLog{log: opts.Log, stop: serving.Done()},
		commands: newCommandTable(),
		started:  opts.Now(),
		stop:     stop,
		drained:  make(chan struct{}),
		sessions: make(map[int64]*session),
	}
}

// Serve accepts connections from ln, which it closes in the end, and serves
// them until Shutdown or Close; then it returns nil. It returns an error if ln
// was closed by somebody else. It does not wait for handlers that Shutdown or
// Close gave up on.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	s.listeners = append(s.listeners, ln)
	s.mu.Unlock()
	// Shutdown sets stopping before it looks at the listeners: whichever of
	// the two comes second closes this one.
	if s.stopping.Load() {
		_ = ln.Close()
		return nil
	}
	for sess := s.accept(ln); sess != nil; sess = s.accept(ln) {
		go s.serve(sess)
	}
	if !s.stopping.Load() {
		return fmt.Errorf("serving RESP on %v: %w", ln.Addr(), net.ErrClosed)
	}
	<-s.drained
	return nil
}

// Shutdown stops the server gently: no connection is accepted any more, commands
// that wait are answered with the SHUTDOWN error, those that run finish and their
// replies are delivered, commands that arrive afterwards are answered with the
// SHUTDOWN error, and then the connections are closed. It returns nil once all
// are gone and their session leases are released. When ctx ends first, it closes
// what is left, cancels the contexts of the commands that run, and returns ctx's
// error, wrapped.
func (s *Server) Shutdown(ctx context.Context) error {
	s.beginStop()
	for _, sess := range s.list() {
		sess.guard.leave()
	}
	select {
	case <-s.drained:
		return s.leases.Close(ctx)
	case <-ctx.Done():
	}
	left := s.Connections()
	if err := s.Close(); err != nil {
		return err
	}
	return fmt.Errorf("closing %d connections that were still open: %w", left, ctx.Err())
}

// Close stops the server at once: connections are closed, the contexts of the
// commands that run are cancelled, their replies are lost. It waits for a moment
// for session leases to be released.
func (s *Server) Close() error {
	err := s.beginStop()
	for _, sess := range s.list() {
		if e := sess.guard.Close(); !errors.Is(e, net.ErrClosed) { // it may end by itself meanwhile
			err = errors.Join(err, e)
		}
	}
	s.mu.Lock()
	s.finish()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return errors.Join(err, s.leases.Close(ctx))
}

// Engine returns the engine for requests that come by another way than RESP, as
// by HTTP: one that asks opts.Engine, and tells sessions what was done to their
// leases. So a lease that is released on purpose does not count as lost.
func (s *Server) Engine() locks.Engine { return s.engine }

// Sending returns how many bytes of large replies clients have yet to take.
func (s *Server) Sending() int { return int(s.sending.Load()) }

// SessionLeases returns how many leases are kept for connections. One that several
// connections have counts once.
func (s *Server) SessionLeases() int { return s.leases.Leases() }

// LostLeases returns how many of these leases were lost so far: those that could not be
// renewed in time or were ended by others, and with them all others of the same connection,
// which is closed.
func (s *Server) LostLeases() int { return int(s.leases.LostLeases()) }

// Connections returns the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

func (s *Server) beginStop() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Swap(true) {
		return nil
	}
	s.stop()
	for _, ln := range s.listeners {
		if e := ln.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	if len(s.sessions) == 0 {
		s.finish()
	}
	return err
}

// finish lets Serve return. s.mu is held.
func (s *Server) finish() {
	if !s.done {
		s.done = true
		close(s.drained)
	}
}

// admit makes a session of a new connection, or closes it and returns nil.
func (s *Server) admit(conn net.Conn) *session {
	sess, full := s.enter(conn)
	switch {
	case full:
		s.turnAway(conn)
	case sess == nil:
		_ = conn.Close()
	}
	return sess
}

// enter looks at stopping under the lock: a shutdown that begins now either
// finds the new session in its list, or is seen here.
func (s *Server) enter(conn net.Conn) (sess *session, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return nil, false
	}
	if len(s.sessions) >= s.opts.MaxConnections {
		s.turned++
		return nil, true
	}
	s.lastID++
	sess = newSession(s.lastID, newGuard(conn, &s.opts, &s.buffers), s.opts.Now())
	if s.opts.Access != nil {
		sess.guard.setStranger(time.Now().Add(s.opts.CommandTimeout))
	}
	sess.leases = s.leases.Open(func(reason error) { s.lost(sess, reason) })
	s.sessions[sess.id] = sess
	return sess, false
}

// end forgets a session. Nothing here may wait for another connection.
func (s *Server) end(sess *session) {
	sess.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sess.id)
	if len(s.sessions) == 0 && s.stopping.Load() {
		s.finish()
	}
}

// lost closes a connection whose client holds a lease no longer, though it
// believes so. A command that it waits for is cancelled with it. Only then is there time
// to speak of it.
func (s *Server) lost(sess *session, reason error) {
	_ = sess.guard.Close() // fails if it is closed already
	s.losses.note(loss{sess.id, sess.guard.RemoteAddr(), reason, s.leases.Lost()})
}

// list returns the open sessions by ID.
func (s *Server) list() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sortedSessions(s.sessions)
}
