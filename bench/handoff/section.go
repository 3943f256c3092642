package handoff

import (
	"fmt"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/plot"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/stats"
)

const text = `Workers do nothing but acquire the same lock, hold it (asleep), and release it.
**mutex** is a ` + "`sync.Mutex`" + ` in the generator: the ceiling. The other libraries run inside the generator and speak to Redis directly; a candado is one more process and one more hop.

- **acquired/s** of a lock that is not fair is mostly one worker taking it again at once. **again** is the share of acquisitions by the worker who had just released,
  **without** the number of workers that never got the lock in the time measured.
- **hand-off** runs from just before a holder asks for release until the next holder has the lock; **to another** leaves out those who took it again.
- **wait p50, p99** are of waits that ended; **longest** includes those that had not ended. **longest/p50** is the measure of fairness.
- **Redis cmds** counts what scripts run, too, and a script as one more; **in scripts** only what they run. **CPU** is in seconds per 1000 acquisitions.

Rates, ratios: median of the rounds (least–greatest). The rest are medians.`

// columns are those of the tables, in their order.
func columns() []cells.Column {
	return []cells.Column{
		cells.Names(),
		cells.Spread("acquired/s", rate, "%.0f"),
		cells.Spread("×mutex", ofMutex, "%.2g"),
		cells.Spread("×redsync", ofRedsync, "%.2f"),
		cells.Times("hand-off p50", handoffMedian),
		cells.Times("p99", handoffP99),
		cells.Times("to another p50", changeMedian),
		cells.Times("p99", changeP99),
		cells.Times("wait p50", waitMedian),
		cells.Times("p99", waitP99),
		cells.Times("longest", waitLongest),
		cells.Spread("longest/p50", unfairness, "%.1f"),
		cells.Median("again", takenAgain, "%.2f"),
		cells.Median("without", without, "%.0f"),
		cells.Median("Redis cmds", commands, "%.1f"),
		cells.Median("in scripts", inside, "%.1f"),
		cells.Median("scripts", scripts, "%.2f"),
		cells.Median("CPU candado", cpuCandado, "%.3f"),
		cells.Median("Redis", cpuRedis, "%.3f"),
		cells.Median("generator", cpuGenerator, "%.3f"),
	}
}

func section(all []*cells.Cell, p report.Plan) *report.Section {
	note := fmt.Sprintf("%d rounds, each measurement %v after %v of warm-up; longer where the longest wait has to be told.", p.Rounds, p.Length, p.Warmup)
	return &report.Section{
		Name: "handoff", Title: "One hot lock", Text: text, Faults: cells.Faults(all), Goals: goals(all, p),
		Tables: cells.Tables(all, columns(), note), Plots: plots(all, p),
		Data: struct {
			Plan  report.Plan   `json:"plan"`
			Cells []*cells.Cell `json:"cells"`
		}{p, all},
	}
}

func plots(all []*cells.Cell, p report.Plan) []report.Plot {
	var pictures []report.Plot
	for _, hold := range p.Holds {
		ms := hold.Seconds() * 1000
		keep := func(c *cells.Cell) bool { return c.Params["hold_ms"] == ms }
		add := func(name, what, label string, figure Figure, log bool, format func(float64) string) {
			title := fmt.Sprintf("%s, critical section of %g ms", what, ms)
			pictures = append(pictures, report.Plot{
				Name: fmt.Sprintf("%s-hold-%gms", name, ms), Caption: title + ". The band runs from the least to the greatest of the rounds.",
				SVG: plot.Lines{
					Title: title, XLabel: "workers", YLabel: label, LogX: true, LogY: log, Format: format,
					Series: cells.Lines(all, figure, "workers", keep),
				}.SVG(),
			})
		}
		add("rate", "Hand-offs per second over those who want the lock", "acquisitions per second", rate, ms == 0, nil)
		add("longest", "Longest wait over those who want the lock", "longest wait", waitLongest, true, report.Micros)
		add("time", "Time of a hand-off from one worker to another (median)", "time", changeMedian, true, report.Micros)
	}
	return pictures
}

// How many times shorter than redsync's the longest wait is to be.
const (
	goalShorter    = 10
	stretchShorter = 25
)

// goals are those of a critical section of 1 ms.
func goals(all []*cells.Cell, p report.Plan) []report.Goal {
	var list []report.Goal
	for _, workers := range []int{32, 256} {
		hot := load{workers, time.Millisecond}
		l := hot.name()
		goal := func(who, what, against string, figure Figure, goal, stretch float64, atMost bool) {
			list = append(list, report.Goal{
				Workload: fmt.Sprintf("one hot lock, %d workers, 1 ms: %s%s", workers, what, who), Against: against,
				Measured: cells.Of(all, l, who, figure), Goal: goal, Stretch: stretch, AtMost: atMost,
			})
		}
		goal(embedded, "", "a process-local mutex", ofMutex, 0.88, 0.93, false)
		goal(onRedis, "", "a process-local mutex", ofMutex, 0.78, 0.85, false)
		for _, who := range []string{embedded, onRedis} {
			goal(who, "longest wait, ", "its median wait", unfairness, 2, 1.3, true)
			goal(who, "longest wait, ", "times shorter than redsync's", shorter, goalShorter, stretchShorter, false)
			cutOff(&list[len(list)-1], micros(p.Warmup+length(p, redsync, hot)), cells.Of(all, l, who, waitLongest), cells.Of(all, l, redsync, waitLongest))
		}
		count := func(what string, figure Figure, most, stretch float64) {
			goal(onRedis, "Redis commands per acquisition, ", what, figure, most, stretch, true)
			list[len(list)-1].Step = 0.1 // once a second the lock is tended, which is part of no acquisition
		}
		count("commands inside scripts, and one beside", inside, 8, 4)
		count("scripts", scripts, 2, 1)
	}
	return list
}

// cutOff says so in a goal if redsync's longest wait was cut off by the end of the
// measurement: then it was at least so many times as long. If that can't reach
// the goal, nothing was measured.
func cutOff(g *report.Goal, window float64, wait, redsync *stats.Summary) {
	switch {
	case wait == nil || redsync == nil:
	case window < goalShorter*wait.Median:
		g.Measured, g.Against = nil, g.Against+" (takes a longer measurement)"
	case redsync.Median > 0.95*window:
		g.Against += ", at least"
	}
}
