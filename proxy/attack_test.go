package proxy

import (
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// attacks are byte streams that ended, filled or stalled a server whose parser
// trusts what is announced.
func attacks() map[string]struct {
	bytes string // sent once, in one piece
	times int    // how often; default once
	reply string // what the client reads before the connection is closed
} {
	type attack = struct {
		bytes string
		times int
		reply string
	}
	mebibyte := strings.Repeat("A", 1<<20)
	return map[string]attack{
		"BulkLengthOverflow":      {bytes: "*1\r\n$9223372036854775807\r\n", reply: "-ERR Protocol error: invalid bulk length\r\n"},
		"BulkLengthBelowOverflow": {bytes: "*1\r\n$9223372036854775800\r\nPING", reply: "-ERR Protocol error: invalid bulk length\r\n"},
		"NegativeBulkLength":      {bytes: "*1\r\n$-1\r\n", reply: "-ERR Protocol error: invalid bulk length\r\n"},
		"BillionArguments":        {bytes: "*1000000000\r\n", reply: "-ERR Protocol error: invalid multibulk length\r\n"},
		"EndlessArguments":        {bytes: "*9000000000000000000\r\n", reply: "-ERR Protocol error: invalid multibulk length\r\n"},
		"ManyArguments":           {bytes: "*1025\r\n", reply: "-ERR Protocol error: more than 1024 arguments\r\n"},
		"HugeBulk":                {bytes: "*1\r\n$2000000000\r\n" + mebibyte, times: 64, reply: "-ERR Protocol error: invalid bulk length\r\n"},
		"LargeBulk":               {bytes: "*2\r\n$4\r\nECHO\r\n$500000000\r\n" + mebibyte, times: 64, reply: "-ERR Protocol error: command larger than 65536 bytes (--max-command-bytes)\r\n"},
		"LongInlineLine":          {bytes: mebibyte, times: 64, reply: "-ERR Protocol error: too big inline request\r\n"},
		"LongCountLine":           {bytes: "*" + strings.Repeat("1", 1<<20), reply: "-ERR Protocol error: too big mbulk count string\r\n"},
		"LongLengthLine":          {bytes: "*1\r\n$" + strings.Repeat("1", 1<<20), reply: "-ERR Protocol error: too big bulk count string\r\n"},
		"NoDollar":                {bytes: "*1\r\nx4\r\n", reply: "-ERR Protocol error: expected '$', got 'x'\r\n"},
		"LineEndForDollar":        {bytes: "*1\r\n\r\n", reply: "-ERR Protocol error: expected '$', got ' '\r\n"},
		"OpenQuote":               {bytes: "PING \"a\r\n", reply: "-ERR Protocol error: unbalanced quotes in request\r\n"},
		"BulkWithoutItsEnd":       {bytes: "*1\r\n$4\r\nPINGxx*1\r\n", reply: "-ERR Protocol error: invalid bulk length\r\n"},
		"CrossProtocolScripting":  {bytes: "POST / HTTP/1.1\r\nHost: x\r\n\r\nLOCK.RELEASE job FORCE\r\n", reply: ""},
		"HostHeader":              {bytes: "Host: x\r\n\r\nLOCK.RELEASE job FORCE\r\n", reply: ""},
	}
}

func TestAttackGetsAnErrorAndTheServerLives(t *testing.T) {
	for name, attack := range attacks() {
		t.Run(name, func(t *testing.T) {
			engine := newScripted()
			_, addr := start(t, Options{Engine: engine})
			before := heap()
			c := dial(t, addr)
			go func() {
				for range max(attack.times, 1) {
					if _, err := io.WriteString(c.conn, attack.bytes); err != nil {
						return // it was closed: what we are here for
					}
				}
			}()
			// A flood beyond what is drained may end in a reset, but not before
			// the error was delivered.
			_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := io.ReadAll(c.r)
			if string(got) != attack.reply || isTimeout(err) {
				t.Errorf("got %q, %v; want %q", got, err, attack.reply)
			}
			_ = c.conn.Close()
			survives(t, addr, before)
			if req := engine.last(); req != nil {
				t.Errorf("the attack reached the engine: %+v", req)
			}
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// survives checks that the server answers and has not grown by more than a few
// commands' worth.
func survives(t *testing.T, addr string, before uint64) {
	t.Helper()
	if after := heap(); after > before+8<<20 {
		t.Errorf("memory in use grew from %d to %d bytes", before, after)
	}
	dial(t, addr).want("+PONG\r\n", "PING")
}

func TestByteWiseArrivalNeedsNeitherStackNorTime(t *testing.T) {
	before := heap()
	g := newGuard(&trickle{data: strings.Repeat(encode("ECHO", strings.Repeat("x", 30000)), 20)}, new(quiet(Options{}).withDefaults()), new(sync.Pool))
	commands := 0
	for g.more() == nil {
		for args := g.arguments(); args != nil; args = g.arguments() {
			if commands++; len(args) != 2 || len(args[1]) != 30000 {
				t.Errorf("got %d arguments", len(args))
			}
		}
	}
	if commands != 20 {
		t.Errorf("%d commands were handed on", commands)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("memory in use grew from %d to %d bytes", before, after)
	}
}

// trickle is a connection on which one byte arrives at a time.
type trickle struct {
	net.Conn
	data string
}

func (c *trickle) Read(p []byte) (int, error) {
	if c.data == "" {
		return 0, io.EOF
	}
	p[0] = c.data[0]
	c.data = c.data[1:]
	return 1, nil
}
func (c *trickle) SetReadDeadline(time.Time) error { return nil }

// A flood of valid commands that never pauses at a command's end must not make
// any buffer grow with its length.
func TestEndlessPipelineDoesNotGrow(t *testing.T) {
	_, addr := start(t, Options{})
	before := heap()
	c := dial(t, addr)
	const commands = 200_000
	// An odd length, so that the ends of commands drift through all buffers.
	batch := strings.Repeat(encode("ECHO", "abc"), commands/100)
	go func() {
		for range 100 {
			if _, err := io.WriteString(c.conn, batch); err != nil {
				return
			}
		}
	}()
	for i := range commands {
		if got := c.reply(); got != "$3\r\nabc\r\n" {
			t.Fatalf("reply %d is %q", i, got)
		}
	}
	survives(t, addr, before)
}

func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	srv, addr := start(t, Options{WriteTimeout: 100 * time.Millisecond})
	c := dial(t, addr)
	request := encode("ECHO", strings.Repeat("x", 60000))
	go func() {
		for {
			if _, err := io.WriteString(c.conn, request); err != nil {
				return
			}
		}
	}()
	eventually(t, "the client is connected", func() bool {
		accepted, _ := srv.totals()
		return accepted == 1
	})
	eventually(t, "the connection is dropped", func() bool { return srv.Connections() == 0 })
}

func TestConnectionBeyondTheLimitIsToldSo(t *testing.T) {
	srv, addr := start(t, Options{MaxConnections: 2})
	first, second := dial(t, addr), dial(t, addr)
	first.want("+PONG\r\n", "PING")
	second.want("+PONG\r\n", "PING")
	if got := dial(t, addr).rest(); got != "-ERR max number of clients reached\r\n" {
		t.Errorf("got %q", got)
	}
	_ = first.conn.Close()
	eventually(t, "a place is free", func() bool { return srv.Connections() == 1 })
	dial(t, addr).want("+PONG\r\n", "PING")
}

func TestFailingAcceptIsTriedAgain(t *testing.T) {
	ln := &failing{Listener: newPipeListener(), left: 3}
	srv := New(quiet(Options{}))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	c := newClient(t, ln.Listener.(*pipeListener).dial())
	c.want("+PONG\r\n", "PING")
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// failing is a listener whose Accept fails a few times first.
type failing struct {
	net.Listener
	left int
}

func (l *failing) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		return nil, &net.OpError{Op: "accept", Err: errOdd}
	}
	return l.Listener.Accept()
}

func TestPanickingHandlerEndsOnlyItsConnection(t *testing.T) {
	_, addr := start(t, Options{})
	other := dial(t, addr)
	other.want("+PONG\r\n", "PING")
	c := dial(t, addr)
	c.send(encode("PING") + encode("LOCK.ACQUIRE", "panic") + encode("PING"))
	if got := c.rest(); got != "+PONG\r\n-ERR internal error\r\n" {
		t.Errorf("got %q", got)
	}
	other.want("+PONG\r\n", "PING")
}

func TestLargestCommandPasses(t *testing.T) {
	_, addr := start(t, Options{})
	c := dial(t, addr)
	message := strings.Repeat("x", 65536-len("*2\r\n$4\r\nECHO\r\n$65500\r\n\r\n"))
	if n := len(encode("ECHO", message)); n != 65536 {
		t.Fatalf("the command has %d bytes", n)
	}
	reply := "$" + strconv.Itoa(len(message)) + "\r\n" + message + "\r\n"
	c.send(encode("ECHO", message) + encode("PING") + encode("ECHO", message))
	if got := c.reply() + c.reply() + c.reply(); got != reply+"+PONG\r\n"+reply {
		t.Errorf("got %d bytes", len(got))
	}
	c.send(encode("ECHO", message+"x"))
	if got := c.rest(); got != "-ERR Protocol error: command larger than 65536 bytes (--max-command-bytes)\r\n" {
		t.Errorf("got %.80q", got)
	}
}
