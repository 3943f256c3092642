package proxy

// This file accepts connections: it bounds their number, and survives errors of Accept.

import (
	"errors"
	"net"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second

	// A client that is turned away is told so only if its socket takes the
	// message at once: the accept loop waits for nobody.
	turnAwayTime = 10 * time.Millisecond
)

// accept returns the next connection, as a session. It returns nil once the server stops,
// or the listener was closed under it; not because the process is short of file
// descriptors.
func (s *Server) accept(ln net.Listener) *session {
	backoff := firstBackoff
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			if sess := s.admit(conn); sess != nil {
				return sess
			}
			backoff = firstBackoff
			continue
		case s.stopping.Load() || errors.Is(err, net.ErrClosed):
			return nil
		}
		s.opts.Log.Warn("accepting a connection failed, will try again", "error", err, "in", backoff)
		s.pause(backoff)
		backoff = min(2*backoff, lastBackoff)
	}
}

func (s *Server) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.serving.Done():
	}
}

// turnAway closes a connection that is one too many. With TLS it says nothing, as
// Redis: that would take a handshake, for which the client has to do its part.
func (s *Server) turnAway(conn net.Conn) {
	s.opts.Refused(errorCode(msgMaxClients))
	s.opts.Exceeded(locks.QuotaRESPConnections)
	if socket := socketOf(conn); socket != conn {
		_ = socket.Close()
		return
	}
	_ = conn.SetWriteDeadline(time.Now().Add(turnAwayTime))
	_, _ = conn.Write([]byte("-" + msgMaxClients + "\r\n"))
	_ = conn.Close()
}
