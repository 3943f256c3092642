package handoff

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/contend"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/server"
)

// The names of the contenders that others are compared with, or that have goals.
const (
	mutex    = "mutex"
	redsync  = "redsync"
	embedded = "candado embedded"
	onRedis  = "candado on Redis"
	short    = "candado on Redis (4 s leases)"
)

// field is the servers that run for the section.
type field struct {
	redis     *server.Redis
	embedded  *server.Process
	upstreams [2]*server.Process
}

// open starts the servers. Close the field, also after an error.
func (f *field) open(ctx context.Context, binary, dir string) (err error) {
	if f.redis, err = server.StartRedis(ctx, dir); err != nil {
		return err
	}
	if f.embedded, err = server.StartCandado(ctx, binary, dir, "handoff-embedded"); err != nil {
		return err
	}
	for i := range f.upstreams {
		name := fmt.Sprintf("handoff-upstream-%d", i+1)
		if f.upstreams[i], err = server.StartCandado(ctx, binary, dir, name, "--upstream", "redis://"+f.redis.Addr); err != nil {
			return err
		}
	}
	return nil
}

// close stops what has been started; the candados first, as they use Redis.
func (f *field) close() {
	for _, p := range []*server.Process{f.embedded, f.upstreams[0], f.upstreams[1]} {
		if p != nil {
			p.Stop()
		}
	}
	if f.redis != nil {
		f.redis.Stop()
	}
}

// entrants returns who takes part, in the order of their turns.
func (f *field) entrants(p report.Plan) []*entrant {
	a, b := f.upstreams[0], f.upstreams[1]
	all := []*entrant{
		{Contender: contend.Mutex()},
		{Contender: contend.Candado(embedded, contend.DefaultTTL, f.embedded.Addr), candados: []*server.Process{f.embedded}},
		{Contender: contend.Candado(onRedis, contend.DefaultTTL, a.Addr), candados: []*server.Process{a}, redis: f.redis},
		{Contender: contend.Candado(short, 4*time.Second, a.Addr), candados: []*server.Process{a}, redis: f.redis},
		{Contender: contend.Candado("two candados on Redis", contend.DefaultTTL, a.Addr, b.Addr), candados: []*server.Process{a, b}, redis: f.redis},
		{Contender: contend.Redsync(f.redis.Addr), redis: f.redis},
		{Contender: contend.Redislock(f.redis.Addr), redis: f.redis},
		{Contender: contend.Rueidislock(f.redis.Addr), redis: f.redis},
	}
	return slices.DeleteFunc(all, func(e *entrant) bool { return !slices.Contains(p.Only, e.Name) })
}

// everybody are the names of all contenders; those that have goals, or that
// goals are measured by, are enough for a quick run.
var (
	everybody = []string{mutex, embedded, onRedis, short, "two candados on Redis", redsync, "redislock", "rueidislock"}
	essential = []string{mutex, embedded, onRedis, redsync}
)

// Part is the section.
func Part() report.Part {
	return report.Part{Name: "handoff", Expected: expected, Run: run}
}

// plan completes what the harness has left open.
func plan(p report.Plan) report.Plan {
	rounds, length, warmup := 5, 1200*time.Millisecond, 200*time.Millisecond
	who, holds := everybody, []time.Duration{0, time.Millisecond}
	if p.Quick {
		rounds, length, warmup = 3, 600*time.Millisecond, 100*time.Millisecond
		who, holds = essential, []time.Duration{time.Millisecond}
	}
	if p.Length == 0 {
		p.Length, p.Warmup = length, warmup
	}
	if p.Rounds == 0 {
		p.Rounds = rounds
	}
	if len(p.Only) == 0 {
		p.Only = who
	}
	if len(p.Workers) == 0 {
		p.Workers = []int{32, 256}
	}
	if len(p.Holds) == 0 {
		p.Holds = holds
	}
	return p
}

// perMeasurement is about what each takes beyond its length and warm-up.
const perMeasurement = 200 * time.Millisecond

// length returns how long to measure a contender. A wait that has not ended is
// no longer than the measurement: to tell whether redsync's longest is so many
// times a queue's, the measurement has to be longer than that. The mutex is
// compared by nothing but its rate.
func length(p report.Plan, contender string, l load) time.Duration {
	if p.Quick || contender == mutex {
		return p.Length
	}
	turn := l.hold + l.hold/2 // with what a hand-off takes
	return max(p.Length, stretchShorter*time.Duration(l.workers)*turn)
}

func expected(p report.Plan) time.Duration {
	p = plan(p)
	total := time.Second
	for _, workers := range p.Workers {
		for _, hold := range p.Holds {
			for _, who := range p.Only {
				total += time.Duration(p.Rounds) * (p.Warmup + length(p, who, load{workers, hold}) + perMeasurement)
			}
		}
	}
	return total
}

func run(ctx context.Context, env *report.Env) (*report.Section, error) {
	var f field
	defer f.close()
	if err := f.open(ctx, env.Candado, env.Dir); err != nil {
		return nil, err
	}
	p := plan(env.Plan)
	entrants := f.entrants(p)
	var turns []cells.Turn
	for _, workers := range p.Workers {
		for _, hold := range p.Holds {
			for _, e := range entrants {
				l := load{workers, hold}
				turns = append(turns, cells.Turn{
					Contender: e.Name, Load: l.name(),
					Params: map[string]float64{"workers": float64(workers), "hold_ms": hold.Seconds() * 1000},
					Measure: func(ctx context.Context, round int) (Round, error) {
						id := fmt.Sprintf("handoff:%d:%d:%v:%s", round, workers, hold, e.Name) // a fresh lock: nothing is left of the last measurement
						return e.measure(ctx, id, l, p.Warmup, length(p, e.Name, l))
					},
				})
			}
		}
	}
	all, err := cells.Take(ctx, p.Rounds, turns, env.Progress, outcome)
	if err != nil {
		return nil, err
	}
	relate(all)
	return section(all, p), nil
}

func (l load) name() string {
	return fmt.Sprintf("%d workers, critical section of %g ms", l.workers, l.hold.Seconds()*1000)
}

func outcome(f Figures) string {
	return fmt.Sprintf("%.0f/s, longest wait %s", f[rate], report.Micros(f[waitLongest]))
}

// relate adds the ratios to all rounds, and condenses them.
func relate(all []*cells.Cell) {
	cells.Relate(all, ofMutex, rate, mutex)
	cells.Relate(all, ofRedsync, rate, redsync)
	cells.Relate(all, shorter, waitLongest, redsync)
	for _, c := range all {
		for _, r := range c.Rounds {
			if v, ok := r.Figures[shorter]; ok {
				r.Figures[shorter] = 1 / v // it is this wait to redsync's so far
			}
		}
		c.Summarize()
	}
}
