// Package web is the section that measures candado's HTTP: clients that each
// acquire and release locks of their own over a keep-alive connection.
package web

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/load"
	"github.com/goodjobtech/candado/bench/plot"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/server"
)

// The names of the contenders.
const (
	constant = "constant fasthttp"
	embedded = "candado embedded"
	onRedis  = "candado on Redis"
)

const (
	rateToConstant cells.Figure = "rate_to_constant"

	connections = 64
	locksEach   = 64 // locks of each connection

	// db is candado's database in Redis.
	db = 1

	// perMeasurement is about what each takes beyond its length and warm-up.
	perMeasurement = 60 * time.Millisecond
)

// Part is the section.
func Part() report.Part {
	return report.Part{Name: "web", Expected: expected, Run: run}
}

// plan completes what the harness has left open.
func plan(p report.Plan) report.Plan {
	length, warmup := time.Second, 200*time.Millisecond
	if p.Quick {
		length, warmup = 250*time.Millisecond, 50*time.Millisecond
	}
	if p.Length == 0 {
		p.Length, p.Warmup = length, warmup
	}
	if p.Rounds == 0 {
		p.Rounds = 5
	}
	return p
}

func expected(p report.Plan) time.Duration {
	p = plan(p)
	return time.Duration(p.Rounds*3)*(p.Warmup+p.Length+perMeasurement) + time.Second
}

// contender is one server, and what it answers.
type contender struct {
	name   string
	team   server.Team
	bodies [2]string // to acquire and release
}

// field is the contenders and their servers.
type field struct {
	redis      *server.Redis
	contenders []contender
}

// open starts the servers. Close the field, also after an error.
func (f *field) open(ctx context.Context, env *report.Env) (err error) {
	if f.redis, err = server.StartRedis(ctx, env.Dir); err != nil {
		return err
	}
	p, err := server.StartCeiling(ctx, env.Ceiling, env.Dir, "http")
	if err != nil {
		return err
	}
	f.contenders = append(f.contenders, contender{constant, server.Team{Service: p}, [2]string{held, held}})
	if p, err = server.StartCandado(ctx, env.Candado, env.Dir, "web-embedded"); err != nil {
		return err
	}
	f.contenders = append(f.contenders, contender{embedded, server.Team{Service: p}, [2]string{held, free}})
	upstream := fmt.Sprintf("redis://%s/%d", f.redis.Addr, db)
	if p, err = server.StartCandado(ctx, env.Candado, env.Dir, "web-upstream", "--upstream", upstream); err != nil {
		return err
	}
	f.contenders = append(f.contenders, contender{onRedis, server.Team{Service: p, Redis: f.redis}, [2]string{held, free}})
	return nil
}

// close stops what has been started; Redis last, as candado uses it.
func (f *field) close() {
	for _, c := range f.contenders {
		c.team.Service.Stop()
	}
	if f.redis != nil {
		f.redis.Stop()
	}
}

func run(ctx context.Context, env *report.Env) (*report.Section, error) {
	var f field
	defer f.close()
	if err := f.open(ctx, env); err != nil {
		return nil, err
	}
	p := plan(env.Plan)
	var turns []cells.Turn
	for _, c := range f.contenders {
		if len(p.Only) > 0 && !slices.Contains(p.Only, c.name) {
			continue
		}
		turns = append(turns, cells.Turn{
			Contender: c.name, Load: name, Params: map[string]float64{"clients": connections},
			Measure: func(ctx context.Context, round int) (cells.Round, error) { return f.measure(ctx, c, round, p) },
		})
	}
	all, err := cells.Take(ctx, p.Rounds, turns, env.Progress, load.Outcome)
	if err != nil {
		return nil, err
	}
	cells.Relate(all, rateToConstant, load.Rate, constant)
	for _, c := range all {
		c.Summarize()
	}
	return section(all, p), nil
}

func (f *field) measure(ctx context.Context, c contender, round int, p report.Plan) (cells.Round, error) {
	addr := c.team.Service.HTTP
	r, err := load.Load{
		Addr: addr, Clients: connections, Warmup: p.Warmup, Length: p.Length, Usage: c.team.Usage,
		Dialogue: func(client int) load.Dialogue {
			ids := make([]string, locksEach)
			for i := range ids {
				ids[i] = fmt.Sprintf("web-%d-%d-%d", round, client, i)
			}
			return newDialogue(addr, ids, c.bodies)
		},
	}.Run(ctx)
	if err != nil {
		return cells.Round{}, err
	}
	if c.team.Redis != nil {
		if err := f.redis.Flush(ctx, db); err != nil {
			return cells.Round{}, err
		}
	}
	return cells.Round{Figures: r.Figures(c.team)}, nil
}

const name = "64 connections, GET /acquire and /release"

const text = `Each of 64 keep-alive connections acquires and releases locks of its own by ` + "`GET /acquire/…` and `GET /release/…`" + `. Status and body of every response are checked.
**constant fasthttp** is a server on the same library as candado that answers every request with the same JSON: the ceiling. An operation is one request.`

func section(all []*cells.Cell, p report.Plan) *report.Section {
	s := &report.Section{
		Name: "web", Title: "HTTP", Text: text, Faults: cells.Faults(all),
		Data: struct {
			Plan  report.Plan   `json:"plan"`
			Cells []*cells.Cell `json:"cells"`
		}{p, all},
	}
	columns := append([]cells.Column{
		cells.Names(),
		cells.Spread("requests/s", load.Rate, "%.0f"),
		cells.Spread("×constant", rateToConstant, "%.2f"),
	}, load.Columns()...)
	s.Tables = cells.Tables(all, columns, fmt.Sprintf("%d rounds, each measurement %v after %v of warm-up.", p.Rounds, p.Length, p.Warmup))
	s.Plots = []report.Plot{
		{Name: "throughput", Caption: "Requests per second, " + name + ". The stroke runs from the least to the greatest of the rounds.", SVG: plot.Bars{
			Title: "HTTP throughput, 64 connections", YLabel: "requests per second", Groups: []string{""},
			Series: cells.Beside(all, []string{name}, load.Rate),
		}.SVG()},
		{Name: "latency", Caption: "Percentiles of latency, " + name + ".", SVG: plot.Lines{
			Title: "HTTP latency, 64 connections", XLabel: "percentile", YLabel: "latency", LogY: true, Format: report.Micros,
			XNames: load.PercentileNames, Series: cells.Across(all, name, load.Percentiles),
		}.SVG()},
	}
	for _, who := range []string{embedded, onRedis} {
		g := report.Goal{
			Workload: "HTTP acquire+release, 64 connections, " + who, Against: "constant-JSON fasthttp handler",
			Measured: cells.Of(all, name, who, rateToConstant), Goal: 0.75, Stretch: 0.9,
		}
		s.Goals = append(s.Goals, g)
	}
	return s
}
