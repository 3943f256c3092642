package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The load that candado is said to hold, and the memory in which it does.
const (
	crowdWaiting = 10_000
	crowdIdle    = 10_000

	// What the process may have resident at its peak. Measured were 285 and 468 MiB.
	crowdMemory        = 384 << 20
	crowdMemoryOnRedis = 576 << 20
)

// TestCrowd holds thousands of connections that wait for one lock and as many that are
// idle, on one process, of RESP and HTTP. Those that wait are granted the lock in their order, and
// in the end all is closed.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("not in -short: it opens thousands of connections")
	}
	t.Run("embedded", func(t *testing.T) { crowd(t, crowdMemory) })
	t.Run("on Redis", func(t *testing.T) { crowd(t, crowdMemoryOnRedis, "--upstream=redis://"+startRedis(t).addr) })
}

func crowd(t *testing.T, most int, args ...string) {
	idle := crowdIdle
	if limit := int(openFiles()); limit > 0 && limit-ownFiles < crowdWaiting+idle {
		// The two processes may open as many files each.
		if idle = limit - ownFiles - crowdWaiting; idle < crowdIdle/10 {
			t.Skipf("a process may open %d files here, which is too few for %d connections that wait", limit, crowdWaiting)
		}
		t.Logf("only %d idle connections: a process may open %d files here", idle, limit)
	}
	p := startProcess(t, append([]string{"--max-connections=20000", "--http-idle-timeout=1h"}, args...)...)
	began := time.Now()
	lap := func(what string) {
		t.Logf("%-30s after %5.1f s: %4d MiB resident, %4d MiB at the peak", what, time.Since(began).Seconds(), p.memory(t, "VmRSS")>>20, p.memory(t, "VmHWM")>>20)
	}
	lap("nobody")
	holder := newGuest(t, p.resp, 0)
	first := holder
	token := holder.acquire(t, "LOCK.ACQUIRE crowded PX 3600000")

	before := p.memory(t, "VmRSS")
	idlers := make([]*guest, idle)
	for i := range idlers {
		idlers[i] = idler(t, p, i)
	}
	lap(fmt.Sprint(idle, " idle"))
	each := (p.memory(t, "VmRSS") - before) / idle
	before = p.memory(t, "VmRSS")
	waiters := make([]*guest, crowdWaiting)
	for i := range waiters {
		waiters[i] = holder.queue(t, p, i)
	}
	lap(fmt.Sprint(crowdWaiting, " waiting"))
	t.Logf("%d bytes for each idle connection, %d for each waiting one", each, (p.memory(t, "VmRSS")-before)/crowdWaiting)

	for i, w := range waiters {
		holder.release(t, token)
		next := w.granted(t)
		if next <= token {
			t.Fatalf("waiter %d got token %d after %d", i, next, token)
		}
		holder, token = w, next
	}
	holder.release(t, token)
	lap("all were granted")
	for i, g := range idlers {
		g.alive(t, i)
	}
	lap("the idle ones were asked")
	for _, g := range append(append(waiters, idlers...), first) {
		_ = g.conn.Close()
	}
	last := newGuest(t, p.resp, 0)
	eventually(t, "all connections are closed", func() bool {
		return strings.Contains(last.text(t, "INFO clients"), "connected_clients:1\r\n")
	})
	lap("all were closed")
	if peak := p.memory(t, "VmHWM"); peak > most {
		t.Errorf("%d MiB were resident at the peak, more than %d", peak>>20, most>>20)
	}
	p.terminate(t)
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.logged())
	}
}

// memory returns a line of the process's status in bytes.
func (p *process) memory(t *testing.T, line string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("the process's memory can't be read here: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), line+":")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("%s is %q", line, number)
	}
	return kib << 10
}

// guest is one client connection of many: nothing reads it but the test, when it expects
// something.
type guest struct {
	conn net.Conn
	web  bool
}

// newGuest connects from one of several addresses: one alone has too few ports.
func newGuest(t *testing.T, addr string, i int) *guest {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%8))}, Timeout: patience}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0) // closed by a reset, so that its port is free at once
	t.Cleanup(func() { conn.Close() })
	return &guest{conn: conn}
}

// webEach is how many connections there are for each that speaks HTTP.
const webEach = 10

// idler connects a client that has said something, or, by RESP, nothing yet.
func idler(t *testing.T, p *process, i int) *guest {
	t.Helper()
	if i%webEach == 0 {
		g := newGuest(t, p.http, i)
		g.web = true
		g.alive(t, i)
		return g
	}
	g := newGuest(t, p.resp, i)
	if i%webEach > 2 {
		g.alive(t, i)
	}
	return g
}

// queue has another client wait behind all who do.
func (g *guest) queue(t *testing.T, p *process, i int) *guest {
	t.Helper()
	var w *guest
	if i%webEach == 0 {
		w = newGuest(t, p.http, i)
		w.web = true
		w.send(t, "GET /acquire/crowded?ttl=1h&wait=1h HTTP/1.1\r\nHost: candado\r\n\r\n")
	} else {
		w = newGuest(t, p.resp, i)
		w.send(t, "LOCK.ACQUIRE crowded PX 3600000 BLOCK 0\r\n")
	}
	want := fmt.Sprintf("\r\n$7\r\nwaiters\r\n:%d\r\n", i+1)
	for deadline := time.Now().Add(patience); ; {
		g.send(t, "LOCK.INFO crowded\r\n")
		switch got := g.until(t, "last_token\r\n:"); {
		case strings.Contains(got, want):
			return w
		case time.Now().After(deadline):
			t.Fatalf("waiter %d does not wait: %q", i, got)
		}
	}
}

func (g *guest) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(g.conn, text); err != nil {
		t.Fatal(err)
	}
}

// until reads until a line that follows on what is wanted is whole.
func (g *guest) until(t *testing.T, wanted string) string {
	t.Helper()
	_ = g.conn.SetReadDeadline(time.Now().Add(patience))
	var got []byte
	for b := make([]byte, 4096); ; {
		n, err := g.conn.Read(b)
		got = append(got, b[:n]...)
		if _, rest, found := strings.Cut(string(got), wanted); found && strings.HasSuffix(rest, "\n") || found && g.web {
			return string(got)
		}
		if err != nil {
			t.Fatalf("got %q, then %v; want %q", got, err, wanted)
		}
	}
}

// acquire returns the token that a command is answered with.
func (g *guest) acquire(t *testing.T, command string) int {
	t.Helper()
	g.send(t, command+"\r\n")
	return g.granted(t)
}

// granted reads the token that a client was granted.
func (g *guest) granted(t *testing.T) int {
	t.Helper()
	var text string
	if g.web {
		_, text, _ = strings.Cut(g.until(t, `"success":true,"token":`), `"token":`)
		text, _, _ = strings.Cut(text, ",")
	} else {
		text = strings.TrimSpace(strings.TrimPrefix(g.until(t, ":"), ":"))
	}
	token, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("got %q in place of a token", text)
	}
	return token
}

func (g *guest) release(t *testing.T, token int) {
	t.Helper()
	if g.web {
		g.send(t, fmt.Sprintf("GET /release/crowded?token=%d HTTP/1.1\r\nHost: candado\r\n\r\n", token))
		g.until(t, `"success":true`)
		return
	}
	g.send(t, fmt.Sprintf("LOCK.RELEASE crowded %d\r\n", token))
	if got := g.until(t, ":"); got != ":1\r\n" {
		t.Fatalf("the release was answered %q", got)
	}
}

// alive asks the server something.
func (g *guest) alive(t *testing.T, i int) {
	t.Helper()
	if g.web {
		g.send(t, "GET /healthz HTTP/1.1\r\nHost: candado\r\n\r\n")
		g.until(t, `"success":true}`)
		return
	}
	text := strconv.Itoa(i)
	g.send(t, "ECHO "+text+"\r\n")
	if got := g.until(t, "\r\n"+text); got != fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) {
		t.Fatalf("ECHO %d was answered %q", i, got)
	}
}

// text returns a bulk reply.
func (g *guest) text(t *testing.T, command string) string {
	t.Helper()
	g.send(t, command+"\r\n")
	r := bufio.NewReader(g.conn)
	_ = g.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "$")))
	if err != nil {
		t.Fatalf("%s was answered %q", command, line)
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}
