package scale

import (
	"context"
	"fmt"
	"strconv"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/load"
	"github.com/goodjobtech/candado/bench/plot"
	"github.com/goodjobtech/candado/bench/report"
)

// topic is one of the things that there may be many of.
type topic struct {
	what    string // of which there are many
	turns   func(env *report.Env, p plan) (turns []cells.Turn, rounds int, stop func())
	columns []cells.Column
	plots   []picture
	flat    []cells.Figure // what ought to be the same for all decades
	note    string

	cells []*cells.Cell
}

// heldLocks is the topic that has goals.
const heldLocks = "held locks"

// picture is one figure over the decades. Without a label it is a time.
type picture struct {
	name, caption, label string
	figure               cells.Figure
}

// toFirst is a figure as a multiple of what it is at the smallest decade.
func toFirst(of cells.Figure) cells.Figure { return of + "_to_first" }

func (t *topic) outcome(f cells.Figures) string {
	text := ""
	for _, name := range t.flat {
		text += fmt.Sprintf("%s %s  ", name, report.Micros(f.Get(name)))
	}
	return text
}

// condense adds the multiples of the smallest decade, taken within each round,
// and summarizes.
func (t *topic) condense() {
	for _, c := range t.cells {
		first := cells.Find(t.cells, t.cells[0].Load, c.Contender)
		for i, r := range c.Rounds {
			if first == nil || r.Fault != "" || first.Rounds[i].Fault != "" {
				continue
			}
			for _, name := range t.flat {
				r.Figures.Set(toFirst(name), r.Figures.Get(name)/first.Rounds[i].Figures.Get(name))
			}
		}
	}
	cells.Relate(t.cells, bytesToPlain, bytesEach, plain)
	for _, c := range t.cells {
		c.Summarize()
	}
}

// tables returns one for each contender, with a row for each decade.
func (t *topic) tables() []report.Table {
	var turned []*cells.Cell
	for _, contender := range cells.Contenders(t.cells) {
		for _, c := range t.cells {
			if c.Contender == contender {
				row := *c
				row.Contender, row.Load = strconv.Itoa(int(c.Params["n"])), t.what+": "+contender
				turned = append(turned, &row)
			}
		}
	}
	first := cells.Names()
	first.Head = t.what
	return cells.Tables(turned, append([]cells.Column{first}, t.columns...), t.note)
}

func (t *topic) pictures() []report.Plot {
	var all []report.Plot
	for _, p := range t.plots {
		every := func(*cells.Cell) bool { return true }
		lines := plot.Lines{
			Title: p.caption, XLabel: t.what, YLabel: p.label, LogX: true,
			Series: cells.Lines(t.cells, p.figure, "n", every),
		}
		if p.label == "" {
			lines.YLabel, lines.Format = "time", report.Micros
		}
		all = append(all, report.Plot{Name: p.name, Caption: p.caption, SVG: lines.SVG()})
	}
	return all
}

// each returns the turns of a topic whose measurements stand alone.
func each(what string, decades []int, contenders []string, measure func(ctx context.Context, contender string, n int) (cells.Round, error)) []cells.Turn {
	var turns []cells.Turn
	for _, n := range decades {
		for _, contender := range contenders {
			turns = append(turns, turn(contender, what, n, func(ctx context.Context, _ int) (cells.Round, error) {
				return measure(ctx, contender, n)
			}))
		}
	}
	return turns
}

func nothing() {}

func times(head string, name cells.Figure) []cells.Column {
	return []cells.Column{cells.Times(head, name), cells.Spread("×first", toFirst(name), "%.2f")}
}

func heldTopic() topic {
	columns := append(append(times("acquire", acquire), times("release", release)...), times("heartbeat", heartbeat)...)
	return topic{
		what: heldLocks,
		turns: func(env *report.Env, p plan) ([]cells.Turn, int, func()) {
			turns, stop := held(env, p)
			return turns, p.Rounds, stop
		},
		columns: append(columns,
			cells.Times("acquire anew", acquireNew),
			cells.Median("CPU µs/op candado", load.CPUService, "%.1f"),
			cells.Median("Redis", load.CPURedis, "%.1f"),
			cells.Median("bytes each", bytesEach, "%.0f"),
			cells.Median("×plain", bytesToPlain, "%.2f"),
			cells.Median("RSS each", rss, "%.0f")),
		flat: []cells.Figure{acquire, release, heartbeat},
		plots: []picture{
			{"held-acquire", "Time per acquire beside held locks", "", acquire},
			{"held-release", "Time per release beside held locks", "", release},
			{"held-heartbeat", "Time per heartbeat beside held locks", "", heartbeat},
			{"held-bytes", "Memory of a held lock", "bytes", bytesEach},
		},
		note: "×first: the same as a multiple of the first row, within each round: median (least–greatest). Bytes: growth of the live heap (embedded) or of used_memory " +
			"(Redis) for each lock; ×plain: as a multiple of plain Redis. A dash: too few to tell.",
	}
}

func connectionsTopic() topic {
	return topic{
		what: "connections",
		turns: func(env *report.Env, p plan) ([]cells.Turn, int, func()) {
			return each("connections", p.Connections, []string{embedded, plain}, func(ctx context.Context, contender string, n int) (cells.Round, error) {
				return connections(ctx, env, contender, n, p.Length)
			}), p.Rounds, nothing
		},
		columns: append(times("operation", operation),
			cells.Median("CPU µs/op candado", load.CPUService, "%.1f"),
			cells.Median("Redis", load.CPURedis, "%.1f"),
			cells.Median("RSS each", rss, "%.0f")),
		flat: []cells.Figure{operation},
		plots: []picture{
			{"connections-time", "Time per operation beside open connections", "", operation},
			{"connections-rss", "Resident memory of a connection", "bytes", rss},
		},
		note: fmt.Sprintf("At most %d of the connections work. RSS each: growth of the server's resident memory for each connection.", working),
	}
}

func waitersTopic() topic {
	return topic{
		what: "waiters",
		turns: func(env *report.Env, p plan) ([]cells.Turn, int, func()) {
			return each("waiters", p.Waiters, []string{embedded, onRedis}, func(ctx context.Context, contender string, n int) (cells.Round, error) {
				return waiting(ctx, env, contender, n, p.Length)
			}), p.Rounds, nothing
		},
		columns: append(times("hand-off", handOff),
			cells.Times("enter", enter),
			cells.Median("RSS each", rss, "%.0f"),
			cells.Median("Redis bytes each", redisBytes, "%.0f")),
		flat: []cells.Figure{handOff},
		plots: []picture{
			{"waiters-time", "Time per hand-off beside waiters for the same lock", "", handOff},
			{"waiters-rss", "Resident memory of a waiter, its connection included", "bytes", rss},
		},
		note: "Enter: until all wait, for each. RSS each: growth of candado's resident memory for each waiter, connection included; Redis bytes each: of Redis's used_memory.",
	}
}

func leasesTopic() topic {
	return topic{
		what: "session leases",
		turns: func(env *report.Env, p plan) ([]cells.Turn, int, func()) {
			return each("session leases", p.Leases, []string{embedded, onRedis}, func(ctx context.Context, contender string, n int) (cells.Round, error) {
				return sessions(ctx, env, contender, n, enough(p.TTL, n))
			}), p.LeaseRounds, nothing
		},
		columns: append(times("acquire", acquire),
			cells.Median("renewing: % CPU candado", renewService, "%.2f"),
			cells.Median("Redis", renewRedis, "%.2f"),
			cells.Times("all released", letGo),
			cells.Times("for each", letGoEach)),
		flat: []cells.Figure{acquire},
		plots: []picture{
			{"leases-acquire", "Time per acquire of a session lease", "", acquire},
			{"leases-renewing", "Processor time of candado for the renewal of session leases with the default TTL", "percent of one processor", renewService},
			{"leases-released", "From the close of the connections until all session leases are released, for each", "", letGoEach},
		},
	}
}
