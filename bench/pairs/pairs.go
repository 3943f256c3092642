// Package pairs is the section that measures throughput and latency: clients
// that each acquire and release locks of their own, one after the other. Nobody
// waits for a lock.
package pairs

import (
	"context"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/load"
	"github.com/goodjobtech/candado/bench/report"
)

// The ratios to others in the same round and under the same load.
const (
	rateToPlain   cells.Figure = "rate_to_set_del"
	rateToScripts cells.Figure = "rate_to_evalsha"
	p99ToScripts  cells.Figure = "p99_to_evalsha"
)

// perMeasurement is about what each takes beyond its length and warm-up.
const perMeasurement = 80 * time.Millisecond

// contenders is how many there are, for the estimate.
const contenders = 6

// Part is the section.
func Part() report.Part {
	return report.Part{Name: "pairs", Expected: expected, Run: run}
}

// shape is the load of a cell.
type shape struct{ clients, pipeline int }

func (s shape) name() string {
	unit := "clients"
	if s.clients == 1 {
		unit = "client"
	}
	return fmt.Sprintf("%d %s, pipeline %d", s.clients, unit, s.pipeline)
}

// plan completes what the harness has left open.
func plan(p report.Plan) (report.Plan, []shape) {
	clients, deep := []int{1, 10, 50, 200, 1000}, []int{1, 50}
	length, warmup := time.Second, 200*time.Millisecond
	if p.Quick {
		length, warmup = 150*time.Millisecond, 50*time.Millisecond
		clients, deep = []int{1, 50, 1000}, []int{50}
	}
	if p.Length == 0 {
		p.Length, p.Warmup = length, warmup
	}
	if p.Rounds == 0 {
		p.Rounds = 5
	}
	if len(p.Clients) > 0 {
		clients, deep = p.Clients, p.Clients
	}
	var shapes []shape
	for _, n := range clients {
		shapes = append(shapes, shape{n, 1})
	}
	for _, n := range deep {
		shapes = append(shapes, shape{n, 16})
	}
	return p, shapes
}

func expected(p report.Plan) time.Duration {
	p, shapes := plan(p)
	n := contenders
	if len(p.Only) > 0 {
		n = min(n, len(p.Only))
	}
	return time.Duration(p.Rounds*len(shapes)*n)*(p.Warmup+p.Length+perMeasurement) + time.Second
}

func run(ctx context.Context, env *report.Env) (*report.Section, error) {
	var f field
	defer f.close()
	if err := f.open(ctx, env); err != nil {
		return nil, err
	}
	p, shapes := plan(env.Plan)
	var turns []cells.Turn
	for _, s := range shapes {
		for _, c := range f.contenders {
			turns = append(turns, cells.Turn{
				Contender: c.name, Load: s.name(),
				Params: map[string]float64{"clients": float64(s.clients), "pipeline": float64(s.pipeline)},
				Measure: func(ctx context.Context, round int) (cells.Round, error) {
					return f.measure(ctx, c, s, round, p)
				},
			})
		}
	}
	all, err := cells.Take(ctx, p.Rounds, turns, env.Progress, load.Outcome)
	if err != nil {
		return nil, err
	}
	relate(all)
	return section(all, shapes, p, f.without), nil
}

// relate adds the ratios to all rounds, and condenses them.
func relate(all []*cells.Cell) {
	cells.Relate(all, rateToPlain, load.Rate, plain)
	cells.Relate(all, rateToScripts, load.Rate, scripts)
	cells.Relate(all, p99ToScripts, load.P99, scripts)
	for _, c := range all {
		c.Summarize()
	}
}

// measure makes one measurement. Each has locks of its own, and each connection
// its own of those.
func (f *field) measure(ctx context.Context, c *contender, s shape, round int, p report.Plan) (cells.Round, error) {
	l := load.Load{
		Addr: c.addr, Clients: s.clients, Warmup: p.Warmup, Length: p.Length, Usage: c.team.Usage,
		Dialogue: func(client int) load.Dialogue { return newDialogue(c.verbs, names(s, round, client), s.pipeline) },
	}
	if c.hello {
		l.Greeting, l.Welcome = string(words("SELECT", fmt.Sprint(c.db)).bytes), "+OK\r\n"
	}
	r, err := l.Run(ctx)
	if err != nil {
		return cells.Round{}, err
	}
	if c.db != 0 {
		// What candado remembers of the locks that were would be in the way of the
		// next, when Redis lets it expire.
		if err := f.redis.Flush(ctx, c.db); err != nil {
			return cells.Round{}, err
		}
	}
	return cells.Round{Figures: r.Figures(c.team)}, nil
}

// names returns the locks of one connection: about 6400 between all, at least 8
// and at most 256 each, whole batches of 8 pairs.
func names(s shape, round, client int) []string {
	n := min(max(6400/s.clients/8*8, 8), 256)
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("pairs:%d:%d:%d:%d:%d", round, s.clients, s.pipeline, client, i)
	}
	return ids
}
