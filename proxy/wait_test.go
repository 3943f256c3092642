package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// Commands that wait, and clients that leave meanwhile.

// queueing starts a server on an embedded engine whose lock "job" is held, and
// returns how to release it.
func queueing(t testing.TB) (engine *memory.Engine, addr string) {
	t.Helper()
	engine = memory.New(memory.Options{})
	t.Cleanup(func() { _ = engine.Close() })
	_, addr = start(t, Options{Engine: engine})
	hold(t, engine)
	return engine, addr
}

func hold(t testing.TB, engine locks.Engine) {
	t.Helper()
	if _, err := engine.Acquire(context.Background(), locks.AcquireRequest{ID: "job", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
}

func free(t testing.TB, engine locks.Engine) {
	t.Helper()
	if _, err := engine.Release(context.Background(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
		t.Fatal(err)
	}
}

func waiting(t testing.TB, engine locks.Engine, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d requests wait", want), func() bool {
		info, err := engine.Info(context.Background(), "job")
		if err != nil {
			t.Fatal(err)
		}
		return info.Waiters == want
	})
}

func isToken(reply string) bool { return strings.HasPrefix(reply, ":") && len(reply) > 10 }

func TestBlockedAcquireGetsTheLock(t *testing.T) {
	engine, addr := queueing(t)
	c := dial(t, addr)
	c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0", "OWNER", "me"))
	waiting(t, engine, 1)
	free(t, engine)
	if got := c.reply(); !isToken(got) {
		t.Errorf("got %q, want a token", got)
	}
	c.want(":1\r\n", "LOCK.RELEASE", "job", "OWNER", "me")
}

func TestBlockThatRunsOutIsNull(t *testing.T) {
	withFaulty(t, func(t *testing.T, engine *faulty, _ *Server, dial func() *client) {
		hold(t, engine)
		defer free(t, engine)
		c := dial()
		begin := time.Now()
		c.want("$-1\r\n", "LOCK.ACQUIRE", "job", "BLOCK", "1500")
		if took := time.Since(begin); took != 1500*time.Millisecond {
			t.Errorf("waited for %v, want 1.5 s", took)
		}
		c.do("HELLO", "3")
		c.want("_\r\n", "LOCK.ACQUIRE", "job", "BLOCK", "1")
		c.want("+PONG\r\n", "PING")
	})
}

func TestFullQueueIsBusy(t *testing.T) {
	engine := memory.New(memory.Options{MaxWaiters: 1})
	t.Cleanup(func() { _ = engine.Close() })
	_, addr := start(t, Options{Engine: engine})
	hold(t, engine)
	first, second := dial(t, addr), dial(t, addr)
	first.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0"))
	waiting(t, engine, 1)
	second.want("-BUSY too many requests wait for this lock (--max-waiters)\r\n", "LOCK.ACQUIRE", "job", "BLOCK", "0")
	second.want("$-1\r\n", "LOCK.ACQUIRE", "job")
}

func TestPipelineAroundABlockKeepsItsOrder(t *testing.T) {
	engine, addr := queueing(t)
	c := dial(t, addr)
	c.send(encode("ECHO", "before") + encode("LOCK.ACQUIRE", "job", "BLOCK", "0") + encode("ECHO", "behind"))
	if got := c.reply(); got != "$6\r\nbefore\r\n" {
		t.Fatalf("got %q before the block", got)
	}
	waiting(t, engine, 1)
	var want strings.Builder
	const n = 800
	for i := range n { // more than the guard's buffer holds, in pieces; beyond 64 KiB candado waits a quarter of a second, and no more
		arg := strings.Repeat("x", i%97)
		c.send(encode("ECHO", arg))
		fmt.Fprintf(&want, "$%d\r\n%s\r\n", len(arg), arg)
	}
	free(t, engine)
	if got := c.reply(); !isToken(got) {
		t.Fatalf("got %q, want a token", got)
	}
	if got := c.reply(); got != "$6\r\nbehind\r\n" {
		t.Fatalf("got %q behind the block", got)
	}
	var got strings.Builder
	for range n {
		got.WriteString(c.reply())
	}
	if got.String() != want.String() {
		t.Error("the replies to what was sent meanwhile differ")
	}
}

func TestBlocksOneBehindAnother(t *testing.T) {
	engine, addr := queueing(t)
	c := dial(t, addr)
	c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0", "OWNER", "me") + encode("LOCK.RELEASE", "job", "OWNER", "me"))
	waiting(t, engine, 1)
	c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0") + encode("LOCK.ACQUIRE", "job", "BLOCK", "20") + encode("QUIT"))
	free(t, engine)
	if got := c.reply(); !isToken(got) {
		t.Fatalf("got %q, want a token", got)
	}
	if got := c.reply(); got != ":1\r\n" {
		t.Fatalf("got %q, want 1", got)
	}
	if got := c.reply(); !isToken(got) {
		t.Fatalf("got %q, want a token", got)
	}
	if got := c.rest(); got != "$-1\r\n+OK\r\n" {
		t.Fatalf("got %q, want null and OK", got)
	}
}

// leaving is how a client goes away.
func leaving() map[string]func(t *testing.T, conn net.Conn) {
	tcp := func(t *testing.T, conn net.Conn) *net.TCPConn {
		if c, ok := conn.(*tls.Conn); ok {
			conn = c.NetConn()
		}
		c, ok := conn.(*net.TCPConn)
		if !ok {
			t.Fatalf("a %T", conn)
		}
		return c
	}
	return map[string]func(t *testing.T, conn net.Conn){
		"closes": func(_ *testing.T, conn net.Conn) { _ = conn.Close() },
		"resets": func(t *testing.T, conn net.Conn) {
			_ = tcp(t, conn).SetLinger(0)
			_ = tcp(t, conn).Close()
		},
		"closes its half": func(t *testing.T, conn net.Conn) {
			if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
				t.Fatal("can't close a half")
			}
		},
	}
}

func TestClientThatLeavesWhileItWaitsLeavesTheQueue(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, pending := range []int{0, 10, 20_000} {
			for name, leave := range leaving() {
				t.Run(fmt.Sprintf("%s, TLS %v, %d commands pending", name, secure, pending), func(t *testing.T) {
					t.Parallel()
					engine, conn := connected(t, secure)
					c := newClient(t, conn)
					c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0"))
					waiting(t, engine, 1)
					c.send(strings.Repeat(encode("PING"), pending))
					leave(t, conn)
					waiting(t, engine, 0)
					free(t, engine)
					if info, err := engine.Info(t.Context(), "job"); err != nil || info.Held() {
						t.Errorf("the lock is held by %+v, %v; want it free", info.Holders, err)
					}
				})
			}
		}
	}
}

// connected returns a connection to a server whose lock "job" is held.
func connected(t *testing.T, secure bool) (*memory.Engine, net.Conn) {
	t.Helper()
	engine := memory.New(memory.Options{})
	t.Cleanup(func() { _ = engine.Close() })
	hold(t, engine)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if secure {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	}
	srv := New(quiet(Options{Engine: engine}))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	if !secure {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return engine, conn
	}
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return engine, conn
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestWaitOverTLSIsAnsweredAndGoesOn(t *testing.T) {
	engine, conn := connected(t, true)
	c := newClient(t, conn)
	c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0"))
	waiting(t, engine, 1)
	c.send(encode("PING"))
	free(t, engine)
	if got := c.reply(); !isToken(got) {
		t.Fatalf("got %q, want a token", got)
	}
	if got := c.reply(); got != "+PONG\r\n" {
		t.Fatalf("got %q, want PONG", got)
	}
	c.want("+PONG\r\n", "PING")
}

func TestTooMuchBehindABlockEndsTheConnection(t *testing.T) {
	engine, addr := queueing(t)
	c := dial(t, addr)
	c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0"))
	waiting(t, engine, 1)
	go func() {
		ping := strings.Repeat(encode("PING"), 1000)
		for range 200 {
			if _, err := c.conn.Write([]byte(ping)); err != nil {
				return
			}
		}
	}()
	waiting(t, engine, 0)
	if got := c.reply(); got != "-"+errAhead.Error()+"\r\n" {
		t.Errorf("got %q", got)
	}
	free(t, engine)
}

func TestShutdownTellsThoseWhoWait(t *testing.T) {
	engine := memory.New(memory.Options{})
	t.Cleanup(func() { _ = engine.Close() })
	srv, addr := start(t, Options{Engine: engine})
	hold(t, engine)
	var clients []*client
	for range 3 {
		c := dial(t, addr)
		c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0"))
		clients = append(clients, c)
	}
	waiting(t, engine, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for _, c := range clients {
		if got := c.rest(); got != shutdownReply {
			t.Errorf("got %q", got)
		}
	}
	waiting(t, engine, 0)
}

func TestKilledConnectionStopsWaiting(t *testing.T) {
	engine := memory.New(memory.Options{})
	t.Cleanup(func() { _ = engine.Close() })
	srv, addr := start(t, Options{Engine: engine})
	hold(t, engine)
	c := dial(t, addr)
	c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0", "SESSION"))
	waiting(t, engine, 1)
	_ = srv.list()[0].guard.Close()
	waiting(t, engine, 0)
}

func TestSessionLeaseAfterAWaitEndsWithTheConnection(t *testing.T) {
	engine, addr := queueing(t)
	c := dial(t, addr)
	c.send(encode("LOCK.ACQUIRE", "job", "BLOCK", "0", "SESSION", "PX", "5000"))
	waiting(t, engine, 1)
	free(t, engine)
	if got := c.reply(); !isToken(got) {
		t.Fatalf("got %q, want a token", got)
	}
	_ = c.conn.Close()
	eventually(t, "the lease is released", func() bool {
		info, err := engine.Info(t.Context(), "job")
		return err == nil && !info.Held()
	})
}

// A client that waited, and to whom the reply can't be written, was never told of its lease:
// nobody has it. What it was told, or asked not to be told, is its own.
func TestGrantThatCanNotBeToldIsGivenBack(t *testing.T) {
	for name, test := range map[string]struct {
		before, behind string
		reads          int // replies
		held           bool
	}{
		"alone":            {},
		"before others":    {behind: encode("ECHO", strings.Repeat("x", 1000))},
		"behind others":    {before: encode("ECHO", "a"), reads: 1},
		"told":             {behind: encode("ECHO", strings.Repeat("x", 10_000)), reads: 1, held: true},
		"not to be told":   {before: encode("CLIENT", "REPLY", "OFF"), behind: encode("CLIENT", "REPLY", "ON"), held: true},
		"released already": {behind: encode("LOCK.RELEASE", "job") + encode("LOCK.ACQUIRE", "job", "OWNER", "other"), held: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := memory.New(memory.Options{})
				defer engine.Close()
				hold(t, engine)
				virtual(t, Options{Engine: engine}, func(srv *Server, dial func() *client) {
					c := dial()
					go c.send(test.before + encode("LOCK.ACQUIRE", "job", "BLOCK", "0", "PX", "600000") + test.behind)
					if test.before != "" && test.reads > 0 {
						c.reply()
						test.reads--
					}
					synctest.Wait()
					free(t, engine)
					for range test.reads {
						c.reply()
					}
					nap(5 * time.Second)
					if left := srv.Connections(); left != 0 {
						t.Errorf("%d connections are left", left)
					}
					if info, err := engine.Info(t.Context(), "job"); err != nil || info.Held() != test.held {
						t.Errorf("the lock is held by %+v, %v; want held %v", info.Holders, err, test.held)
					}
				})
			})
		})
	}
}
