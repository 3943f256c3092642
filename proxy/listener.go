package proxy

// This file is the listener under redcon: it bounds the number of connections,
// survives errors of Accept, and keeps redcon waiting while the server drains.

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

// listener hands guarded connections to redcon.
type listener struct {
	net.Listener
	srv *Server
}

// Accept returns the next connection. Its only error is net.ErrClosed, once the
// server has been drained or closed, or the listener was closed under it: redcon
// closes every connection when Accept fails for good, which must not happen while
// commands run, nor because the process is short of file descriptors.
func (l *listener) Accept() (net.Conn, error) {
	backoff := firstBackoff
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			if sess := l.srv.admit(conn); sess != nil {
				return sess.guard, nil
			}
			backoff = firstBackoff
			continue
		}
		if l.srv.stopping.Load() {
			<-l.srv.drained
			return nil, net.ErrClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		l.srv.opts.Log.Warn("accepting a connection failed, will try again", "err", err, "in", backoff)
		l.pause(backoff)
		backoff = min(2*backoff, lastBackoff)
	}
}

func (l *listener) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.srv.serving.Done():
	}
}

// turnAway closes a connection that is one too many.
func (s *Server) turnAway(conn net.Conn) {
	s.opts.Refused(errorCode(msgMaxClients))
	s.opts.Exceeded(locks.QuotaRESPConnections)
	_ = conn.SetWriteDeadline(time.Now().Add(turnAwayTime))
	_, _ = conn.Write([]byte("-" + msgMaxClients + "\r\n"))
	_ = conn.Close()
}
