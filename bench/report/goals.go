package report

import (
	"fmt"
	"math"

	"github.com/goodjobtech/candado/bench/stats"
)

// Goal is one thing that candado is to reach, and what was measured.
type Goal struct {
	Workload string `json:"workload"`
	Against  string `json:"against"` // what the figure is a ratio to; or its unit

	// Measured is the median of the rounds, with least and greatest. Nil: it was
	// not measured, or a measurement that it needs has failed.
	Measured *stats.Summary `json:"measured,omitempty"`

	Goal    float64 `json:"goal"`
	Stretch float64 `json:"stretch"`
	AtMost  bool    `json:"at_most"` // the goal is not to be above; else not below

	// Step is what the median is rounded to before it decides, for counts that
	// something rare adds a little to. 0: it is not rounded.
	Step float64 `json:"step,omitempty"`
}

// Verdict is how a goal stands. The median decides.
func (g Goal) Verdict() string {
	switch {
	case g.Measured == nil:
		return "not measured"
	case g.reaches(g.Stretch):
		return "stretch"
	case g.reaches(g.Goal):
		return "met"
	}
	return "missed"
}

func (g Goal) reaches(bound float64) bool {
	median := g.Measured.Median
	if g.Step > 0 {
		bound, median = math.Round(bound/g.Step), math.Round(median/g.Step)
	}
	if g.AtMost {
		return median <= bound
	}
	return median >= bound
}

// GoalTable is the table that the report ends with.
func GoalTable(goals []Goal) Table {
	t := Table{
		Title: "Goals",
		Head:  []string{"workload", "against", "median", "min–max", "goal", "stretch", "verdict"},
		Note:  "Medians of the rounds decide. A ratio is taken within each round.",
	}
	for _, g := range goals {
		sign := "≥ "
		if g.AtMost {
			sign = "≤ "
		}
		median, spread := "–", "–"
		if g.Measured != nil {
			median = Digits(g.Measured.Median)
			spread = Digits(g.Measured.Min) + "–" + Digits(g.Measured.Max)
		}
		goal := sign + fmt.Sprintf("%.4g", g.Goal)
		if g.Step > 0 {
			goal += fmt.Sprintf(" (to %g)", g.Step)
		}
		t.Rows = append(t.Rows, []string{g.Workload, g.Against, median, spread,
			goal, sign + fmt.Sprintf("%.4g", g.Stretch), g.Verdict()})
	}
	return t
}
