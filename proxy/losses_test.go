package proxy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// A connection that candado ends stays open for a moment, so that the client can read the
// last reply. Its leases are not held for so long.
func TestSessionLeasesDoNotOutliveTheLastCommand(t *testing.T) {
	for name, last := range map[string]string{
		"QUIT":     encode("QUIT"),
		"not RESP": "*x\r\n",
		"HTTP":     encode("POST", "/", "HTTP/1.1"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := newFaulty()
				defer func() { _ = engine.Close() }()
				ln := halfCloserListener{newPipeListener()}
				srv := New(quiet(Options{Engine: engine}))
				served := make(chan error, 1)
				go func() { served <- srv.Serve(ln) }()
				c := newClient(t, ln.dial())
				c.token("job", "SESSION")
				go c.send(last)
				if !strings.HasPrefix(last, "*3") { // which gets no reply
					c.reply()
				}
				synctest.Wait()
				if n := engine.held(); n != 0 || srv.Connections() != 1 {
					t.Errorf("%d locks are held; %d connections are open", n, srv.Connections())
				}
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// stuck is a log whose reader has stopped reading.
type stuck struct {
	slog.Handler
	gate chan struct{}
}

func (s *stuck) Handle(context.Context, slog.Record) error { <-s.gate; return nil }
func (s *stuck) Enabled(context.Context, slog.Level) bool  { return true }

// logging serves over pipes in virtual time, with a log.
func logging(t *testing.T, log slog.Handler, test func(engine *faulty, srv *Server, dial func() *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		engine := newFaulty()
		defer func() { _ = engine.Close() }()
		opts := quiet(Options{Engine: engine})
		opts.Log = slog.New(log)
		srv := New(opts)
		ln := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		test(engine, srv, func() *client { return newClient(t, ln.dial()) })
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestLogThatBlocksKeepsNoLostConnectionOpen(t *testing.T) {
	log := &stuck{Handler: slog.DiscardHandler}
	logging(t, log, func(engine *faulty, srv *Server, dial func() *client) {
		log.gate = make(chan struct{}) // here, so that who waits for it does so in virtual time
		clients := make([]*client, 40)
		for i := range clients {
			clients[i] = dial()
			clients[i].token(fmt.Sprint(i), "SESSION", "PX", "3000")
		}
		engine.deaf.Store(true)
		time.Sleep(3 * time.Second)
		for _, c := range clients {
			c.wantClosed()
		}
		synctest.Wait()
		if n := srv.Connections(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		close(log.gate)
	})
}

// A log gets a line for each of a few losses, and a sum of many.
func TestManyLossesAreSummedUpInTheLog(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	}), nil)
	logging(t, log, func(engine *faulty, srv *Server, dial func() *client) {
		for i := range 500 {
			dial().token(fmt.Sprint(i), "SESSION", "PX", "3000")
		}
		for _, first := range []string{"0", "1"} {
			if _, err := srv.Engine().Release(t.Context(), locks.ReleaseRequest{ID: locks.ID(first), Force: true}); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second)
		}
		engine.deaf.Store(true)
		time.Sleep(time.Minute)
		engine.deaf.Store(false)
		mu.Lock()
		defer mu.Unlock()
		single, sum := 0, 0
		for line := range strings.Lines(out.String()) {
			var n int
			if _, rest, ok := strings.Cut(line, "connections="); ok {
				if _, err := fmt.Sscan(rest, &n); err != nil {
					t.Error(err)
				}
			} else {
				single++
			}
			sum += n
		}
		if single < 3 || single > 50 || single+sum != 500 {
			t.Errorf("%d losses have a line, and %d are summed up:\n%s", single, sum, out.String())
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// A client holds a lease without a session. It asks for it again with SESSION on another
// connection, waiting, and is gone before it is answered: nothing was told, and the lease stays.
func TestWaitingClientThatLeavesSparesWhatItsOwnerHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := slowGrants{newFaulty()}
		defer func() { _ = engine.Close() }()
		virtual(t, Options{Engine: engine}, func(srv *Server, dial func() *client) {
			a, b := dial(), dial()
			token := a.token("job", "OWNER", "me", "EX", "3600")
			b.send(encode("LOCK.ACQUIRE", "job", "OWNER", "me", "EX", "3600", "BLOCK", "5000", "SESSION"))
			time.Sleep(500 * time.Millisecond)
			_ = b.conn.Close()
			time.Sleep(time.Minute)
			if n := srv.Connections(); n != 1 {
				t.Errorf("%d connections are open", n)
			}
			a.want(":1\r\n", "LOCK.CHECK", "job", token)
		})
	})
}

// slowGrants answers an acquire a second after it has done it, whether or not somebody
// still waits for the answer.
type slowGrants struct{ *faulty }

func (e slowGrants) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	lease, err := e.faulty.Acquire(ctx, req)
	time.Sleep(time.Second)
	return lease, err
}

// A holder's other connection takes part in its lease, and ends without ending it.
func TestConnectionThatAsksForTheSameLeaseDoesNotEndIt(t *testing.T) {
	withFaulty(t, func(t *testing.T, _ *faulty, _ *Server, dial func() *client) {
		a, b, other := dial(), dial(), dial()
		token := a.token("job", "OWNER", "me", "SESSION")
		if again := b.token("job", "OWNER", "me", "SESSION"); again != token {
			t.Errorf("got %s and %s", token, again)
		}
		b.want("+OK\r\n", "QUIT")
		time.Sleep(time.Hour)
		other.want("$-1\r\n", "LOCK.ACQUIRE", "job")
		a.want(":1\r\n", "LOCK.CHECK", "job", token)
		_ = a.conn.Close()
		synctest.Wait()
		other.want(":1\r\n", "LOCK.RELEASE", "job", other.token("job"))
	})
}
