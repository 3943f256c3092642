package pairs

import (
	"fmt"
	"strings"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/load"
	"github.com/goodjobtech/candado/bench/plot"
	"github.com/goodjobtech/candado/bench/report"
)

const text = `Each client has one connection and locks of its own. It acquires and releases them one after the other, so nobody waits for a lock.
Every reply is checked: a token above the last one of that lock, then a 1. An operation is one command, so a pair is two.
With pipeline 16, eight pairs are sent in one write, and the latency is that of all sixteen replies.

- **Redis SET+DEL**: ` + "`SET … NX PX` and `DEL`" + `, what a lock without tokens, owners and queue costs.
- **direct EVALSHA**: candado's own scripts, called by the generator without a candado between.
- **candado embedded**, **on Redis**, and on Redis **without batches**: the service, on the same Redis as the two above.
- **no-op redcon**: a server on the same library as candado that answers constants: the ceiling of any service built on that.

Rates, ratios: median of the rounds (least–greatest). The rest are medians. Processor time is in µs per operation: of candado (or the no-op server), of Redis, of the generator.
The generator runs on the same machine, and takes its share of the processors from all alike.`

// section makes the results of the cells.
func section(all []*cells.Cell, shapes []shape, p report.Plan, without []string) *report.Section {
	s := &report.Section{
		Name: "pairs", Title: "Throughput and latency on free locks", Text: text,
		Goals: goals(all), Faults: cells.Faults(all),
		Data: struct {
			Plan    report.Plan   `json:"plan"`
			Without []string      `json:"without,omitempty"`
			Cells   []*cells.Cell `json:"cells"`
		}{p, without, all},
	}
	columns := append([]cells.Column{
		cells.Names(),
		cells.Spread("operations/s", load.Rate, "%.0f"),
		cells.Spread("×SET+DEL", rateToPlain, "%.2f"),
		cells.Spread("×EVALSHA", rateToScripts, "%.2f"),
	}, load.Columns()...)
	note := fmt.Sprintf("%d rounds, each measurement %v after %v of warm-up.", p.Rounds, p.Length, p.Warmup)
	if len(without) > 0 {
		note += " Not measured: " + strings.Join(without, "; ") + "."
	}
	s.Tables = cells.Tables(all, columns, note)
	s.Plots = plots(all, shapes)
	return s
}

func plots(all []*cells.Cell, shapes []shape) []report.Plot {
	flat := func(c *cells.Cell) bool { return c.Params["pipeline"] == 1 }
	var deep []string
	var groups []string
	for _, s := range shapes {
		if s.pipeline > 1 {
			deep, groups = append(deep, s.name()), append(groups, s.name())
		}
	}
	lines := func(title, label string, figure cells.Figure) plot.Lines {
		return plot.Lines{Title: title, XLabel: "clients", YLabel: label, LogX: true, Series: cells.Lines(all, figure, "clients", flat)}
	}
	tail := lines("99th percentile of latency, pipeline 1", "latency", load.P99)
	tail.LogY, tail.Format = true, report.Micros
	pictures := []report.Plot{
		{Name: "throughput", Caption: "Operations per second over the number of clients, pipeline 1. The band runs from the least to the greatest of the rounds.",
			SVG: lines("Throughput, pipeline 1", "operations per second", load.Rate).SVG()},
		{Name: "ratio-set-del", Caption: "The same, as a ratio to SET+DEL within each round.",
			SVG: lines("Throughput as a ratio to Redis SET NX PX + DEL, pipeline 1", "ratio", rateToPlain).SVG()},
		{Name: "ratio-evalsha", Caption: "The same, as a ratio to candado's scripts by direct EVALSHA within each round.",
			SVG: lines("Throughput as a ratio to direct EVALSHA, pipeline 1", "ratio", rateToScripts).SVG()},
		{Name: "p99", Caption: "99th percentile of latency over the number of clients, pipeline 1.",
			SVG: tail.SVG()},
		{Name: "pipeline", Caption: "Operations per second with pipeline 16.",
			SVG: plot.Bars{Title: "Throughput, pipeline 16", YLabel: "operations per second", Groups: groups, Series: cells.Beside(all, deep, load.Rate)}.SVG()},
	}
	for _, s := range shapes {
		if s.clients == 50 {
			pictures = append(pictures, report.Plot{
				Name:    fmt.Sprintf("latency-c50-p%d", s.pipeline),
				Caption: "Percentiles of latency, " + s.name() + ".",
				SVG: plot.Lines{
					Title: "Latency, " + s.name(), XLabel: "percentile", YLabel: "latency", LogY: true, Format: report.Micros,
					XNames: load.PercentileNames, Series: cells.Across(all, s.name(), load.Percentiles),
				}.SVG(),
			})
		}
	}
	return pictures
}

// goals are those of CPU-bound throughput and of latency.
func goals(all []*cells.Cell) []report.Goal {
	const plainly, directly = "Redis SET NX PX + DEL", "direct EVALSHA of the same scripts"
	goal := func(name string, s shape, against string, figure cells.Figure, least, stretch float64) report.Goal {
		short := strings.TrimPrefix(name, "candado ")
		return report.Goal{
			Workload: fmt.Sprintf("%s, P=%d, c=%d", short, s.pipeline, s.clients), Against: against,
			Measured: cells.Of(all, s.name(), name, figure), Goal: least, Stretch: stretch,
		}
	}
	list := []report.Goal{
		goal(embedded, shape{50, 1}, plainly, rateToPlain, 0.75, 0.85),
		goal(embedded, shape{1000, 1}, plainly, rateToPlain, 0.90, 1),
		goal(embedded, shape{50, 16}, plainly, rateToPlain, 0.85, 1),
		goal(embedded, shape{50, 16}, directly, rateToScripts, 2.5, 3),
		goal(onRedis, shape{1, 1}, directly, rateToScripts, 0.5, 0.6),
		goal(onRedis, shape{10, 1}, directly, rateToScripts, 0.4, 0.5),
		goal(onRedis, shape{50, 1}, directly, rateToScripts, 0.6, 0.7),
		goal(onRedis, shape{200, 1}, directly, rateToScripts, 0.75, 0.9),
		goal(onRedis, shape{1000, 1}, directly, rateToScripts, 0.95, 1.1),
		goal(onRedis, shape{50, 16}, directly, rateToScripts, 1.2, 1.5),
		goal(onRedis, shape{1, 16}, directly, rateToScripts, 0.6, 0.8),
	}
	for _, g := range []report.Goal{
		goal(embedded, shape{50, 1}, "p99 of direct EVALSHA", p99ToScripts, 1.2, 1),
		goal(onRedis, shape{50, 1}, "p99 of direct EVALSHA", p99ToScripts, 2, 1.5),
	} {
		g.Workload, g.AtMost = "p99: "+g.Workload, true
		list = append(list, g)
	}
	return list
}
