package access

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines is a log without times.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	gate chan struct{} // if set, nothing is written until it is closed
}

func (l *lines) Write(b []byte) (int, error) {
	if l.gate != nil {
		<-l.gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// take returns what was logged since it was called last, once all are idle.
func (l *lines) take() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func (l *lines) want(t *testing.T, want ...string) {
	t.Helper()
	if got := l.take(); got != strings.Join(want, "") {
		t.Errorf("at %v the log has\n%swant\n%s", time.Now().Format("05"), got, strings.Join(want, ""))
	}
}

// guess authenticates a client of that address that stays.
func guess(g *Guard, listener, host, name, password string) {
	_, _ = g.Authenticate(Attempt{
		Peer: &net.TCPAddr{IP: net.ParseIP(host), Port: 4711}, Listener: listener, Name: name, Password: password,
		Wait: func(wait func(context.Context)) { wait(context.Background()) },
	})
}

// logged runs a test with a guard that knows u by p, and in virtual time.
func logged(t *testing.T, test func(t *testing.T, g *Guard, log *lines)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		test(t, NewGuard(list(t, cheap(t, "u", "p", "read", "*")), log.logger()), log)
		time.Sleep(2 * failurePause) // then nothing is left of it
	})
}

func TestFailuresAreLogged(t *testing.T) {
	logged(t, func(t *testing.T, g *Guard, log *lines) {
		guess(g, "resp", "192.0.2.1", "u", "p")
		log.want(t)
		guess(g, "resp", "192.0.2.1", "u", "wrong")
		log.want(t, "level=WARN msg=\"logins failed\" addr=192.0.2.1 listener=resp users=[u] failures=1 throttled=0\n")

		// What comes in the next 10 s is said at their end.
		for _, name := range []string{"root", "u", "root", "admin"} {
			guess(g, "resp", "::ffff:192.0.2.1", name, "wrong")
		}
		guess(g, "http", "192.0.2.1", "u", "wrong")
		for host := range 3 { // a network is one address
			guess(g, "resp", fmt.Sprintf("2001:db8::%d", host+1), "u", "wrong")
		}
		guess(g, "resp", "2001:db8:0:1::1", "u", "wrong")
		time.Sleep(failurePause - time.Second)
		log.want(t)
		time.Sleep(time.Second)
		log.want(t,
			"level=WARN msg=\"logins failed\" addr=192.0.2.1 listener=resp users=\"[root u admin]\" failures=4 throttled=0\n",
			"level=WARN msg=\"logins failed\" addr=192.0.2.1 listener=http users=[u] failures=1 throttled=0\n",
			"level=WARN msg=\"logins failed\" addr=2001:db8::1 listener=resp users=[u] failures=3 throttled=0\n",
			"level=WARN msg=\"logins failed\" addr=2001:db8:0:1::1 listener=resp users=[u] failures=1 throttled=0\n",
		)
		time.Sleep(time.Minute)
		log.want(t)
		guess(g, "http", "192.0.2.1", "u", "wrong")
		log.want(t, "level=WARN msg=\"logins failed\" addr=192.0.2.1 listener=http users=[u] failures=1 throttled=0\n")
		guess(g, "http", "192.0.2.1", "u", "wrong")
		g.Flush()
		log.want(t, "level=WARN msg=\"logins failed\" addr=192.0.2.1 listener=http users=[u] failures=1 throttled=0\n")
	})
}

// TestThrottledLoginsAreLogged: who guesses fast has one line in 10 s, and in all each of his
// guesses is in one.
func TestThrottledLoginsAreLogged(t *testing.T) {
	logged(t, func(t *testing.T, g *Guard, log *lines) {
		for range 20 {
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() { guess(g, "resp", "192.0.2.1", "u", fmt.Sprint("wrong", i)) })
			}
			all.Wait()
		}
		took := 20 * longestTurn
		time.Sleep(failurePause)
		n, failures, throttled := 0, 0, 0
		for line := range strings.Lines(log.take()) {
			var f, th int
			_, counts, _ := strings.Cut(line, "users=[u] ")
			if _, err := fmt.Sscanf(counts, "failures=%d throttled=%d", &f, &th); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			n, failures, throttled = n+1, failures+f, throttled+th
		}
		seconds := int(took / perAttempt)
		if n < 2 || n > int(took/failurePause)+2 || failures != 2000 || failures-throttled < seconds || failures-throttled > seconds+burst+5 {
			t.Errorf("%d lines, %d failures, %d of them throttled", n, failures, throttled)
		}
	})
}

// TestFloodOfFailuresFillsNoLog, nor memory: nor is one left out of the count.
func TestFloodOfFailuresFillsNoLog(t *testing.T) {
	logged(t, func(t *testing.T, g *Guard, log *lines) {
		const seconds, each = 20, 100
		name := strings.Repeat("\xff", 1<<10)
		for i := range seconds * each {
			guess(g, "resp", fmt.Sprintf("2001:db8:%x::1", i), fmt.Sprint(i, name), "wrong")
			time.Sleep(time.Second / each)
			g.failures.mu.Lock()
			if n := len(g.failures.lines); n > maxFailureLines {
				t.Errorf("%d lines are kept", n)
			}
			g.failures.mu.Unlock()
		}
		time.Sleep(failurePause)
		text := log.take()
		n, sum := 0, 0
		for line := range strings.Lines(text) {
			var f int
			_, counts, _ := strings.Cut(line, " failures=")
			if _, err := fmt.Sscan(counts, &f); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			n, sum = n+1, sum+f
		}
		pauses := int(seconds * time.Second / failurePause)
		if want := 1 + pauses*(maxFailureLines+1); n != want || sum != seconds*each {
			t.Errorf("%d failures in %d lines, want %d in %d", sum, n, seconds*each, want)
		}
		if strings.Count(text, `level=WARN msg="logins failed from more addresses" failures=`) != pauses || len(text) > n*500 {
			t.Errorf("the log has %d bytes:\n%.3000s", len(text), text)
		}
	})
}

// TestLogThatBlocksHoldsUpNoLogin: what it could not take is counted.
func TestLogThatBlocksHoldsUpNoLogin(t *testing.T) {
	logged(t, func(t *testing.T, g *Guard, log *lines) {
		log.gate = make(chan struct{})
		began := time.Now()
		for range 10 {
			guess(g, "resp", "192.0.2.1", "u", "wrong")
			synctest.Wait() // the first line is on its way
		}
		if _, err := attempt(g, "192.0.2.2", "u", "p"); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		close(log.gate)
		log.want(t, "level=WARN msg=\"logins failed\" addr=192.0.2.1 listener=resp users=[u] failures=1 throttled=0\n")
		time.Sleep(failurePause)
		log.want(t, "level=WARN msg=\"logins failed\" addr=192.0.2.1 listener=resp users=[u] failures=9 throttled=0\n")
	})
}

// TestLoggedNamesAreBoundedAndQuoted, as strangers choose them.
func TestLoggedNamesAreBoundedAndQuoted(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"alice", "alice"},
		{"", `""`},
		{"a b", `"a b"`},
		{"a\nlevel=WARN", `"a\nlevel=WARN"`},
		{"…", `"…"`},
		{aPassword, `"(a password)"`},
		{"\xff\u202e\x1b[2J", `"\xff\u202e\x1b[2J"`},
		{strings.Repeat("x", 64), strings.Repeat("x", 64)},
		{strings.Repeat("x", 65), `"` + strings.Repeat("x", 64) + `…"`},
		{strings.Repeat("x", 63) + "é", `"` + strings.Repeat("x", 63) + `…"`},
		{strings.Repeat("\x80", 100), `"` + strings.Repeat(`\x80`, 60) + `…"`},
	} {
		if got := shownName(test.name); got != test.want {
			t.Errorf("%q: got %s, want %s", test.name, got, test.want)
		}
	}
	logged(t, func(t *testing.T, g *Guard, log *lines) {
		guess(g, "resp", "192.0.2.1", "a] failures=0\n", "wrong")
		log.want(t, `level=WARN msg="logins failed" addr=192.0.2.1 listener=resp users="[\"a] failures=0\\n\"]" failures=1 throttled=0`+"\n")
		for _, name := range []string{"a", "b", "c", "d", "d", "e", "f", "a"} {
			guess(g, "resp", "192.0.2.1", name, "wrong")
		}
		g.Flush()
		log.want(t, `level=WARN msg="logins failed" addr=192.0.2.1 listener=resp users="[a b c d …]" failures=8 throttled=0`+"\n")
	})
}

// TestPasswordInPlaceOfANameIsNotLogged, as far as candado knows passwords.
func TestPasswordInPlaceOfANameIsNotLogged(t *testing.T) {
	for _, test := range []struct{ password, name, given, want string }{
		{"hunter2", "hunter2", "", aPassword},
		{"hunter2", "hunter2", "hunter2", aPassword},
		{"hunter2", Default, "x", Default},
		{Default, Default, "x", Default}, // it is a name for certain
		{"hunter2:secret", "hunter2", "secret", aPassword},
		{"hunter2", "hunter3", "hunter2", "hunter3"},
		{strings.Repeat("h", maxPassword), strings.Repeat("h", maxPassword), "", aPassword},
	} {
		synctest.Test(t, func(t *testing.T) {
			l, err := list(t, cheap(t, "u", "p", "read", "*")).WithPassword(test.password)
			if err != nil {
				t.Fatal(err)
			}
			log := &lines{}
			g := NewGuard(l, log.logger())
			guess(g, "http", "192.0.2.1", test.name, test.given)
			want := "users=[" + test.want + "]"
			if strings.Contains(test.want, " ") {
				want = `users="[` + test.want + `]"`
			}
			if got := log.take(); !strings.Contains(got, want) {
				t.Errorf("%.20q as %.20q: the log has %s", test.given, test.name, got)
			}
			time.Sleep(2 * failurePause)
		})
	}
}

func TestLoggedAddressHasNoPort(t *testing.T) {
	for _, test := range []struct {
		peer net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 4711}, "192.0.2.1"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 4711, Zone: "eth0"}, "fe80::1%eth0"},
		{&net.UnixAddr{Name: "@x", Net: "unix"}, "@x"},
		{nil, "unknown"},
	} {
		if got := shown(test.peer); got != test.want {
			t.Errorf("%v is shown as %s, want %s", test.peer, got, test.want)
		}
	}
}
