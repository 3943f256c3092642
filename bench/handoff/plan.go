package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goodjobtech/candado/bench/contend"
	"github.com/goodjobtech/candado/bench/server"
)

// Cell is one entrant under one load, over all rounds.
type Cell struct {
	Contender string  `json:"contender"`
	Workers   int     `json:"workers"`
	HoldMS    float64 `json:"hold_ms"`
	Rounds    []Round `json:"rounds"`

	Summary map[Figure]Summary `json:"summary,omitempty"` // none if a round has a fault
}

// field is the servers that run for the benchmark.
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
	if f.embedded, err = server.StartCandado(ctx, binary, dir, "embedded"); err != nil {
		return err
	}
	for i := range f.upstreams {
		name := fmt.Sprintf("upstream-%d", i+1)
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
func (f *field) entrants() []*entrant {
	a, b := f.upstreams[0], f.upstreams[1]
	return []*entrant{
		{Contender: contend.Mutex()},
		{Contender: contend.Candado("candado embedded", f.embedded.Addr), candados: []*server.Process{f.embedded}},
		{Contender: contend.Candado("candado on Redis", a.Addr), candados: []*server.Process{a}, redis: f.redis},
		{Contender: contend.Candado("two candados on Redis", a.Addr, b.Addr), candados: []*server.Process{a, b}, redis: f.redis},
		{Contender: contend.Redsync(f.redis.Addr), redis: f.redis},
		{Contender: contend.Redislock(f.redis.Addr), redis: f.redis},
		{Contender: contend.Rueidislock(f.redis.Addr), redis: f.redis},
	}
}

// plan is which measurements are made.
type plan struct {
	Workers []int           `json:"workers"`
	Holds   []time.Duration `json:"holds_ns"`
	Rounds  int             `json:"rounds"`
	Length  time.Duration   `json:"length_ns"`
	Warmup  time.Duration   `json:"warmup_ns"`
}

// perMeasurement is about what each takes beyond its length and warm-up.
const perMeasurement = 200 * time.Millisecond

// expected returns about how long the plan takes.
func (p plan) expected(entrants int) time.Duration {
	return time.Duration(p.Rounds*len(p.Workers)*len(p.Holds)*entrants) * (p.Warmup + p.Length + perMeasurement)
}

// run makes the measurements: within a round, and for each load, the entrants
// take turns, so that each is compared with what the others did just before and
// after. A fault is noted in its cell, and the others go on.
func (p plan) run(ctx context.Context, entrants []*entrant, progress func(string)) ([]*Cell, error) {
	var cells []*Cell
	for round := 1; round <= p.Rounds; round++ {
		place := 0
		for _, workers := range p.Workers {
			for _, hold := range p.Holds {
				for _, e := range entrants {
					if round == 1 {
						cells = append(cells, &Cell{Contender: e.Name, Workers: workers, HoldMS: hold.Seconds() * 1000})
					}
					c := cells[place]
					place++
					id := fmt.Sprintf("handoff:%d:%d", round, place) // a fresh lock: nothing is left of the last measurement
					r, err := e.measure(ctx, id, load{workers, hold}, p.Warmup, p.Length)
					if ctx.Err() != nil {
						return nil, context.Cause(ctx)
					}
					if err != nil {
						r.Fault = err.Error()
					}
					c.Rounds = append(c.Rounds, r)
					progress(fmt.Sprintf("round %d/%d, %s: %s", round, p.Rounds, c.name(), r.outcome()))
				}
			}
		}
	}
	compare(cells)
	return cells, faults(cells)
}

func (c *Cell) name() string {
	return fmt.Sprintf("%d workers, %g ms, %s", c.Workers, c.HoldMS, c.Contender)
}

func (r Round) outcome() string {
	if r.Fault != "" {
		return "FAILED: " + r.Fault
	}
	return fmt.Sprintf("%.0f/s, longest wait %s", r.Figures[rate], inUnits(r.Figures[waitLongest]))
}

// failed reports whether any round of the cell has a fault.
func (c *Cell) failed() bool {
	return slices.ContainsFunc(c.Rounds, func(r Round) bool { return r.Fault != "" })
}

// faults returns an error if a cell failed.
func faults(cells []*Cell) error {
	var errs []error
	for _, c := range cells {
		for i, r := range c.Rounds {
			if r.Fault != "" {
				errs = append(errs, fmt.Errorf("%s, round %d: %s", c.name(), i+1, r.Fault))
			}
		}
	}
	return errors.Join(errs...)
}
