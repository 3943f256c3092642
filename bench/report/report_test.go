package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goodjobtech/candado/bench/stats"
)

func measured(median float64) *stats.Summary {
	return &stats.Summary{Median: median, Min: median / 2, Max: median * 2}
}

func TestVerdictsGoByTheMedian(t *testing.T) {
	for _, c := range []struct {
		goal Goal
		want string
	}{
		{Goal{Measured: measured(0.74), Goal: 0.75, Stretch: 0.9}, "missed"},
		{Goal{Measured: measured(0.75), Goal: 0.75, Stretch: 0.9}, "met"},
		{Goal{Measured: measured(0.9), Goal: 0.75, Stretch: 0.9}, "stretch"},
		{Goal{Measured: measured(2.1), Goal: 2, Stretch: 1.5, AtMost: true}, "missed"},
		{Goal{Measured: measured(2), Goal: 2, Stretch: 1.5, AtMost: true}, "met"},
		{Goal{Measured: measured(1.5), Goal: 2, Stretch: 1.5, AtMost: true}, "stretch"},
		{Goal{Measured: measured(8.04), Goal: 8, Stretch: 4, AtMost: true}, "missed"},
		{Goal{Measured: measured(8.04), Goal: 8, Stretch: 4, AtMost: true, Step: 0.1}, "met"},
		{Goal{Measured: measured(8.06), Goal: 8, Stretch: 4, AtMost: true, Step: 0.1}, "missed"},
		{Goal{Goal: 2, Stretch: 1.5, AtMost: true}, "not measured"},
	} {
		if got := c.goal.Verdict(); got != c.want {
			t.Errorf("%+v, %+v: %q, want %q", c.goal, c.goal.Measured, got, c.want)
		}
	}
}

func sample() *Report {
	return &Report{Sections: []*Section{{
		Name: "pairs", Title: "Pairs", Text: "What *was* measured.",
		Tables: []Table{{Title: "a|b", Head: []string{"who", "rate"}, Rows: [][]string{{"x|y_z*", "1 (1–2)"}, {"broken", "FAILED"}}, Note: "so_so"}},
		Plots:  []Plot{{Name: "rate", Caption: "The rate", SVG: []byte("<svg/>")}},
		Goals: []Goal{
			{Workload: "all", Against: "one", Measured: measured(0.8), Goal: 0.75, Stretch: 0.9},
			{Workload: "count", Against: "none", Measured: measured(8.04), Goal: 8, Stretch: 4, AtMost: true, Step: 0.1},
		},
		Faults: []string{"it | lied"},
		Data:   map[string]int{"n": 1},
	}}}
}

func TestReportIsSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "one")
	if err := sample().Save(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n## Pairs\n", "What *was* measured.", `### a\|b`, `| x\|y\_z\* | 1 (1–2) |`, "| broken | FAILED |", "![The rate](pairs-rate.svg)",
		`**FAILED:** it \| lied`, "1 measurements FAILED", "| all | one | 0.80 | 0.40–1.60 | ≥ 0.75 | ≥ 0.9 | met |",
		"| count | none | 8.04 | 4.02–16.1 | ≤ 8 (to 0.1) | ≤ 4 | met |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "pairs-rate.svg")); err != nil || string(svg) != "<svg/>" {
		t.Errorf("the plot is %q, %v", svg, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ Sections []struct{ Goals []Goal } }
	if err := json.Unmarshal(data, &back); err != nil || back.Sections[0].Goals[0].Measured.Max != 1.6 {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func TestOnlyPlotsOfAnOlderReportAreRemoved(t *testing.T) {
	dir := t.TempDir()
	left := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	if err := os.WriteFile(filepath.Join(dir, "old.svg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for round, want := range []bool{true, false} { // at first nothing says that it is a report's
		if err := sample().Save(dir); err != nil {
			t.Fatal(err)
		}
		if left("old.svg") != want || !left("pairs-rate.svg") {
			t.Errorf("after saving %d times: old %v, new %v", round+1, left("old.svg"), left("pairs-rate.svg"))
		}
	}
}

func TestTerminalGetsTablesFaultsAndGoals(t *testing.T) {
	var out strings.Builder
	r := sample()
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"who     rate\nx|y_z*  1 (1–2)\nbroken  FAILED\nso_so\n", "FAILED: it | lied\n", "Goals\n", "met\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
	if err := r.Faults(); err == nil || err.Error() != "pairs: it | lied" {
		t.Errorf("the run's error is %v", err)
	}
}

func TestNumbersHaveFittingUnits(t *testing.T) {
	for us, want := range map[float64]string{0: "0.0ns", 0.0421: "42ns", 1: "1.0µs", 14.4: "14µs", 999: "999µs", 1234: "1.2ms", 45_600: "46ms", 1_050_000: "1.1s"} {
		if got := Micros(us); got != want {
			t.Errorf("%v µs is %s, want %s", us, got, want)
		}
	}
	for v, want := range map[float64]string{0.756: "0.76", 9.99: "9.99", 14.44: "14.4", 123.4: "123"} {
		if got := Digits(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
