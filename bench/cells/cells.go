// Package cells holds what is measured: cells, each of which is one contender
// under one load, measured once in every round.
//
// A machine's speed drifts. So the contenders take turns within a round, a ratio
// is taken within the round, and the ratios are condensed, not the rates.
package cells

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/goodjobtech/candado/bench/stats"
)

// Figure names one number that is measured, as the results call it. Times are
// in microseconds, unless the name says otherwise.
type Figure string

// Figures are the numbers of one round. One that does not apply is missing.
type Figures map[Figure]float64

// Set keeps a figure, if it has a value.
func (f Figures) Set(name Figure, value float64) {
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		f[name] = value
	}
}

// Get returns a figure; NaN if it is missing.
func (f Figures) Get(name Figure) float64 {
	if v, ok := f[name]; ok {
		return v
	}
	return math.NaN()
}

// Round is what is known of one contender under one load after one measurement.
type Round struct {
	Figures  Figures            `json:"figures,omitempty"`
	Commands map[string]float64 `json:"redis_commands,omitempty"` // by name, per acquisition
	Fault    string             `json:"fault,omitempty"`          // if there is one, nothing else counts
}

// Cell is one contender under one load, over all rounds.
type Cell struct {
	Contender string             `json:"contender"`
	Load      string             `json:"load"`
	Params    map[string]float64 `json:"params"` // what the load's name says, as numbers
	Rounds    []Round            `json:"rounds"`

	Summary map[Figure]stats.Summary `json:"summary,omitempty"` // none if a round has a fault
}

// Name returns load and contender.
func (c *Cell) Name() string { return c.Load + ", " + c.Contender }

// Failed reports whether any round of the cell has a fault.
func (c *Cell) Failed() bool {
	return slices.ContainsFunc(c.Rounds, func(r Round) bool { return r.Fault != "" })
}

// Summarize condenses the rounds of a cell, if it has no fault.
func (c *Cell) Summarize() {
	c.Summary = nil
	if c.Failed() || len(c.Rounds) == 0 {
		return
	}
	c.Summary = map[Figure]stats.Summary{}
	for _, r := range c.Rounds {
		for name := range r.Figures {
			c.Summary[name] = stats.Summary{} // it is in some round; condensed below
		}
	}
	for name := range c.Summary {
		values := make([]float64, len(c.Rounds))
		for i, r := range c.Rounds {
			values[i] = r.Figures.Get(name)
		}
		c.Summary[name], _ = stats.Summarize(values) // some round has a value
	}
}

// Turn is one cell's part of each round.
type Turn struct {
	Contender string
	Load      string
	Params    map[string]float64

	// Measure measures once. An error is a fault of the cell; the others go on.
	Measure func(ctx context.Context, round int) (Round, error)
}

// Take lets the cells take their turns in every round, and returns them in the
// order of the turns, not yet summarized. It returns an error only if there are
// none, or ctx has ended.
func Take(ctx context.Context, rounds int, turns []Turn, progress func(string), outcome func(Figures) string) ([]*Cell, error) {
	if len(turns) == 0 {
		return nil, errors.New("no contender of that name takes part")
	}
	cells := make([]*Cell, len(turns))
	for i, t := range turns {
		cells[i] = &Cell{Contender: t.Contender, Load: t.Load, Params: t.Params}
	}
	for round := 1; round <= rounds; round++ {
		for i, t := range turns {
			r, err := t.Measure(ctx, round)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			said := ""
			if err != nil {
				r = Round{Fault: err.Error()} // what was counted before does not count
				said = "FAILED: " + r.Fault
			} else {
				said = outcome(r.Figures)
			}
			cells[i].Rounds = append(cells[i].Rounds, r)
			progress(fmt.Sprintf("round %d/%d, %s: %s", round, rounds, cells[i].Name(), said))
		}
	}
	return cells, nil
}

// Find returns the cell of a contender under a load; nil if there is none.
func Find(all []*Cell, load, contender string) *Cell {
	for _, c := range all {
		if c.Contender == contender && c.Load == load {
			return c
		}
	}
	return nil
}

// Relate gives every cell the figure name in each round: its figure of, as a
// multiple of the base contender's under the same load in the same round. A
// round in which either has none gets none.
func Relate(all []*Cell, name, of Figure, base string) {
	for _, c := range all {
		to := Find(all, c.Load, base)
		if to == nil {
			continue
		}
		for i, r := range c.Rounds {
			if r.Fault == "" && to.Rounds[i].Fault == "" {
				r.Figures.Set(name, stats.Ratio(r.Figures.Get(of), to.Rounds[i].Figures.Get(of)))
			}
		}
	}
}

// Of returns a figure's summary under a load; nil if there is none, or a round
// of the cell has a fault.
func Of(all []*Cell, load, contender string, name Figure) *stats.Summary {
	c := Find(all, load, contender)
	if c == nil {
		return nil
	}
	s, ok := c.Summary[name]
	if !ok {
		return nil
	}
	return &s
}

// Faults returns a sentence for each fault.
func Faults(all []*Cell) []string {
	var faults []string
	for _, c := range all {
		for i, r := range c.Rounds {
			if r.Fault != "" {
				faults = append(faults, fmt.Sprintf("%s, round %d: %s", c.Name(), i+1, r.Fault))
			}
		}
	}
	return faults
}

// Loads returns the loads in their order.
func Loads(all []*Cell) []string {
	var loads []string
	for _, c := range all {
		if !slices.Contains(loads, c.Load) {
			loads = append(loads, c.Load)
		}
	}
	return loads
}

// Contenders returns the contenders in their order.
func Contenders(all []*Cell) []string {
	var names []string
	for _, c := range all {
		if !slices.Contains(names, c.Contender) {
			names = append(names, c.Contender)
		}
	}
	return names
}
