package pairs

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/bench/load"
	"github.com/goodjobtech/candado/bench/server"
)

// fake is a lock server that may lie: answer gets the number of the request on
// its connection and what a server that does not lie would reply.
type fake struct {
	answer   func(n int, honest string) string
	acquired atomic.Int64
	released atomic.Int64

	mu   sync.Mutex
	held map[string]bool
	ids  map[string]bool
	odd  []string // what no client should have sent
}

// serve returns the address of the fake, which ends with the test.
func (f *fake) serve(t *testing.T) string {
	t.Helper()
	f.held, f.ids = map[string]bool{}, map[string]bool{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { f.talk(conn) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); serving.Wait() })
	return ln.Addr().String()
}

func (f *fake) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		said := f.answer(n, f.lock(args))
		if _, err := io.WriteString(conn, said); err != nil || !strings.HasSuffix(said, "\n") {
			return // what is cut short is the last that it says
		}
	}
}

// lock does what a lock server does.
func (f *fake) lock(args []string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := args[1]
	f.ids[id] = true
	switch held := f.held[id]; {
	case args[0] == "LOCK.ACQUIRE" && !held:
		f.held[id] = true
		return fmt.Sprintf(":%d\r\n", f.acquired.Add(1))
	case args[0] == "LOCK.RELEASE" && held:
		f.held[id] = false
		f.released.Add(1)
		return ":1\r\n"
	}
	f.odd = append(f.odd, strings.Join(args, " "))
	return "$-1\r\n"
}

func readCommand(in *bufio.Reader) ([]string, error) {
	number := func(kind string) (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(line, kind), "\r\n"))
	}
	n, err := number("*")
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := number("$")
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		args[i] = string(word[:size])
	}
	return args, nil
}

func measure(t *testing.T, f *fake, clients, pipeline int) (*load.Result, error) {
	t.Helper()
	return load.Load{
		Addr: f.serve(t), Clients: clients, Warmup: 10 * time.Millisecond, Length: 60 * time.Millisecond, Usage: server.Team{}.Usage,
		Dialogue: func(client int) load.Dialogue {
			return newDialogue(lockVerbs(), names(shape{clients, pipeline}, 1, client)[:8], pipeline)
		},
	}.Run(t.Context())
}

func honest(_ int, reply string) string { return reply }

func TestGeneratorCountsWhatAnHonestServerDid(t *testing.T) {
	for _, pipeline := range []int{1, 16} {
		f := &fake{answer: honest}
		r, err := measure(t, f, 3, pipeline)
		if err != nil {
			t.Fatal(err)
		}
		did := f.acquired.Load() + f.released.Load()
		if r.Operations <= 0 || r.Operations > did || f.acquired.Load() != f.released.Load() {
			t.Errorf("pipeline %d: %d operations counted; %d locks acquired, %d released", pipeline, r.Operations, f.acquired.Load(), f.released.Load())
		}
		// Of each client one batch may lie across the begin, and one across the end.
		if got, want := int(r.Latency.Count()), int(r.Operations)/pipeline; got < want-6 || got > want+6 {
			t.Errorf("pipeline %d: %d latencies, want about %d", pipeline, got, want)
		}
		if len(f.odd) > 0 || len(f.ids) != 3*8 {
			t.Errorf("pipeline %d: %d locks were used, and what was not right: %q", pipeline, len(f.ids), f.odd)
		}
	}
}

func TestLyingServerFails(t *testing.T) {
	lie := func(reply string) func(int, string) string {
		return func(n int, honest string) string {
			if n == 10 { // an acquire; the one before was a release
				return reply
			}
			return honest
		}
	}
	after := func(n int, reply string) func(int, string) string { // also to releases
		return func(i int, honest string) string {
			if i == n {
				return reply
			}
			return honest
		}
	}
	for name, c := range map[string]struct {
		answer func(int, string) string
		fault  string
	}{
		"NotAcquired":        {lie("$-1\r\n"), "the reply to an acquire of a free lock was _-1"},
		"NotAcquiredInRESP3": {lie("_\r\n"), "the reply to an acquire of a free lock was _"},
		"TokenZero":          {lie(":0\r\n"), "the reply to an acquire of a free lock was :0"},
		"TokenBelowZero":     {lie(":-5\r\n"), "the reply to an acquire of a free lock was :-5"},
		"Error":              {lie("-BUSY too many\r\n"), "the reply to an acquire of a free lock was -BUSY too many"},
		"Text":               {lie("$2\r\n17\r\n"), "the reply to an acquire of a free lock was $2"},
		"NoReply":            {lie("hello\r\n"), "what came is no reply"},
		"NoNumber":           {lie(":1x\r\n"), "what came is no reply"},
		"OldToken":           {after(16, ":1\r\n"), "token 1 was granted after "}, // the first lock again
		"NotReleased":        {after(5, ":0\r\n"), "the reply to a release of a held lock was :0"},
		"SeveralReleased":    {after(5, ":2\r\n"), "the reply to a release of a held lock was :2"},
		"ErrorForRelease":    {after(5, "-NOTOWNER\r\n"), "the reply to a release of a held lock was -NOTOWNER"},
		"ConnectionClosed":   {lie(""), "EOF"},
		"ReplyCutShort":      {after(5, ":"), "awaiting a reply"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pipeline := range []int{1, 16} {
				r, err := measure(t, &fake{answer: c.answer}, 2, pipeline)
				if r != nil || err == nil || !strings.Contains(err.Error(), c.fault) && !strings.Contains(err.Error(), "reset by peer") {
					t.Errorf("pipeline %d: got %v, %v; want the fault %q", pipeline, r, err, c.fault)
				}
			}
		})
	}
}

func TestSecondReplyToOneRequestFails(t *testing.T) {
	f := &fake{answer: func(n int, honest string) string {
		if n == 3 {
			return honest + honest
		}
		return honest
	}}
	if r, err := measure(t, f, 1, 1); err == nil {
		t.Errorf("got %v", r)
	}
}

func TestRepliesAreReadHoweverTheyArrive(t *testing.T) {
	for _, c := range []struct {
		text  string
		kind  byte
		n     int64
		items []int64
	}{
		{":17\r\n", ':', 17, nil},
		{"+OK\r\n", '+', 0, nil},
		{"$-1\r\n", '_', -1, nil},
		{"$3\r\na\r\n\r\n", '$', 3, nil},
		{"*3\r\n:1\r\n:1763860000000001\r\n:9007199254740991\r\n", '*', 3, []int64{1, 1763860000000001, 9007199254740991}},
		{"*4\r\n:-3\r\n$2\r\n:9\r\n*1\r\n:7\r\n:5\r\n", '*', 4, []int64{-3, 0, 0, 5}},
	} {
		var r reply
		for cut := range len(c.text) {
			if n, err := r.parse([]byte(c.text[:cut])); n != 0 || err != nil {
				t.Errorf("%q is %d bytes long, %v", c.text[:cut], n, err)
			}
		}
		n, err := r.parse([]byte(c.text + ":1\r\n"))
		if n != len(c.text) || err != nil || r.kind != c.kind || r.n != c.n {
			t.Errorf("%q: %d bytes, %v, %v", c.text, n, &r, err)
		}
		for i, v := range c.items {
			if r.items[i] != v {
				t.Errorf("%q: item %d is %d", c.text, i, r.items[i])
			}
		}
	}
}

func TestNothingIsAllocatedWhileMeasuring(t *testing.T) {
	v := lockVerbs()
	v.fenced = false
	v.acquire = func(id string) command { return numbered("EVALSHA", id, marker) }
	d := newDialogue(v, []string{"a", "b", "c", "d", "e", "f", "g", "h"}, 16)
	reply := []byte(":1\r\n")
	allocated := testing.AllocsPerRun(100, func() {
		_, replies := d.Next()
		for range replies {
			if _, err := d.Judge(reply); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocated != 0 {
		t.Errorf("%v allocations for a batch", allocated)
	}
}

func TestNumbersAreNewEachTime(t *testing.T) {
	v := lockVerbs()
	v.acquire = func(id string) command { return numbered("EVALSHA", id, marker) }
	d := newDialogue(v, []string{"a", "b", "c", "d", "e", "f", "g", "h"}, 16)
	seen := map[string]bool{}
	for range 3 {
		b, _ := d.Next()
		for _, n := range d.batches[0].numbers {
			seen[string(b[n.at:n.at+n.size])] = true
		}
		if strings.Contains(string(b), marker) || len(b) != len(d.batches[0].bytes) {
			t.Errorf("sent: %q", b)
		}
	}
	if len(seen) != 3*8 {
		t.Errorf("%d numbers in 24 requests", len(seen))
	}
}

func TestLocksAreWholeBatches(t *testing.T) {
	for _, clients := range []int{1, 10, 50, 200, 1000, 5000} {
		seen := map[string]bool{}
		for client := range 2 {
			for _, id := range names(shape{clients, 16}, 1, client) {
				seen[id] = true
			}
		}
		if n := len(seen); n%16 != 0 || n < 16 {
			t.Errorf("%d clients have %d locks each", clients, n/2)
		}
	}
}
