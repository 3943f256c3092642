package handoff

import (
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/stats"
)

func TestLongestWaitIsComparedTheOtherWayRound(t *testing.T) {
	l := load{32, time.Millisecond}.name()
	cell := func(who string, waits ...float64) *cells.Cell {
		c := &cells.Cell{Contender: who, Load: l, Params: map[string]float64{"workers": 32, "hold_ms": 1}}
		for _, v := range waits {
			c.Rounds = append(c.Rounds, Round{Figures: Figures{rate: 100, waitLongest: v}})
		}
		return c
	}
	all := []*cells.Cell{cell(embedded, 10, 20, 30), cell(redsync, 400, 500, 600)}
	relate(all)
	p := plan(report.Plan{})
	if got, want := all[0].Summary[shorter], (stats.Summary{Median: 25, Min: 20, Max: 40}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, g := range goals(all, p) {
		if measured := g.Measured != nil; measured != (strings.Contains(g.Workload, "32 workers, 1 ms: longest wait, candado embedded") && strings.Contains(g.Against, "redsync")) {
			t.Errorf("%s against %s is %v", g.Workload, g.Against, g.Measured)
		} else if measured && g.Verdict() != "stretch" {
			t.Errorf("25 times shorter is %q", g.Verdict())
		}
	}
	s := section(all, p)
	if len(s.Tables) != 1 || len(s.Tables[0].Rows) != 2 || len(s.Plots) != 6 {
		t.Errorf("%d tables, %d plots", len(s.Tables), len(s.Plots))
	}
}

func TestWaitThatWasCutOffIsNotCompared(t *testing.T) {
	l := load{256, time.Millisecond}.name()
	cell := func(who string, wait time.Duration) *cells.Cell {
		return &cells.Cell{Contender: who, Load: l, Rounds: []Round{{Figures: Figures{rate: 1, waitLongest: micros(wait)}}}}
	}
	all := []*cells.Cell{cell(embedded, 300*time.Millisecond), cell(redsync, 700*time.Millisecond)}
	relate(all)
	for _, p := range []report.Plan{plan(report.Plan{Quick: true}), plan(report.Plan{})} {
		for _, g := range goals(all, p) {
			if strings.HasPrefix(g.Against, "times shorter") && strings.Contains(g.Workload, "256 workers, 1 ms: longest wait, candado embedded") && (g.Measured == nil) != p.Quick {
				t.Errorf("quick %v: %s is %v", p.Quick, g.Against, g.Measured)
			}
		}
	}
}

func TestQuickPlanHasWhatTheGoalsNeed(t *testing.T) {
	p := plan(report.Plan{Quick: true})
	if got := expected(p); got > 25*time.Second {
		t.Errorf("it takes %v", got)
	}
	if len(p.Only) != 4 || p.Holds[0] != time.Millisecond {
		t.Errorf("the plan is %+v", p)
	}
}
