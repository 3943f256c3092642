package cells

import (
	"fmt"

	"github.com/goodjobtech/candado/bench/plot"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/stats"
)

// Column is one column of a table of cells.
type Column struct {
	Head string
	text func(c *Cell) string
}

// none stands for a figure that does not apply.
const none = "–"

// Names is the column of the contenders.
func Names() Column {
	return Column{"contender", func(c *Cell) string { return c.Contender }}
}

// Spread shows median, least and greatest; Median only the median; Times a
// median of microseconds, in fitting units.
func Spread(head string, name Figure, format string) Column {
	return shown(head, name, func(s stats.Summary) string { return report.Spread(s, format) })
}

// Median shows only the median.
func Median(head string, name Figure, format string) Column {
	return shown(head, name, func(s stats.Summary) string { return fmt.Sprintf(format, s.Median) })
}

// Times shows a median of microseconds, in fitting units.
func Times(head string, name Figure) Column {
	return shown(head, name, func(s stats.Summary) string { return report.Micros(s.Median) })
}

func shown(head string, name Figure, text func(stats.Summary) string) Column {
	return Column{head, func(c *Cell) string {
		s, ok := c.Summary[name]
		if !ok {
			return none
		}
		return text(s)
	}}
}

// Tables returns a table for each load, in the order of the cells. A cell with a
// fault shows no number.
func Tables(all []*Cell, columns []Column, note string) []report.Table {
	var heads []string
	for _, col := range columns {
		heads = append(heads, col.Head)
	}
	var tables []report.Table
	for _, load := range Loads(all) {
		t := report.Table{Title: load, Head: heads}
		for _, c := range all {
			if c.Load == load {
				t.Rows = append(t.Rows, c.row(columns))
			}
		}
		tables = append(tables, t)
	}
	if len(tables) > 0 {
		tables[len(tables)-1].Note = note
	}
	return tables
}

func (c *Cell) row(columns []Column) []string {
	texts := make([]string, len(columns))
	for i, col := range columns {
		switch {
		case i == 0 || !c.Failed():
			texts[i] = col.text(c)
		case i == 1:
			texts[i] = "FAILED"
		}
	}
	return texts
}

// color returns the number of a contender's colour, the same in every picture.
// Those that are compared with, and never meet in a picture, share theirs.
func color(contender string) int {
	switch contender {
	case "candado embedded":
		return 2
	case "candado on Redis":
		return 3
	case "two candados on Redis", "candado on Redis (no batches)":
		return 4
	case "redsync", "direct EVALSHA":
		return 1
	case "no-op redcon", "constant fasthttp", "mutex":
		return 5
	case "redislock":
		return 6
	case "rueidislock":
		return 7
	}
	return 0
}

// Lines returns a line of a figure for each contender over a parameter of the
// loads, of those cells that keep keeps.
func Lines(all []*Cell, name Figure, over string, keep func(c *Cell) bool) []plot.Series {
	var series []plot.Series
	for _, contender := range Contenders(all) {
		s := plot.Series{Name: contender, Color: color(contender)}
		for _, c := range all {
			if v, ok := c.Summary[name]; ok && c.Contender == contender && keep(c) {
				s.Points = append(s.Points, plot.Point{X: c.Params[over], Y: v.Median, Low: v.Min, High: v.Max})
			}
		}
		if len(s.Points) > 0 {
			series = append(series, s)
		}
	}
	return series
}

// Across returns a line for each contender over several figures of the cells of
// one load: point i is figure i, and has no value if the cell does not have it.
func Across(all []*Cell, load string, names []Figure) []plot.Series {
	var series []plot.Series
	for _, contender := range Contenders(all) {
		c := Find(all, load, contender)
		if c == nil || c.Summary == nil {
			continue
		}
		s := plot.Series{Name: contender, Color: color(contender)}
		for i, name := range names {
			s.Points = append(s.Points, point(c, name, float64(i)))
		}
		series = append(series, s)
	}
	return series
}

// Beside returns bars for each contender: point i is a figure under load i.
func Beside(all []*Cell, loads []string, name Figure) []plot.Series {
	var series []plot.Series
	for _, contender := range Contenders(all) {
		s := plot.Series{Name: contender, Color: color(contender)}
		for i, load := range loads {
			s.Points = append(s.Points, point(Find(all, load, contender), name, float64(i)))
		}
		series = append(series, s)
	}
	return series
}

func point(c *Cell, name Figure, x float64) plot.Point {
	if c != nil {
		if v, ok := c.Summary[name]; ok {
			return plot.Point{X: x, Y: v.Median, Low: v.Min, High: v.Max}
		}
	}
	return plot.Point{X: x, Y: Figures(nil).Get(name)}
}
