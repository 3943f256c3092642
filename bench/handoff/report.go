package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// column is one column of the table.
type column struct {
	head string
	text func(c *Cell) string
}

// columns are those of the table, in their order.
func columns() []column {
	return []column{
		{"contender", func(c *Cell) string { return c.Contender }},
		{"acquired/s", spread(rate, "%.0f")},
		{"×mutex", spread(ofMutex, "%.2g")},
		{"×redsync", spread(ofRedsync, "%.2f")},
		{"hand-off p50", times(handoffMedian)},
		{"p99", times(handoffP99)},
		{"to another p50", times(changeMedian)},
		{"p99", times(changeP99)},
		{"wait p50", times(waitMedian)},
		{"p99", times(waitP99)},
		{"longest", times(waitLongest)},
		{"longest/p50", shown(unfairness, func(s Summary) string { return digits(s.Median) })},
		{"again", plain(takenAgain, "%.2f")},
		{"without", plain(without, "%.0f")},
		{"Redis cmds", plain(commands, "%.1f")},
		{"scripts", plain(scripts, "%.2f")},
		{"CPU candado", plain(cpuCandado, "%.3f")},
		{"Redis", plain(cpuRedis, "%.3f")},
		{"generator", plain(cpuGenerator, "%.3f")},
	}
}

const legend = `acquired/s, ratios: median of the rounds (least–greatest); the rest: medians. Ratios are taken within a round.
hand-off: from just before a holder asks for release to the next holder's having the lock. again: the share in which that was the same worker;
to another: the rest of them.
wait: of those that ended; longest: also of those that did not. without: workers that never got the lock in the time measured.
Redis cmds, scripts: per acquisition; commands run by scripts count, a script counts as one more. CPU: seconds per 1000 acquisitions.
`

// spread shows median, least and greatest; plain only the median; times a median
// of microseconds, in fitting units. What has no value is a dash.
func spread(name Figure, format string) func(*Cell) string {
	return shown(name, func(s Summary) string {
		return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
	})
}

func plain(name Figure, format string) func(*Cell) string {
	return shown(name, func(s Summary) string { return fmt.Sprintf(format, s.Median) })
}

func times(name Figure) func(*Cell) string {
	return shown(name, func(s Summary) string { return inUnits(s.Median) })
}

func shown(name Figure, text func(Summary) string) func(*Cell) string {
	return func(c *Cell) string {
		s, ok := c.Summary[name]
		if !ok {
			return "–"
		}
		return text(s)
	}
}

// inUnits writes microseconds as people do.
func inUnits(us float64) string {
	switch {
	case us >= 1e6:
		return digits(us/1e6) + "s"
	case us >= 1e3:
		return digits(us/1e3) + "ms"
	case us >= 1:
		return digits(us) + "µs"
	}
	return digits(us*1e3) + "ns"
}

// digits writes a number with one decimal, if it is small enough for that to
// matter.
func digits(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// writeTable writes a table for each load, in the order of the cells.
func writeTable(w io.Writer, cells []*Cell) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	title := ""
	for _, c := range cells {
		if now := fmt.Sprintf("%d workers, critical section of %g ms", c.Workers, c.HoldMS); now != title {
			title = now
			var heads []string
			for _, col := range columns() {
				heads = append(heads, col.head)
			}
			_ = t.Flush() // each load has its own widths; what fails here fails again at the end
			_, _ = fmt.Fprintf(t, "\n%s\n%s\n", title, strings.Join(heads, "\t"))
		}
		_, _ = fmt.Fprintln(t, c.row())
	}
	_, _ = fmt.Fprint(t, "\n"+legend)
	return t.Flush()
}

func (c *Cell) row() string {
	if c.failed() {
		return c.Contender + "\tFAILED" + strings.Repeat("\t", len(columns())-2) // empty cells keep the others' columns aligned
	}
	var texts []string
	for _, col := range columns() {
		texts = append(texts, col.text(c))
	}
	return strings.Join(texts, "\t")
}

// writeDetails writes every figure of every cell with its least and greatest.
func writeDetails(w io.Writer, cells []*Cell) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range cells {
		_, _ = fmt.Fprintf(t, "\n%s\n", c.name())
		for i, r := range c.Rounds {
			if r.Fault != "" {
				_, _ = fmt.Fprintf(t, "  round %d FAILED: %s\n", i+1, r.Fault)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.Summary)) {
			s := c.Summary[name]
			_, _ = fmt.Fprintf(t, "  %s\t%.4g\t(%.4g–%.4g)\n", name, s.Median, s.Min, s.Max)
		}
	}
	return t.Flush()
}
