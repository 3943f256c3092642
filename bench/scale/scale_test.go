package scale

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
)

// answering returns a connection to somebody who takes all that is sent and
// answers with that text; and what closes it and returns what was sent.
func answering(t *testing.T, text string) (c *conn, sent func() string) {
	t.Helper()
	here, there := net.Pipe()
	var got strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		go func() { _, _ = io.WriteString(there, text) }()
		_, _ = io.Copy(&got, there)
	}()
	sent = func() string {
		_ = here.Close()
		<-done
		return got.String()
	}
	t.Cleanup(func() { sent() })
	return &conn{net: here, in: bufio.NewReaderSize(here, 256)}, sent
}

func TestEveryReplyIsJudged(t *testing.T) {
	for _, c := range []struct {
		answer string
		right  judge
		good   bool
	}{
		{":7\r\n:8\r\n", isToken, true},
		{":7\r\n:0\r\n", isToken, false},
		{":7\r\n$-1\r\n", isToken, false},
		{":7\r\n-UNAVAILABLE the upstream\r\n", isToken, false},
		{":1\r\n:1\r\n", is(":1"), true},
		{":1\r\n:0\r\n", is(":1"), false},
		{"+OK\r\n$-1\r\n", is("+OK"), false},
	} {
		conn, _ := answering(t, c.answer)
		conn.put("A", "1")
		conn.put("B", "2")
		if err := conn.ask(c.right); (err == nil) != c.good {
			t.Errorf("%q: got %v", c.answer, err)
		}
	}
}

func TestCommandsAreSentAsArrays(t *testing.T) {
	conn, sent := answering(t, ":1\r\n:1\r\n")
	conn.put("LOCK.ACQUIRE", "a b")
	conn.put("PING")
	if err := conn.ask(is(":1")); err != nil {
		t.Fatal(err)
	}
	got, want := sent(), "*2\r\n$12\r\nLOCK.ACQUIRE\r\n$3\r\na b\r\n*1\r\n$4\r\nPING\r\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWaitersAreReadFromLockInfo(t *testing.T) {
	const reply = "*12\r\n$2\r\nid\r\n$1\r\na\r\n$5\r\nstate\r\n:1\r\n$4\r\nmode\r\n$9\r\nexclusive\r\n$7\r\nholders\r\n" +
		"*1\r\n*10\r\n$5\r\ntoken\r\n:1763860000000001\r\n$5\r\nowner\r\n$0\r\n\r\n$4\r\nmode\r\n$9\r\nexclusive\r\n$6\r\nttl_ms\r\n:3600000\r\n$7\r\nheld_ms\r\n:0\r\n" +
		"$7\r\nwaiters\r\n:42\r\n$10\r\nlast_token\r\n:1763860000000001\r\n"
	conn, _ := answering(t, reply+reply)
	for range 2 { // the whole reply is taken
		if n, err := conn.waiters("a"); n != 42 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	conn, _ = answering(t, "-UNAVAILABLE the upstream\r\n")
	if n, err := conn.waiters("a"); err == nil {
		t.Errorf("an error was read as %d", n)
	}
}

func TestNumbersAreReadByName(t *testing.T) {
	const text = "# HELP a b\nused_memory_rss:9\r\nused_memory:1234\r\ngo_x 1.5e+06\n"
	for name, want := range map[string]float64{"used_memory:": 1234, "go_x ": 1.5e6} {
		if got, err := number(text, name); got != want || err != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if got, err := number(text, "memory:"); err == nil {
		t.Errorf("what is not there is %v", got)
	}
}

func TestIDsAreTwentyBytesAndDifferent(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range []int{0, 1, 9, 10, 999_999, 1_000_000} {
		if s := id(n); len(s) != 20 || seen[s] {
			t.Errorf("%d is %q", n, s)
		}
		seen[id(n)] = true
	}
	if got := id(120_034); got != "lock:000000000120034" {
		t.Errorf("got %q", got)
	}
}

func TestSomeAreDifferentNumbersBelow(t *testing.T) {
	for _, c := range [][3]int{{10, 3, 3}, {10, 10, 10}, {10, 50, 10}} {
		got := some(c[0], c[1])
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != c[2] || got[0] < 0 || got[len(got)-1] >= c[0] {
			t.Errorf("%d of %d: got %v", c[1], c[0], got)
		}
	}
}

func TestNumbersAreSharedOutWithoutLoss(t *testing.T) {
	first, sentFirst := answering(t, strings.Repeat(":1\r\n", 50))
	second, sentSecond := answering(t, strings.Repeat(":1\r\n", 51))
	both := crowd{first, second}
	if _, err := both.spread(numbers(0, 101), func(n int) []string { return []string{id(n)} }, is(":1")); err != nil {
		t.Fatal(err)
	}
	all := sentFirst() + sentSecond()
	for n := range 101 {
		if strings.Count(all, id(n)) != 1 {
			t.Errorf("%d was sent %d times", n, strings.Count(all, id(n)))
		}
	}
}

func TestRatiosToTheFirstAreTakenWithinARound(t *testing.T) {
	tp := topic{what: "things", flat: []cells.Figure{operation}}
	add := func(n string, x float64, figures ...float64) *cells.Cell {
		c := &cells.Cell{Contender: "a", Load: n + " things", Params: map[string]float64{"n": x}}
		for _, v := range figures {
			r := cells.Round{Figures: cells.Figures{operation: v}}
			if v == 0 {
				r = cells.Round{Fault: "a wrong reply"}
			}
			c.Rounds = append(c.Rounds, r)
		}
		tp.cells = append(tp.cells, c)
		return c
	}
	add("10", 10, 1, 10, 100)
	last := add("100", 100, 2, 20, 100)
	bad := add("1000", 1000, 2, 0, 100)
	tp.condense()
	if got := last.Summary[toFirst(operation)]; got.Median != 2 || got.Min != 1 {
		t.Errorf("got %v", got)
	}
	if bad.Summary != nil {
		t.Errorf("a failed cell has %v", bad.Summary)
	}
	tables := tp.tables()
	if len(tables) != 1 || len(tables[0].Rows) != 3 || tables[0].Rows[1][0] != "100" {
		t.Errorf("the tables are %v", tables)
	}
}

func TestGoalsNeedBothContenders(t *testing.T) {
	p := plan{Held: []int{10, 100}}
	all := []*cells.Cell{
		{Contender: embedded, Load: "100 held locks", Rounds: []cells.Round{{Figures: cells.Figures{bytesEach: 120}}}},
		{Contender: onRedis, Load: "100 held locks", Rounds: []cells.Round{{Fault: "a wrong reply"}}},
		{Contender: plain, Load: "100 held locks", Rounds: []cells.Round{{Figures: cells.Figures{bytesEach: 100}}}},
	}
	tp := topic{what: heldLocks, cells: all}
	tp.condense()
	for _, g := range tp.goals(p) {
		switch {
		case strings.Contains(g.Workload, "embedded"):
			if g.Measured == nil || math.Abs(g.Measured.Median-1.2) > 1e-9 || g.Verdict() != "met" {
				t.Errorf("embedded: %+v is %s", g.Measured, g.Verdict())
			}
		case g.Verdict() != "not measured":
			t.Errorf("what failed is %s", g.Verdict())
		}
	}
}

// A queue whose servers answer a waiter with an error ends, and says so.
func TestWaiterThatIsRefusedEndsTheMeasurement(t *testing.T) {
	refused, _ := answering(t, "-BUSY too many requests wait\r\n")
	q := &queue{n: 1, told: make(chan told, 4)}
	w := &waiter{refused, make(chan struct{}, 1), make(chan struct{}, 1)}
	q.idle = []*waiter{w}
	go w.run(q.told)
	if err := q.refill(context.Background()); err == nil || !strings.Contains(err.Error(), "BUSY") {
		t.Errorf("got %v", err)
	}
}

func TestTokensOfHandOffsIncrease(t *testing.T) {
	q := &queue{last: 5, told: make(chan told, 3)}
	q.told <- told{nil, 6, nil}
	q.told <- told{nil, 6, nil}
	q.told <- told{nil, 0, errors.New("a wrong reply")}
	for i, good := range []bool{true, false, false} {
		if err := q.next(); (err == nil) != good {
			t.Errorf("hand-off %d: got %v", i, err)
		}
	}
}

func TestPlansAreBounded(t *testing.T) {
	if got := expected(report.Plan{}); got > 4*time.Minute {
		t.Errorf("all decades take about %v", got)
	}
	if got := expected(report.Plan{Quick: true}); got > 25*time.Second {
		t.Errorf("the quick ones take about %v", got)
	}
}
