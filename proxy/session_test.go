package proxy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

func TestRepliesAreMutedAsTheClientAsks(t *testing.T) {
	_, addr := start(t, Options{})
	c := dial(t, addr)
	for _, cmd := range []string{
		"PING one", // answered
		"CLIENT REPLY SKIP", "PING no",
		"PING two",
		"CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING no",
		"PING three",
		"CLIENT REPLY OFF", "PING no", "NOSUCH", "CLIENT REPLY SKIP", "PING no",
		"CLIENT REPLY ON", "PING four",
		"CLIENT REPLY OFF", "RESET", "PING five",
		"CLIENT REPLY OFF", "QUIT",
	} {
		c.send(cmd + "\r\n")
	}
	want := "$3\r\none\r\n$3\r\ntwo\r\n$5\r\nthree\r\n+OK\r\n$4\r\nfour\r\n+RESET\r\n$4\r\nfive\r\n"
	if got := c.rest(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNothingRunsAfterQuit(t *testing.T) {
	engine := newScripted()
	_, addr := start(t, Options{Engine: engine})
	c := dial(t, addr)
	c.send(encode("PING") + encode("QUIT") + strings.Repeat(encode("LOCK.RELEASE", "job", "FORCE"), 1000))
	if got := c.rest(); got != "+PONG\r\n+OK\r\n" {
		t.Errorf("got %q", got)
	}
	if req := engine.last(); req != nil {
		t.Errorf("after QUIT the engine was asked %+v", req)
	}
}

func TestPipelineKeepsItsOrder(t *testing.T) {
	_, addr := start(t, Options{})
	c := dial(t, addr)
	var sent, want strings.Builder
	for i := range 3000 {
		word := strings.Repeat("w", i%97) + fmt.Sprint(i)
		switch i % 7 {
		case 0:
			sent.WriteString("ECHO \"" + word + "\"\n")
			fmt.Fprintf(&want, "$%d\r\n%s\r\n", len(word), word)
		case 1:
			sent.WriteString(encode("LOCK.ACQUIRE", word))
			want.WriteString(":1763860000000001\r\n")
		case 2:
			sent.WriteString("*0\r\n\r\n" + encode(word))
			fmt.Fprintf(&want, "-ERR unknown command '%s', with args beginning with: \r\n", word)
		case 3:
			sent.WriteString(encode("LOCK.ACQUIRE", "held"))
			want.WriteString("$-1\r\n")
		case 4:
			sent.WriteString(encode("ECHO", strings.Repeat("x", 5000)))
			want.WriteString("$5000\r\n" + strings.Repeat("x", 5000) + "\r\n")
		default:
			sent.WriteString(encode("PING", word))
			fmt.Fprintf(&want, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	sent.WriteString("QUIT\r\n")
	want.WriteString("+OK\r\n")
	go c.send(sent.String())
	if got := c.rest(); got != want.String() {
		t.Errorf("got %d bytes, want %d", len(got), want.Len())
	}
}

func TestOptionsReachTheEngine(t *testing.T) {
	engine := newScripted()
	_, addr := start(t, Options{Engine: engine, Limits: locks.Limits{AllowPersist: true, DefaultTTL: time.Minute}})
	c := dial(t, addr)
	for command, want := range map[string]any{
		"LOCK.ACQUIRE a":                            locks.AcquireRequest{ID: "a", TTL: time.Minute},
		"LOCK.ACQUIRE a PERSIST OWNER o":            locks.AcquireRequest{ID: "a", Owner: "o", TTL: locks.NoExpiry},
		"LOCK.ACQUIRE a LIMIT 3 EX 2":               locks.AcquireRequest{ID: "a", Mode: locks.Shared, Limit: 3, TTL: 2 * time.Second},
		"LOCK.ACQUIRE a shared px 7":                locks.AcquireRequest{ID: "a", Mode: locks.Shared, TTL: 7 * time.Millisecond},
		"LOCK.RELEASE a":                            locks.ReleaseRequest{ID: "a"},
		"LOCK.RELEASE a 12":                         locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: 12}},
		"LOCK.RELEASE a OWNER 12":                   locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Owner: "12"}},
		"LOCK.RELEASE a FORCE":                      locks.ReleaseRequest{ID: "a", Force: true},
		"LOCK.HEARTBEAT a":                          locks.HeartbeatRequest{ID: "a"},
		"LOCK.HEARTBEAT a PERSIST 3":                locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Token: 3}, TTL: locks.NoExpiry},
		"LOCK.HEARTBEAT a EX 1 OWNER PX":            locks.HeartbeatRequest{ID: "a", Claim: locks.Claim{Owner: "PX"}, TTL: time.Second},
		"LOCK.CHECK a 12":                           locks.Token(12),
		"LOCK.INFO a":                               locks.ID("a"),
		"LOCK.SCAN 7":                               locks.ScanRequest{Cursor: 7},
		"LOCK.SCAN 0 COUNT 2147483647 MATCH [a-c]*": locks.ScanRequest{Match: "[a-c]*", Count: 1000},
	} {
		c.send(command + "\r\n")
		c.reply()
		if got := engine.last(); got != want {
			t.Errorf("%s: the engine was asked %+v, want %+v", command, got, want)
		}
	}
	c.want(":-1\r\n", "LOCK.HEARTBEAT", "a", "PERSIST")
	c.want("-ERR lock ID is longer than 1024 bytes\r\n", "LOCK.INFO", strings.Repeat("i", 1025))
	c.want(":1\r\n", "LOCK.RELEASE", strings.Repeat("i", 1024))
	c.want("-ERR owner is longer than 256 bytes\r\n", "LOCK.ACQUIRE", "a", "OWNER", strings.Repeat("o", 257))
	c.want(":1763860000000001\r\n", "LOCK.ACQUIRE", "a", "OWNER", strings.Repeat("o", 256))
}

func TestEveryErrorReplyIsCounted(t *testing.T) {
	var mu sync.Mutex
	codes := make(map[string]int)
	_, addr := start(t, Options{Refused: func(code string) {
		mu.Lock()
		defer mu.Unlock()
		codes[code]++
	}})
	c := dial(t, addr)
	for _, cmd := range []string{
		"PING", "LOCK.ACQUIRE held", "NOSUCH", "LOCK.ACQUIRE", "LOCK.RELEASE others", "LOCK.INFO down",
		"LOCK.INFO stopping", "HELLO 4", "AUTH bob x", "LOCK.INFO odd",
	} {
		c.send(cmd + "\r\n")
		c.reply()
	}
	c.send("*x\r\n")
	c.rest()
	mu.Lock()
	defer mu.Unlock()
	want := map[string]int{"ERR": 4, "NOTOWNER": 1, "UNAVAILABLE": 1, "SHUTDOWN": 1, "NOPROTO": 1, "WRONGPASS": 1}
	if fmt.Sprint(codes) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", codes, want)
	}
}

func TestClientListShowsWhoIsConnected(t *testing.T) {
	_, addr := start(t, Options{})
	a, b := dial(t, addr), dial(t, addr)
	a.want("+OK\r\n", "CLIENT", "SETNAME", "first")
	a.want("+OK\r\n", "client", "setinfo", "lib-name", "lib")
	b.do("HELLO", "3", "SETNAME", "second")
	list := b.do("CLIENT", "LIST")
	for _, part := range []string{
		"=", "txt:id=1 addr=" + a.conn.LocalAddr().String() + " laddr=" + addr + " name=first ",
		" cmd=client|setinfo user=default redir=-1 resp=2 lib-name=lib lib-ver=\nid=2 addr=" + b.conn.LocalAddr().String(),
		" name=second ", " cmd=client|list ", " resp=3 ",
	} {
		if !strings.Contains(list, part) {
			t.Errorf("%q is missing in %q", part, list)
		}
	}
	if info := a.do("CLIENT", "INFO"); !strings.Contains(info, "name=first") || strings.Contains(info, "second") {
		t.Errorf("CLIENT INFO: %q", info)
	}
	if one := a.do("CLIENT", "LIST", "ID", "2"); !strings.Contains(one, "name=second") || strings.Contains(one, "first") {
		t.Errorf("CLIENT LIST ID 2: %q", one)
	}
}

func TestInfoSaysTheServerIsReady(t *testing.T) {
	_, addr := start(t, Options{EngineName: "upstream"})
	info := dial(t, addr).do("INFO")
	for _, line := range []string{
		"# Server\r\nredis_version:7.0.0\r\ncandado_version:1.2.3\r\ncandado_engine:upstream\r\n", "\r\nloading:0\r\n",
		"\r\nrole:master\r\n", "\r\nconnected_clients:1\r\n", "\r\nuptime_in_seconds:0\r\n", "\r\nrejected_connections:0\r\n",
	} {
		if !strings.Contains(info, line) {
			t.Errorf("%q is missing in %q", line, info)
		}
	}
}

func TestNamesThatAClientGivesItselfAreBounded(t *testing.T) {
	_, addr := start(t, Options{})
	c := dial(t, addr)
	longest, tooLong := strings.Repeat("n", maxName), strings.Repeat("n", maxName+1)
	for _, name := range []string{longest, tooLong} {
		c.send(encode("CLIENT", "SETNAME", name) + encode("CLIENT", "SETINFO", "lib-name", name) +
			encode("CLIENT", "SETINFO", "lib-ver", name))
	}
	c.send(encode("HELLO", "3", "SETNAME", tooLong) + encode("CLIENT", "GETNAME") + encode("QUIT"))
	refused := "-" + string(errLongName) + "\r\n"
	want := strings.Repeat("+OK\r\n", 3) + strings.Repeat(refused, 4) + fmt.Sprintf("$%d\r\n%s\r\n+OK\r\n", maxName, longest)
	if got := c.rest(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
