package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// Commands that a client sends together.

// grouping is a scripted engine that notes which operations it is asked for together.
type grouping struct {
	*scripted
	groups []string // the IDs of each
}

func (e *grouping) Do(ctx context.Context, ops []locks.Op) {
	var ids []string
	for _, op := range ops {
		for _, id := range []locks.ID{op.Acquire.ID, op.Release.ID, op.Heartbeat.ID, op.Check.ID} {
			if id != "" {
				ids = append(ids, string(id))
			}
		}
	}
	e.groups = append(e.groups, strings.Join(ids, " "))
	locks.DoEach(ctx, e.scripted, ops)
}

const (
	token    = ":1763860000000001\r\n"
	internal = "-ERR internal error\r\n"
)

// pipelines are batches of inline commands, each with what is to be replied, and which
// operations are to be asked for together.
func pipelines() map[string]struct {
	sent, replied string
	groups        []string
	closed        bool // afterwards
} {
	return map[string]struct {
		sent, replied string
		groups        []string
		closed        bool
	}{
		"one command":      {"LOCK.ACQUIRE a", token, nil, false},
		"every kind":       {"LOCK.ACQUIRE a|LOCK.RELEASE b|LOCK.RELEASE c FORCE|LOCK.HEARTBEAT d PX 500|LOCK.HEARTBEAT free|LOCK.CHECK e 7|LOCK.CHECK f 8", token + ":1\r\n:3\r\n:500\r\n:0\r\n:1\r\n:0\r\n", []string{"a b c d free e f"}, false},
		"one lock":         {"LOCK.ACQUIRE a|LOCK.HEARTBEAT a|LOCK.RELEASE a", token + ":30000\r\n:1\r\n", []string{"a a a"}, false},
		"refused upstream": {"LOCK.ACQUIRE held|LOCK.RELEASE others|LOCK.ACQUIRE mode|LOCK.ACQUIRE odd|LOCK.ACQUIRE a", "$-1\r\n-NOTOWNER the lock is held by others\r\n-ERR the owner holds the lock in another mode\r\n" + internal + token, []string{"held others mode odd a"}, false},
		"refused here":     {"LOCK.ACQUIRE a|LOCK.ACQUIRE|LOCK.RELEASE b OWNER|LOCK.CHECK c x|NOSUCH|LOCK.RELEASE d", token + "-ERR wrong number of arguments for 'lock.acquire' command\r\n-ERR syntax error, option OWNER needs a value\r\n-ERR value is not an integer or out of range, token 'x'\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n:1\r\n", []string{"a d"}, false},
		"all refused":      {"LOCK.ACQUIRE|LOCK.CHECK a 0", "-ERR wrong number of arguments for 'lock.acquire' command\r\n-ERR value is not an integer or out of range, token '0'\r\n", nil, false},
		"ping between":     {"LOCK.ACQUIRE a|LOCK.RELEASE b|PING|LOCK.ACQUIRE c|LOCK.RELEASE d", token + ":1\r\n+PONG\r\n" + token + ":1\r\n", []string{"a b", "c d"}, false},
		"session between":  {"LOCK.ACQUIRE a|LOCK.RELEASE b|LOCK.ACQUIRE held SESSION|LOCK.RELEASE c", token + ":1\r\n$-1\r\n:1\r\n", []string{"a b"}, false},
		"block between":    {"LOCK.ACQUIRE a|LOCK.RELEASE b|LOCK.ACQUIRE c BLOCK 10|LOCK.RELEASE d|LOCK.CHECK e 7", token + ":1\r\n" + token + ":1\r\n:1\r\n", []string{"a b", "d e"}, false},
		"skip between":     {"LOCK.ACQUIRE a|CLIENT REPLY SKIP|LOCK.RELEASE b|LOCK.RELEASE c FORCE", token + ":3\r\n", []string{"b c"}, false},
		"skipped error":    {"CLIENT REPLY SKIP|LOCK.CHECK a|LOCK.CHECK b 7|LOCK.CHECK c 8", ":1\r\n:0\r\n", []string{"b c"}, false},
		"off between":      {"LOCK.ACQUIRE a|LOCK.ACQUIRE b|CLIENT REPLY OFF|LOCK.RELEASE c|LOCK.RELEASE others|LOCK.CHECK x|CLIENT REPLY ON|LOCK.CHECK d 8", token + token + "+OK\r\n:0\r\n", []string{"a b", "c others"}, false},
		"reset between":    {"HELLO 3|CLIENT REPLY OFF|LOCK.ACQUIRE held|LOCK.ACQUIRE held|RESET|LOCK.ACQUIRE held|LOCK.ACQUIRE a", "", []string{"held held", "held a"}, false},
		"hello between":    {"LOCK.ACQUIRE held|LOCK.ACQUIRE a|HELLO 9|LOCK.ACQUIRE held|LOCK.ACQUIRE b", "$-1\r\n" + token + "-NOPROTO unsupported protocol version\r\n$-1\r\n" + token, []string{"held a", "held b"}, false},
		"quit between":     {"LOCK.ACQUIRE a|LOCK.RELEASE b|QUIT|LOCK.ACQUIRE c|LOCK.RELEASE d", token + ":1\r\n+OK\r\n", []string{"a b"}, true},
		"http between":     {"LOCK.ACQUIRE a|LOCK.RELEASE b|POST / HTTP/1.1|LOCK.ACQUIRE c", token + ":1\r\n", []string{"a b"}, true},
		"broken behind":    {"LOCK.ACQUIRE a|LOCK.RELEASE b|\"|LOCK.ACQUIRE c", token + ":1\r\n-ERR Protocol error: unbalanced quotes in request\r\n", []string{"a b"}, true},
		"panic":            {"LOCK.ACQUIRE a|LOCK.RELEASE|LOCK.ACQUIRE panic|LOCK.RELEASE b|PING|LOCK.RELEASE c", internal + "-ERR wrong number of arguments for 'lock.release' command\r\n" + internal + internal, []string{"a panic b"}, true},
	}
}

func TestPipelineIsTakenInGroups(t *testing.T) {
	for name, test := range pipelines() {
		for _, before := range []string{"", "PING\r\n"} {
			t.Run(fmt.Sprintf("%s after %q", name, before), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					engine := &grouping{scripted: newScripted()}
					virtual(t, Options{Engine: engine}, func(_ *Server, dial func() *client) {
						c := dial()
						if before != "" {
							c.send(before)
							c.reply()
						}
						got := c.answers(strings.ReplaceAll(test.sent, "|", "\r\n")+"\r\n", test.closed)
						if strings.Contains(test.sent, "HELLO 3") {
							_, got, _ = strings.Cut(got, "+RESET\r\n")
							test.replied = "$-1\r\n" + token
						}
						if got != test.replied {
							t.Errorf("got %q, want %q", got, test.replied)
						}
					})
					if !slices.Equal(engine.groups, test.groups) {
						t.Errorf("asked together: %q, want %q", engine.groups, test.groups)
					}
				})
			})
		}
	}
}

// answers sends a batch and returns what is replied until the server closes the
// connection, or else has nothing more to do.
func (c *client) answers(batch string, closed bool) string {
	c.t.Helper()
	got := make(chan string)
	go func() {
		raw, _ := io.ReadAll(c.r)
		got <- string(raw)
	}()
	c.send(batch)
	synctest.Wait()
	if !closed {
		select {
		case raw := <-got:
			c.t.Errorf("the server has closed the connection after %q", raw)
			return raw
		default:
			_ = c.conn.Close()
		}
	}
	return <-got
}

func TestGroupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &grouping{scripted: newScripted()}
		virtual(t, Options{Engine: engine}, func(_ *Server, dial func() *client) {
			const n = 2*maxGroup + 10
			c := dial()
			c.want("+PONG\r\n", "PING")
			if got, want := c.answers(strings.Repeat("LOCK.CHECK a 7\n", n), false), strings.Repeat(":1\r\n", n); got != want {
				t.Errorf("got %q", got)
			}
		})
		var sizes []int
		for _, ids := range engine.groups {
			sizes = append(sizes, len(strings.Fields(ids)))
		}
		if want := []int{maxGroup, maxGroup, 10}; !slices.Equal(sizes, want) {
			t.Errorf("groups of %d, want %d", sizes, want)
		}
	})
}

// A large command leaves a large buffer, and thousands of short ones fit in behind it. Each
// is answered with more than it takes.
func TestRepliesOfGroupsAreWrittenEarly(t *testing.T) {
	for short, reply := range map[string]string{"a\n": "-ERR unknown command", "LOCK.RELEASE down\n": "-UNAVAILABLE"} {
		inVirtualTime(t, Options{}, func(t *testing.T, _ *Server, dial func() *client) {
			c := dial()
			c.want("+PONG\r\n", "PING")
			long, n := encode("ECHO", strings.Repeat("x", 33<<10)), 30<<10/len(short)
			c.send(long[:30<<10])
			go c.send(long[30<<10:] + "LOCK.CHECK a 7\n" + strings.Repeat(short, n))
			all, replies := make([]byte, 4<<20), 0
			for replies < n {
				got, err := c.conn.Read(all) // of a pipe: what one write brings
				if err != nil {
					t.Fatal(err)
				}
				if got > flushAt+maxGroup*150 {
					t.Errorf("%d bytes are written at a time to %q", got, short)
				}
				replies += strings.Count(string(all[:got]), reply)
			}
		})
	}
}

// The first batch may be larger than what is read at a time.
func TestFirstBatchIsReadWhole(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, _ *Server, dial func() *client) {
		for _, n := range []int{116, 117, 118, 270} {
			if got, want := dial().answers(strings.Repeat("LOCK.CHECK a 7\n", n), false), strings.Repeat(":1\r\n", n); got != want {
				t.Errorf("%d commands: got %d replies", n, strings.Count(got, "\n"))
			}
		}
		long := encode("ECHO", strings.Repeat("x", 3000))
		if got := dial().answers(long+strings.Repeat(encode("PING"), 3), false); !strings.HasSuffix(got, strings.Repeat("+PONG\r\n", 3)) {
			t.Errorf("got %q", got)
		}
	})
}

// What a group came to is told before a command behind it waits.
func TestRepliesOfAGroupAreNotHeldBackByABlock(t *testing.T) {
	engine, addr := queueing(t)
	c := dial(t, addr)
	c.send(encode("LOCK.ACQUIRE", "a") + encode("LOCK.CHECK", "job", "7") + encode("LOCK.ACQUIRE", "job", "BLOCK", "0") + encode("LOCK.RELEASE", "a") + encode("LOCK.RELEASE", "job"))
	if first, second := c.reply(), c.reply(); !isToken(first) || second != ":0\r\n" {
		t.Errorf("got %q, %q", first, second)
	}
	waiting(t, engine, 1)
	if info, err := engine.Info(t.Context(), "a"); err != nil || !info.Held() {
		t.Errorf("what stands behind the command that waits is done: %+v, %v", info, err)
	}
	free(t, engine)
	if got := c.reply(); !isToken(got) {
		t.Errorf("got %q, want a token", got)
	}
	if got := c.reply() + c.reply(); got != ":1\r\n:1\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestClientListShowsTheLatestOfAGroup(t *testing.T) {
	_, addr := start(t, Options{})
	c, other := dial(t, addr), dial(t, addr)
	other.want("+PONG\r\n", "PING")
	c.send(encode("CLIENT", "SETNAME", "grouped") + encode("LOCK.ACQUIRE", "a") + encode("LOCK.HEARTBEAT", "a") + encode("LOCK.CHECK", "a", "7"))
	for range 4 {
		c.reply()
	}
	list := other.do("CLIENT", "LIST")
	for line := range strings.Lines(list) {
		if strings.Contains(line, "name=grouped") && strings.Contains(line, "cmd=lock.check") && strings.Contains(line, "idle=0") {
			return
		}
	}
	t.Errorf("got %q", list)
}

func TestIdleTimeIsThatSinceTheLatestBatch(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, _ *Server, dial func() *client) {
		c, other := dial(), dial()
		time.Sleep(time.Minute)
		c.want("+PONG\r\n", "PING")
		time.Sleep(42 * time.Second)
		other.want("+PONG\r\n", "PING")
		list := other.do("CLIENT", "LIST")
		for _, want := range []string{"age=102 idle=42", "age=102 idle=0"} {
			if !strings.Contains(list, want) {
				t.Errorf("%q is not in %q", want, list)
			}
		}
	})
}

func TestRefusalsInAGroupAreCounted(t *testing.T) {
	codes := make(chan string, 10)
	_, addr := start(t, Options{Refused: func(code string) { codes <- code }})
	c := dial(t, addr)
	c.send(encode("LOCK.ACQUIRE", "held") + encode("LOCK.RELEASE", "others") + encode("LOCK.CHECK", "a", "x") + encode("CLIENT", "REPLY", "SKIP") + encode("LOCK.RELEASE", "down") + encode("PING"))
	for range 4 {
		c.reply()
	}
	for _, want := range []string{"NOTOWNER", "ERR", "UNAVAILABLE"} {
		if got := <-codes; got != want {
			t.Errorf("counted %q, want %q", got, want)
		}
	}
}

// Random commands, once one by one and once in batches, must be answered alike: by each
// engine.
func TestBatchesAreAnsweredAsSingleCommands(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		batches(t, func() locks.Engine { return memory.New(memory.Options{}) }, 200)
	})
	t.Run("upstream", func(t *testing.T) {
		server := redistest.Start(t)
		n := 0
		batches(t, func() locks.Engine {
			n++
			engine, err := upstream.Open(upstream.Options{URL: server.URL(), Prefix: fmt.Sprint("batches", n, ":")})
			if err != nil {
				t.Fatal(err)
			}
			return engine
		}, 30)
	})
}

func batches(t *testing.T, open func() locks.Engine, rounds int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		var commands [][]string
		for range 1 + rnd.IntN(60) {
			commands = append(commands, randomCommand(rnd))
		}
		single, together := play(t, open(), commands, 1), play(t, open(), commands, 1+rnd.IntN(40))
		for i := range commands {
			if single[i] != together[i] {
				t.Fatalf("command %d of %q: alone %q, in a batch %q", i, commands, single[i], together[i])
			}
		}
	}
}

func randomCommand(rnd *rand.Rand) []string {
	pick := func(words ...string) string { return words[rnd.IntN(len(words))] }
	id := pick("a", "b", "c")
	owned := pick("", "OWNER x", "OWNER y", "OWNER x")
	words := pick(
		"LOCK.ACQUIRE "+id+" PX 60000 "+owned+" "+pick("", "SHARED", "LIMIT 2"),
		"LOCK.ACQUIRE "+id+" PX 60000 "+owned,
		"LOCK.RELEASE "+id+" "+pick(owned, owned, owned, "FORCE", "1"),
		"LOCK.RELEASE "+id+" "+owned,
		"LOCK.HEARTBEAT "+id+" "+owned+" PX 70000",
		"LOCK.CHECK "+id+" "+pick("1", "x"),
		"LOCK.ACQUIRE "+id+" BLOCK 1",
		"LOCK.ACQUIRE "+id+" "+owned+" SESSION",
		"PING", "NOSUCH", "LOCK.RELEASE", "LOCK.INFO "+id+" more",
	)
	return strings.Fields(words)
}

// play sends commands in batches of n and returns their replies; instead of a token its
// place among those that were given of the lock.
func play(t *testing.T, engine locks.Engine, commands [][]string, n int) (replies []string) {
	t.Helper()
	defer engine.Close()
	ln := newPipeListener()
	srv := New(quiet(Options{Engine: engine}))
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	conn := ln.dial()
	r := bufio.NewReaderSize(conn, 1<<16)
	tokens := map[string][]string{}
	for batch := range slices.Chunk(commands, n) {
		go func() {
			var b strings.Builder
			for _, cmd := range batch {
				b.WriteString(encode(cmd...))
			}
			_, _ = io.WriteString(conn, b.String())
		}()
		for _, cmd := range batch {
			raw, err := readReply(r)
			if err != nil {
				t.Fatal(err)
			}
			if isToken(raw) {
				id := cmd[1]
				if !slices.Contains(tokens[id], raw) {
					tokens[id] = append(tokens[id], raw)
				}
				raw = fmt.Sprint("token ", slices.Index(tokens[id], raw))
			}
			replies = append(replies, raw)
		}
	}
	return replies
}
