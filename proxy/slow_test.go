package proxy

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Clients that are slow, silent or gone, in virtual time.

// exceeded counts what was refused, by quota.
type exceeded struct {
	mu     sync.Mutex
	counts map[locks.Quota]int
}

func (e *exceeded) note(q locks.Quota) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counts == nil {
		e.counts = map[locks.Quota]int{}
	}
	e.counts[q]++
}

// want fails unless that quota was exceeded so often, and no other.
func (e *exceeded) want(t *testing.T, q locks.Quota, n int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counts[q] != n || len(e.counts) > min(n, 1) {
		t.Errorf("exceeded were %v, want %v %d times", e.counts, q, n)
	}
}

// slowly runs a test of a server whose connections must all be gone in the end, without
// the client having closed them.
func slowly(t *testing.T, opts Options, q locks.Quota, n int, test func(t *testing.T, dial func() *client)) {
	t.Helper()
	var over exceeded
	opts.Exceeded = over.note
	inVirtualTime(t, opts, func(t *testing.T, srv *Server, dial func() *client) {
		test(t, dial)
		synctest.Wait()
		if left := srv.Connections(); left != 0 {
			t.Errorf("%d connections are left", left)
		}
		over.want(t, q, n)
	})
}

// nap sleeps, and a little more, so that what was due then is done.
func nap(d time.Duration) { time.Sleep(d + time.Millisecond) }

func TestReaderOfOneByteASecondIsDropped(t *testing.T) {
	slowly(t, Options{}, locks.QuotaWriteTime, 1, func(t *testing.T, dial func() *client) {
		c, begin := dial(), time.Now()
		go c.send(encode("ECHO", strings.Repeat("x", 1000)))
		for b := make([]byte, 1); ; time.Sleep(time.Second) {
			if _, err := c.conn.Read(b); err != nil {
				break
			}
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("dropped after %v", took)
		}
	})
}

func TestPipelineWithoutReadingIsDropped(t *testing.T) {
	slowly(t, Options{}, locks.QuotaWriteTime, 1, func(t *testing.T, dial func() *client) {
		c := dial()
		go func() {
			for {
				if _, err := io.WriteString(c.conn, strings.Repeat(encode("ECHO", "abc"), 100)); err != nil {
					return
				}
			}
		}()
		nap(5 * time.Second)
	})
}

func TestBytesOfACommandOneByOneMustBeQuick(t *testing.T) {
	var over exceeded
	inVirtualTime(t, Options{CommandTimeout: 5 * time.Second, Exceeded: over.note}, func(t *testing.T, _ *Server, dial func() *client) {
		c, left := dial(), make(chan struct{})
		go func() {
			defer close(left)
			for _, b := range []byte(encode("ECHO", strings.Repeat("x", 50))) {
				if _, err := c.conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if got, want := c.rest(), "-ERR Protocol error: the command did not arrive within 5s (--request-timeout)\r\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		<-left
		over.want(t, locks.QuotaRequestTime, 1)
	})
}

func TestHalfACommandFromAClientThatLeavesIsForgotten(t *testing.T) {
	slowly(t, Options{}, 0, 0, func(t *testing.T, dial func() *client) {
		c := dial()
		c.send(encode("LOCK.ACQUIRE", "job")[:10])
		_ = c.conn.Close()
	})
}

func TestClientThatNeverSpeaksIsClosedIfALimitIsSet(t *testing.T) {
	slowly(t, Options{IdleTimeout: time.Minute}, locks.QuotaIdleTime, 1, func(t *testing.T, dial func() *client) {
		if took := closedAfter(dial()); took != time.Minute {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestWaitingIsNotIdle(t *testing.T) {
	withFaulty(t, func(t *testing.T, _ *faulty, srv *Server, dial func() *client) {
		srv.opts.IdleTimeout = time.Minute
		holder, waiter := dial(), dial()
		token := holder.do("LOCK.ACQUIRE", "job", "PX", "3600000")
		go waiter.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "600000"))
		for range 5 {
			time.Sleep(50 * time.Second)
			holder.want("+PONG\r\n", "PING")
		}
		holder.want(":1\r\n", "LOCK.RELEASE", "job", token[1:len(token)-2])
		if got := waiter.reply(); !isToken(got) {
			t.Errorf("got %q", got)
		}
		waiter.want(":1\r\n", "LOCK.RELEASE", "job")
	})
}

// wide is an engine with one lock whose ID is large, as a page of many would be.
type wide struct{ *scripted }

const wideID = 1 << 20

func (wide) Scan(context.Context, locks.ScanRequest) (locks.Scanned, error) {
	return locks.Scanned{IDs: []locks.ID{locks.ID(strings.Repeat("x", wideID))}}, nil
}

// Many clients ask for what is large, and read none of it. What is kept for them is
// bounded; the others are refused, and one that reads is served again afterwards.
func TestLargeRepliesThatNobodyReadsAreBounded(t *testing.T) {
	const clients = 100
	var over exceeded
	inVirtualTime(t, Options{Engine: wide{newScripted()}, Exceeded: over.note}, func(t *testing.T, srv *Server, dial func() *client) {
		for range clients {
			dial().send(encode("LOCK.SCAN", "0"))
		}
		synctest.Wait()
		if n := srv.Sending(); n < MaxSending/2 || n > MaxSending {
			t.Errorf("%d bytes are kept", n)
		}
		last := dial()
		if got, want := last.do("LOCK.SCAN", "0"), "-BUSY too many bytes of replies wait to be taken by their clients\r\n"; got != want {
			t.Errorf("got %.80q, want %q", got, want)
		}
		last.want("+PONG\r\n", "PING")
		nap(5 * time.Second)
		synctest.Wait()
		if n := srv.Sending(); n != 0 {
			t.Errorf("%d bytes are kept for nobody", n)
		}
		if got := last.do("LOCK.SCAN", "0"); len(got) < wideID {
			t.Errorf("got %.80q", got)
		}
	})
	if n, want := over.counts[locks.QuotaReplyBytes], clients+1-MaxSending/wideID; n < want || n > want+1 {
		t.Errorf("%d were refused, want %d", n, want)
	}
}

func TestPatternsAreBounded(t *testing.T) {
	engine := newScripted()
	_, addr := start(t, Options{Engine: engine})
	c := dial(t, addr)
	c.want("-ERR match is longer than 2048 bytes\r\n", "LOCK.SCAN", "0", "MATCH", "*["+strings.Repeat("b", 2046)+"]")
	if got := c.do("LOCK.SCAN", "0", "MATCH", strings.Repeat(`\a`, locks.MaxIDLen)); got[0] != '*' {
		t.Errorf("the longest is answered %q", got)
	}
}

func TestSessionLeasesAreBounded(t *testing.T) {
	var over exceeded
	inVirtualTime(t, Options{MaxSessionLeases: 2, Exceeded: over.note}, func(t *testing.T, _ *Server, dial func() *client) {
		c := dial()
		for _, id := range []string{"a", "b"} {
			if got := c.do("LOCK.ACQUIRE", id, "SESSION"); !isToken(got) {
				t.Fatalf("got %q", got)
			}
		}
		c.want("-BUSY this connection has too many session leases (--max-session-leases)\r\n", "LOCK.ACQUIRE", "c", "SESSION")
		if got := dial().do("LOCK.ACQUIRE", "c", "SESSION"); !isToken(got) {
			t.Errorf("another connection got %q", got)
		}
		over.want(t, locks.QuotaSessionLeases, 1)
	})
}

// What large commands took is given back while one behind them waits.
func TestWaitingConnectionKeepsLittleToReadInto(t *testing.T) {
	large := encode("ECHO", strings.Repeat("x", 30_000))
	for name, c := range map[string]struct {
		before, behind string
		want           int
	}{
		"small":                {encode("PING"), "", 0},
		"large":                {large, "", 0},
		"small, more is there": {encode("PING"), encode("PING")[:3], readBuffer},
		"large, more is there": {large, encode("PING")[:3], readBuffer},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, Options{}, func(t *testing.T, srv *Server, dial func() *client) {
				holder, waiter := dial(), dial()
				holder.do("LOCK.ACQUIRE", "job")
				go waiter.send(c.before + encode("LOCK.ACQUIRE", "job", "BLOCK", "0") + c.behind)
				waiter.reply()
				synctest.Wait()
				if n := len(srv.list()[1].guard.buf); n != c.want {
					t.Errorf("it has %d bytes, want %d", n, c.want)
				}
				holder.want(":1\r\n", "LOCK.RELEASE", "job")
				if got := waiter.reply(); !isToken(got) {
					t.Errorf("got %q", got)
				}
				if c.behind != "" {
					go waiter.send(encode("PING")[len(c.behind):])
					if got := waiter.reply(); got != "+PONG\r\n" {
						t.Errorf("got %q", got)
					}
				}
				waiter.want("+PONG\r\n", "PING")
			})
		})
	}
}
