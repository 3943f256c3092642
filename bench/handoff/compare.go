package main

import (
	"github.com/goodjobtech/candado/bench/stats"
)

// Summary is a figure over the rounds: median, least, greatest.
type Summary = stats.Summary

// compare adds to each round its ratios to the mutex and to redsync in that
// round, and to each cell without faults its summary.
func compare(cells []*Cell) {
	for _, c := range cells {
		for i, r := range c.Rounds {
			if r.Fault != "" {
				continue
			}
			r.Figures.set(ofMutex, ratio(r, find(cells, c, "mutex"), i))
			r.Figures.set(ofRedsync, ratio(r, find(cells, c, "redsync"), i))
		}
		c.summarize()
	}
}

// find returns the cell of another contender under the same load; nil if it did
// not take part.
func find(cells []*Cell, like *Cell, contender string) *Cell {
	for _, c := range cells {
		if c.Contender == contender && c.Workers == like.Workers && c.HoldMS == like.HoldMS {
			return c
		}
	}
	return nil
}

// ratio returns the rate in a round as a multiple of another cell's in the same
// round; NaN if that one has none.
func ratio(r Round, to *Cell, round int) float64 {
	if to == nil {
		return stats.Ratio(r.Figures[rate], 0)
	}
	return stats.Ratio(r.Figures[rate], to.Rounds[round].Figures[rate])
}

// summarize condenses the rounds of a cell.
func (c *Cell) summarize() {
	if c.failed() {
		return
	}
	c.Summary = map[Figure]Summary{}
	for name := range c.Rounds[0].Figures {
		values := make([]float64, len(c.Rounds))
		for i, r := range c.Rounds {
			values[i] = r.Figures.get(name)
		}
		if s, ok := stats.Summarize(values); ok {
			c.Summary[name] = s
		}
	}
}
