package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	users "github.com/goodjobtech/candado/locks/access"
	"github.com/goodjobtech/candado/locks/access/accesstest"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// What a user needs who may do some things: a name, a password, operations, patterns.
const (
	builder = "bob builder acquire,heartbeat,read a*"
	sesame  = "default sesame all *"
)

// redisWithUsers starts a Redis with users: each a line of ACL SETUSER.
func redisWithUsers(t *testing.T, lines ...string) string {
	addr := redistest.Start(t).Addr
	c := dial(t, addr)
	for _, line := range lines {
		c.want("+OK\r\n", append([]string{"ACL", "SETUSER"}, strings.Fields(line)...)...)
	}
	return addr
}

// TestStrangersAreAnsweredAsByRedis compares byte for byte, each script on a connection
// of its own, and sent as a whole as well as line by line.
func TestStrangersAreAnsweredAsByRedis(t *testing.T) {
	for _, test := range []struct {
		name    string
		ours    []string
		theirs  string
		scripts []string
	}{
		{"with a default user", []string{sesame, builder}, "default resetpass >sesame", []string{
			"PING|NOSUCH|NOSUCH a b|ECHO|ECHO x|AUTH|AUTH a b c|AUTH x|AUTH bob x|AUTH nobody x|AUTH nobody sesame|PING|CLIENT|CLIENT FOO|CLIENT ID|CLIENT ID x|COMMAND|TIME|INFO|SELECT 0|CONFIG GET x|ACL WHOAMI|ACL|ACL FOO|QUIT",
			`HELLO|HELLO 2|HELLO 3|HELLO 4|HELLO abc|HELLO 3 FOO|HELLO 3 SETNAME a|HELLO 3 SETNAME|HELLO 3 SETNAME "a b"|HELLO 3 AUTH|HELLO 3 AUTH bob|HELLO 3 AUTH bob x|HELLO 2 SETNAME q AUTH bob x|PING|RESET x|RESET|PING|QUIT x`,
			"AUTH sesame|PING|ACL WHOAMI|AUTH x|ACL WHOAMI|RESET|PING|ACL WHOAMI|AUTH default sesame|ACL WHOAMI|ACL WHOAMI x|ACL FOO|ACL|AUTH bob builder|ACL WHOAMI|AUTH bob x|ACL WHOAMI|HELLO 2 AUTH default x|ACL WHOAMI|QUIT",
			`HELLO 3 AUTH bob builder FOO|ACL WHOAMI|HELLO 3 AUTH default sesame AUTH bob x|ACL WHOAMI|HELLO 3 AUTH bob builder SETNAME "a b"|ACL WHOAMI|QUIT`,
			"PING|AUTH x|PING|AUTH sesame|PING|RESET|PING|AUTH bob builder|PING|QUIT",
			"PING " + strings.Repeat("a ", 20) + "|AUTH " + strings.Repeat("p", 3000) + "|PING|AUTH sesame|PING " + strings.Repeat("a ", 20) + "|QUIT",
			"CLIENT REPLY OFF|PING|AUTH sesame|PING|QUIT",
			"host: x|PING", "POST x|PING",
		}},
		{"without", []string{builder}, "default off resetpass", []string{
			"PING|AUTH x|AUTH default x|AUTH default sesame|HELLO|AUTH bob builder|ACL WHOAMI|RESET|ACL WHOAMI|QUIT",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			redisAddr := redisWithUsers(t, "bob on >builder ~a* &* +@all", test.theirs)
			for _, script := range test.scripts {
				whole := strings.ReplaceAll(script, "|", "\r\n") + "\r\n"
				inputs := [][]string{{whole}, strings.SplitAfter(strings.TrimSuffix(whole, "\r\n"), "\r\n")}
				if strings.HasPrefix(script, "host:") || strings.HasPrefix(script, "POST") {
					inputs = inputs[:1] // Redis closes without reading on: what comes later would be answered by a reset
				}
				for _, input := range inputs {
					// Another guard each time: wrong passwords count together otherwise.
					_, addr := start(t, Options{Access: accesstest.Guard(t, test.ours...)})
					ours, theirs := converse(t, addr, input), converse(t, redisAddr, input)
					if ours != theirs {
						t.Errorf("%.200q:\n got %q\nwant %q", input, ours, theirs)
					}
				}
			}
		})
	}
}

// converse sends pieces, each after the reply to the one before, and returns all that comes.
func converse(t *testing.T, addr string, pieces []string) string {
	c := dial(t, addr)
	var got strings.Builder
	for i, piece := range pieces {
		c.send(strings.TrimSuffix(piece, "\r\n") + "\r\n")
		if i == len(pieces)-1 {
			return got.String() + c.rest()
		}
		raw := c.reply()
		if strings.HasPrefix(raw, "%") || strings.HasPrefix(raw, "*14") {
			raw = "a greeting"
		}
		got.WriteString(raw)
	}
	return got.String()
}

func TestStrangersLimitsAreThoseOfRedis(t *testing.T) {
	redisAddr := redisWithUsers(t, "default resetpass >sesame")
	_, addr := start(t, Options{Access: accesstest.Guard(t, sesame)})
	auth := encode("AUTH", "sesame")
	for _, input := range []string{
		"*11\r\n", "*1048577\r\n", "*2\r\n$4\r\nPING\r\n$16385\r\n", "*2\r\n$4\r\nPING\r\n$600000000\r\n",
		encode("PING", strings.Repeat("x", 16384)) + "QUIT\r\n",
		encode("PING") + "*11\r\n", auth + encode("RESET") + "*11\r\n",
		// Behind an AUTH that lets in, more is allowed.
		auth + encode(strings.Fields(strings.Repeat("PING ", 11))...) + "QUIT\r\n",
		auth + encode("ECHO", strings.Repeat("x", 20000)) + "QUIT\r\n",
		encode("AUTH", "x") + encode(strings.Fields(strings.Repeat("PING ", 11))...),
	} {
		ours, theirs := dial(t, addr), dial(t, redisAddr)
		ours.send(input)
		theirs.send(input)
		if got, want := ours.rest(), theirs.rest(); got != want {
			t.Errorf("%.60q:\n got %.200q\nwant %.200q", input, got, want)
		}
	}
}

func TestRightsAreNeeded(t *testing.T) {
	_, addr := start(t, Options{Engine: memory.New(memory.Options{}), Access: accesstest.Guard(t, sesame, builder, "ruth r release,force *")})
	const noKey = "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"
	noCommand := func(name string) string {
		return "-NOPERM this user has no permissions to run the '" + name + "' command\r\n"
	}
	all := dial(t, addr)
	all.want("+OK\r\n", "AUTH", "sesame")
	for _, id := range []string{"a1", "b1"} {
		if got := all.do("LOCK.ACQUIRE", id, "OWNER", "x"); got[0] != ':' {
			t.Fatal(got)
		}
	}
	bob := dial(t, addr)
	bob.want("+OK\r\n", "AUTH", "bob", "builder")
	bob.want(noKey, "LOCK.ACQUIRE", "b1")
	bob.want(noKey, "lock.acquire", "b1", "BLOCK", "0")
	bob.want(noKey, "LOCK.INFO", "b1")
	bob.want(noKey, "LOCK.CHECK", "b1", "x")
	bob.want("$-1\r\n", "LOCK.ACQUIRE", "a1")
	bob.want(noCommand("lock.release"), "LOCK.RELEASE", "a1")
	bob.want(noCommand("lock.release|force"), "LOCK.RELEASE", "a1", "Force")
	bob.want("-ERR wrong number of arguments for 'lock.release' command\r\n", "LOCK.RELEASE")
	bob.want("*2\r\n$1\r\n0\r\n*1\r\n$2\r\na1\r\n", "LOCK.SCAN", "0", "COUNT", "1000")
	bob.want("+PONG\r\n", "PING")
	ruth := dial(t, addr)
	ruth.want("+OK\r\n", "AUTH", "ruth", "r")
	ruth.want(noCommand("lock.scan"), "LOCK.SCAN", "0")
	ruth.want(noCommand("lock.acquire"), "LOCK.ACQUIRE", "a2")
	ruth.want(":1\r\n", "LOCK.RELEASE", "b1", "FORCE")
	// A pipeline is checked command by command, also where who sends it changes.
	bob.send(encode("LOCK.CHECK", "a1", "7") + encode("LOCK.CHECK", "b1", "7") + encode("LOCK.RELEASE", "a1", "OWNER", "x") + encode("AUTH", "ruth", "r") +
		encode("LOCK.CHECK", "a1", "7") + encode("LOCK.RELEASE", "a1", "OWNER", "force") + encode("RESET") + encode("LOCK.CHECK", "a1", "7"))
	for _, want := range []string{":0\r\n", noKey, noCommand("lock.release"), "+OK\r\n", noCommand("lock.check"), "-NOTOWNER the lock is held by others\r\n", "+RESET\r\n", "-" + string(errNoAuth) + "\r\n"} {
		if got := bob.reply(); got != want {
			t.Errorf("in the pipeline: got %q, want %q", got, want)
		}
	}
	// Who may not read everything sees himself alone.
	bob.want("+OK\r\n", "AUTH", "bob", "builder")
	for c, want := range map[*client]int{all: 3, bob: 1, ruth: 1} {
		got := c.do("CLIENT", "LIST")
		if n := strings.Count(got, "id="); n != want {
			t.Errorf("CLIENT LIST shows %d connections, want %d: %s", n, want, got)
		}
	}
	if got := bob.do("CLIENT", "INFO"); !strings.Contains(got, " user=bob ") {
		t.Errorf("CLIENT INFO: %s", got)
	}
}

func TestRightsChangeFromTheNextCommandOn(t *testing.T) {
	guard := accesstest.Guard(t, builder)
	_, addr := start(t, Options{Engine: memory.New(memory.Options{}), Access: guard})
	bob := dial(t, addr)
	bob.want("+OK\r\n", "AUTH", "bob", "builder")
	for range 2 {
		bob.want("-"+string(errNoPerm("lock.release"))+"\r\n", "LOCK.RELEASE", "a")
		bob.want("-"+string(errNoKeyPerm)+"\r\n", "LOCK.CHECK", "b", "1")
		guard.Replace(accesstest.List(t, "bob builder all *"))
		bob.want(":0\r\n", "LOCK.RELEASE", "b", "FORCE")
		guard.Replace(accesstest.List(t, builder))
	}
}

func TestRemovalEndsSessionLeasesAndWaits(t *testing.T) {
	engine := memory.New(memory.Options{})
	guard := accesstest.Guard(t, sesame, builder)
	srv, addr := start(t, Options{Engine: engine, Access: guard})
	stays, goes, waits := dial(t, addr), dial(t, addr), dial(t, addr)
	stays.want("+OK\r\n", "AUTH", "sesame")
	goes.want("+OK\r\n", "AUTH", "bob", "builder")
	waits.want("+OK\r\n", "AUTH", "bob", "builder")
	if got := goes.do("LOCK.ACQUIRE", "a", "SESSION"); got[0] != ':' {
		t.Fatal(got)
	}
	if got := stays.do("LOCK.ACQUIRE", "ab", "SESSION"); got[0] != ':' {
		t.Fatal(got)
	}
	waits.send(encode("LOCK.ACQUIRE", "ab", "BLOCK", "0"))
	eventually(t, "it waits", func() bool {
		info, err := engine.Info(context.Background(), "ab")
		return err == nil && info.Waiters == 1
	})
	if gone := guard.Replace(accesstest.List(t, sesame)); gone != 2 {
		t.Errorf("%d connections are told", gone)
	}
	for _, c := range []*client{goes, waits} {
		if raw, err := readReply(c.r); err == nil {
			t.Errorf("it got %q", raw)
		}
	}
	eventually(t, "the lease and the wait are over", func() bool {
		a, _ := engine.Info(context.Background(), "a")
		ab, _ := engine.Info(context.Background(), "ab")
		return !a.Held() && ab.Held() && ab.Waiters == 0 && srv.Connections() == 1
	})
	stays.want("+PONG\r\n", "PING")
}

func TestStrangerHasSoLongToAuthenticate(t *testing.T) {
	list, err := (*users.List)(nil).WithPassword("sesame")
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Access: users.NewGuard(list, nil), CommandTimeout: 10 * time.Second}
	inVirtualTime(t, opts, func(t *testing.T, _ *Server, dial func() *client) {
		in, silent := dial(), dial()
		in.want("+OK\r\n", "AUTH", "sesame")
		if took := closedAfter(silent); took != 10*time.Second {
			t.Errorf("who is silent is closed after %v", took)
		}
		for _, said := range []string{"PING", "RESET"} {
			busy := dial()
			began := time.Now()
			for time.Since(began) < time.Minute {
				if _, err := busy.conn.Write([]byte(said + "\r\n")); err != nil {
					break
				}
				if _, err := busy.r.ReadString('\n'); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("who says %s is closed after %v", said, took)
			}
		}
		time.Sleep(time.Hour)
		in.want("+RESET\r\n", "RESET")
		if took := closedAfter(in); took != 10*time.Second {
			t.Errorf("after RESET it is closed after %v", took)
		}
	})
}

// TestGuessingIsRefused: beyond what an address may guess, nothing is looked at.
func TestGuessingIsRefused(t *testing.T) {
	var failed, throttled atomic.Int64
	_, addr := start(t, Options{Access: accesstest.Guard(t, sesame), AuthFailed: func(t bool) {
		if t {
			throttled.Add(1)
		} else {
			failed.Add(1)
		}
	}})
	clients := make([]*client, 40)
	for i := range clients {
		clients[i] = dial(t, addr)
		clients[i].send(encode("AUTH", fmt.Sprint("wrong", i)))
	}
	replies := map[string]int{}
	for _, c := range clients {
		code, _, _ := strings.Cut(c.reply(), " ")
		replies[code]++
	}
	if replies["-WRONGPASS"]+replies["-BUSY"] != len(clients) || replies["-BUSY"] < 20 || int(throttled.Load()) != replies["-BUSY"] || int(failed.Load()) != replies["-WRONGPASS"] {
		t.Errorf("%v, counted %d wrong, %d refused", replies, failed.Load(), throttled.Load())
	}
}

// A client that leaves, or a server that stops, ends the wait for a hash.
func TestNobodyWaitsForAHashLongerThanHeIsThere(t *testing.T) {
	srv, addr := start(t, Options{Access: accesstest.Guard(t, sesame)})
	for i := range 10 { // take the attempts
		dial(t, addr).want("-"+string(errWrongPass)+"\r\n", "AUTH", fmt.Sprint(i))
	}
	gone := dial(t, addr)
	gone.send(encode("AUTH", "wrong"))
	eventually(t, "it is served", func() bool { return srv.Connections() == 11 })
	_ = gone.conn.Close()
	eventually(t, "its connection has ended", func() bool { return srv.Connections() == 10 })
	stays := dial(t, addr)
	stays.send(encode("PING") + encode("AUTH", "wrong"))
	if got := stays.reply(); got != "-"+string(errNoAuth)+"\r\n" { // which does not wait
		t.Errorf("PING: %q", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if got := stays.reply(); !strings.HasPrefix(got, "-SHUTDOWN ") && !strings.HasPrefix(got, "-WRONGPASS ") {
		t.Errorf("AUTH: %q", got)
	}
}

// Null is no answer to AUTH: a client may take it for a success. One that is given up, and
// can still read, is told why.
func TestAuthThatIsGivenUpSaysSo(t *testing.T) {
	for name, test := range map[string]struct {
		say  func(t *testing.T, c *client)
		want string
	}{
		"half is closed": {func(t *testing.T, c *client) {
			if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		}, "-" + string(errLeft) + "\r\n"},
		"too much behind": {func(_ *testing.T, c *client) {
			_, _ = io.WriteString(c.conn, strings.Repeat(encode("PING"), 10_000)) // fails once the connection is closed
		}, "-" + errStrangerAhead.Error() + "\r\n"},
	} {
		for _, command := range [][]string{{"AUTH", "wrong"}, {"HELLO", "3", "AUTH", "default", "wrong"}} {
			t.Run(name+", "+command[0], func(t *testing.T) {
				_, addr := start(t, Options{Access: accesstest.Guard(t, sesame)})
				for i := range 10 { // take the attempts, so that the next one waits
					dial(t, addr).want("-"+string(errWrongPass)+"\r\n", "AUTH", fmt.Sprint(i))
				}
				c := dial(t, addr)
				c.send(encode(command...))
				test.say(t, c)
				if got := c.reply(); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
	}
}

func TestCommandsOfARemovedUserAreRefused(t *testing.T) {
	var l login
	g := accesstest.Guard(t, sesame)
	l.name = "bob"
	if u := l.user(g); u != nil {
		t.Errorf("bob is %v", u)
	}
	g.Replace(accesstest.List(t, sesame, builder))
	if u := l.user(g); u == nil || u.May(users.Acquire, locks.ID("a")) != nil {
		t.Errorf("bob is %v", u)
	}
}

// TestSessionLeasesEndWithWhoAcquiredThem: also if the connection is somebody else's by then.
func TestSessionLeasesEndWithWhoAcquiredThem(t *testing.T) {
	engine := memory.New(memory.Options{})
	guard := accesstest.Guard(t, sesame, builder, "eve e all *")
	_, addr := start(t, Options{Engine: engine, Access: guard})
	holds := func(id locks.ID) bool {
		info, err := engine.Info(context.Background(), id)
		return err == nil && info.Held()
	}
	left, empty, back := dial(t, addr), dial(t, addr), dial(t, addr)
	for i, c := range []*client{left, empty, back} {
		c.want("+OK\r\n", "AUTH", "bob", "builder")
		if got := c.do("LOCK.ACQUIRE", fmt.Sprint("a", i), "SESSION"); got[0] != ':' {
			t.Fatal(got)
		}
	}
	left.want("+OK\r\n", "AUTH", "sesame")
	left.want("+OK\r\n", "AUTH", "eve", "e")
	left.want("+OK\r\n", "AUTH", "sesame")
	back.want("+OK\r\n", "AUTH", "eve", "e")
	back.want("+OK\r\n", "AUTH", "bob", "builder")
	empty.want("+RESET\r\n", "RESET")
	empty.want("+OK\r\n", "AUTH", "sesame")
	if gone := guard.Replace(accesstest.List(t, sesame, "eve e all *")); gone != 2 {
		t.Errorf("%d connections are told", gone)
	}
	eventually(t, "bob's leases are over", func() bool { return !holds("a0") && !holds("a1") && !holds("a2") })
	for _, c := range []*client{left, back} {
		if raw, err := readReply(c.r); err == nil {
			t.Errorf("it got %q", raw)
		}
	}
	empty.want("+PONG\r\n", "PING")
	_ = empty.conn.Close()
}
