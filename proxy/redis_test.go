package proxy

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// sameAsRedis lists what must be answered byte for byte as Redis 7.0 does. Each
// line is sent on one connection, which is why RESET and HELLO stand between.
const sameAsRedis = `
PING
PING a
PING a b
ECHO
ECHO x
ECHO a b
RESET x
RESET
HELLO 4
HELLO 1
HELLO abc
HELLO +3
HELLO 03
HELLO ""
HELLO 2 FOO
HELLO 2 "a\r\nb"
HELLO 3 SETNAME
HELLO 3 AUTH
HELLO 3 AUTH default
HELLO 3 AUTH bob x
HELLO 3 AUTH "bob\r\n" x
HELLO 2 AUTH default x SETNAME
HELLO 2 SETNAME "a b"
AUTH
AUTH x
AUTH default x
AUTH bob x
AUTH a b c
SELECT
SELECT 0
SELECT 99
SELECT x
SELECT -1
SELECT 00
SELECT 0 1
CLIENT
CLIENT FOO
client foo bar
CLIENT "f\r\noo"
CLIENT ID x
CLIENT GETNAME
CLIENT GETNAME x
CLIENT SETNAME
CLIENT SETNAME a b
CLIENT SETNAME "a b"
CLIENT SETNAME "a\n"
CLIENT SETNAME "caf\xc3\xa9"
CLIENT SETNAME me
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT INFO x
CLIENT LIST FOO
CLIENT LIST TYPE
CLIENT LIST TYPE foo
CLIENT LIST TYPE replica
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST ID 0
CLIENT LIST ID 1000000
CLIENT NO-EVICT
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-EVICT foo
CLIENT REPLY
CLIENT REPLY ON
CLIENT REPLY foo
CLIENT HELP x
COMMAND FOO
COMMAND COUNT x
COMMAND INFO nosuch
COMMAND INFO nosuch client|nosuch
COMMAND INFO client|getname client|info|x
COMMAND DOCS nosuch
COMMAND DOCS ping
COMMAND DOCS echo
COMMAND DOCS client|setname
COMMAND DOCS client|id
COMMAND DOCS client|reply
COMMAND LIST x
COMMAND LIST FILTERBY
COMMAND LIST FILTERBY MODULE
COMMAND LIST FILTERBY MODULE foo
COMMAND LIST FILTERBY FOO x
COMMAND LIST FILTERBY PATTERN ech*
COMMAND LIST FILTERBY PATTERN nosuch
COMMAND LIST FILTERBY ACLCAT nosuch
CONFIG
CONFIG GET
CONFIG GET save
CONFIG GET SAVE
CONFIG GET appendonly
CONFIG GET nosuch
CONFIG GET maxclients
CONFIG GET timeout
CONFIG FOO
CONFIG HELP x
INFO nosuch
TIME x
NOSUCH
NOSUCH bar baz
nosuch "a b" "" "c\x00d" "x'y" "e\r\nf"
"n\r\nosuch'"
""
client|id
config|get x
HELLO 3 SETNAME a SETNAME b AUTH bob x
RESET
`

func TestRepliesAreThoseOfRedis(t *testing.T) {
	redisAddr := redistest.Start(t).Addr
	_, addr := start(t, Options{})
	script := sameAsRedis
	for _, n := range []int{1, 50, 127, 128, 129, 300} {
		word := strings.Repeat("w", n)
		script += fmt.Sprintf("%[1]s\nNOSUCH %[1]s\nNOSUCH %[1]s %[1]s %[1]s x\nCLIENT %[1]s\n", "N"+word)
	}
	for _, proto := range []string{"2", "3"} {
		ours, theirs := dial(t, addr), dial(t, redisAddr)
		for _, c := range []*client{ours, theirs} {
			c.do("HELLO", proto)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(script), "\n") {
			ours.send(line + "\r\n")
			theirs.send(line + "\r\n")
			if got, want := ours.reply(), theirs.reply(); got != want {
				t.Errorf("RESP%s: %.200s\n got %q\nwant %q", proto, line, got, want)
			}
			if line == "RESET" { // which also resets the version
				ours.do("HELLO", proto)
				theirs.do("HELLO", proto)
			}
		}
	}
}

// Errors after which Redis closes the connection.
func TestProtocolErrorsAreThoseOfRedis(t *testing.T) {
	redisAddr := redistest.Start(t).Addr
	_, addr := start(t, Options{})
	for _, input := range []string{
		"*a\r\n", "*\r\n", "*9000000000\r\n", "*01\r\n", "*+1\r\n", "*1x\r\n", "* 1\r\n",
		"*1\r\n$-1\r\n", "*1\r\n$04\r\nPING\r\n", "*1\r\n$ 4\r\n", "*1\r\n$\r\n", "*1\r\n$9223372036854775807\r\n", "*1\r\n$600000000\r\n",
		"*1\r\nx4\r\n", "*1\r\n:4\r\n", "*1\r\n\r\n", "PING \"a\r\n", "PING \"a\"b\r\n", "PING 'a\r\n", "PING \"\\\r\n",
		strings.Repeat("A", 70000), "*" + strings.Repeat("1", 70000), "*1\r\n$" + strings.Repeat("1", 70000),
		"PING\r\n*0\r\n*-1\r\n\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*a\r\n", "QUIT\r\nPING\r\n", "QUIT x\r\n",
		"PING \"\\x41\\n\\a\\z\" \r\n  PING  \n\"\"\r\nPING\ta\r\nPING 'a\\'b'\r\nQUIT\r\n", "POST / HTTP/1.1\r\nPING\r\n", "host: x\r\nPING\r\n",
		"PING a\vb\r\nPING\fa\r\n\v\fPING\t\"a\"\r\nPING \"a\"\v\r\nPING \"a\"\fb\r\nQUIT\r\n",
		"CLIENT REPLY SKIP\r\nRESET\r\nPING\r\nQUIT\r\n", "CLIENT REPLY OFF\r\nPING\r\nRESET\r\nPING\r\nQUIT\r\n",
		"CLIENT REPLY SKIP\r\nPING\r\n*a\r\n",
	} {
		ours, theirs := dial(t, addr), dial(t, redisAddr)
		ours.send(input)
		theirs.send(input)
		if got, want := ours.rest(), theirs.rest(); got != want {
			t.Errorf("%.60q:\n got %q\nwant %q", input, got, want)
		}
	}
}

// Redis, too, says nothing then. But it keeps the connection.
func TestProtocolErrorsAreNotToldWhereNoReplyIsWanted(t *testing.T) {
	_, addr := start(t, Options{})
	for _, off := range []string{"OFF", "SKIP"} {
		for _, input := range []string{"*1\r\nx", "*1\r\n$-1\r\n", "PING \"\r\n", "*9000000000\r\n"} {
			c := dial(t, addr)
			c.send("CLIENT REPLY " + off + "\r\n" + input)
			if got := c.rest(); got != "" {
				t.Errorf("REPLY %s, then %q: got %q", off, input, got)
			}
		}
	}
}

// The tools of Redis work with no special settings.
func TestRedisToolsWork(t *testing.T) {
	_, addr := start(t, Options{})
	host, port, _ := net.SplitHostPort(addr)
	for _, tc := range []struct{ tool, args, want string }{
		{"redis-cli", "-3 LOCK.ACQUIRE job PX 1000", "1763860000000001"},
		{"redis-cli", "LOCK.HELP", "LOCK.CHECK id token"},
		{"redis-cli", "--user default --pass x -n 0 PING", "PONG"},
		{"redis-benchmark", "-q -n 100 -c 2 -t ping", "requests per second"},
		{"redis-benchmark", "-3 -q -n 100 -c 2 -P 10 LOCK.ACQUIRE job OWNER me", "requests per second"},
	} {
		if _, err := exec.LookPath(tc.tool); err != nil {
			t.Fatalf("%s is missing; `make test` installs it", tc.tool)
		}
		cmd := exec.CommandContext(t.Context(), tc.tool, append([]string{"-h", host, "-p", port}, strings.Fields(tc.args)...)...)
		cmd.WaitDelay = 10 * time.Second
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s %s: %v, %s", tc.tool, tc.args, err, out)
		}
	}
}
