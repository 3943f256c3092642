package cells

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/goodjobtech/candado/bench/stats"
)

const speed, ratio Figure = "speed", "speed_to_base"

// cellOf returns a cell with a round for each speed; zero is a round that failed.
func cellOf(contender, load string, speeds ...float64) *Cell {
	c := &Cell{Contender: contender, Load: load, Params: map[string]float64{"clients": float64(len(load))}}
	for _, v := range speeds {
		r := Round{Figures: Figures{speed: v}}
		if v == 0 {
			r = Round{Fault: "it stood still"}
		}
		c.Rounds = append(c.Rounds, r)
	}
	return c
}

func summarized(all ...*Cell) []*Cell {
	Relate(all, ratio, speed, "base")
	for _, c := range all {
		c.Summarize()
	}
	return all
}

func TestRatiosAreTakenWithinRoundAndLoad(t *testing.T) {
	all := summarized(cellOf("base", "other", 1, 1, 1), cellOf("base", "this", 60, 40, 16), cellOf("ours", "this", 30, 10, 8))
	if got, want := *Of(all, "this", "ours", ratio), (stats.Summary{Median: 0.5, Min: 0.25, Max: 0.5}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Of(all, "other", "ours", ratio); got != nil {
		t.Errorf("a cell that is not there has the ratio %v", got)
	}
}

func TestFailedCellHasNoNumbers(t *testing.T) {
	bad := cellOf("base", "this", 123456, 0)
	all := summarized(bad, cellOf("ours", "this", 1000, 1001))
	if bad.Summary != nil || Of(all, "this", "base", speed) != nil {
		t.Errorf("a failed cell has the summary %v", bad.Summary)
	}
	if got := Of(all, "this", "ours", ratio); got == nil || got.Min != got.Max {
		t.Errorf("the ratio is %v, want only that to the round that did not fail", got)
	}
	table := Tables(all, []Column{Names(), Spread("speed", speed, "%.0f"), Median("speed", speed, "%.0f")}, "note")
	want := [][]string{{"base", "FAILED", ""}, {"ours", "1000 (1000–1001)", "1000"}}
	if len(table) != 1 || !slices.EqualFunc(table[0].Rows, want, slices.Equal) {
		t.Errorf("the table is %v", table)
	}
	if got := Faults(all); !slices.Equal(got, []string{"this, base, round 2: it stood still"}) {
		t.Errorf("the faults are %v", got)
	}
	if s := Lines(all, speed, "clients", func(*Cell) bool { return true }); len(s) != 1 || s[0].Name != "ours" {
		t.Errorf("lines are drawn of %v", s)
	}
	if s := Beside(all, []string{"this"}, speed); !math.IsNaN(s[0].Points[0].Y) || s[1].Points[0].High != 1001 {
		t.Errorf("bars are drawn of %v", s)
	}
}

func TestContendersOfAPictureHaveColoursOfTheirOwn(t *testing.T) {
	for _, picture := range [][]string{
		{"Redis SET+DEL", "direct EVALSHA", "candado embedded", "candado on Redis", "candado on Redis (no batches)", "no-op redcon"},
		{"mutex", "candado embedded", "candado on Redis", "two candados on Redis", "redsync", "redislock", "rueidislock"},
		{"constant fasthttp", "candado embedded", "candado on Redis"},
		{"Redis itself", "candado embedded", "candado on Redis"},
	} {
		seen := map[int]string{}
		for _, name := range picture {
			if other := seen[color(name)]; other != "" {
				t.Errorf("%s and %s have the same", other, name)
			}
			seen[color(name)] = name
		}
	}
}

func TestContendersTakeTurns(t *testing.T) {
	var order strings.Builder
	turn := func(name string) Turn {
		return Turn{Contender: name, Load: "load", Measure: func(_ context.Context, round int) (Round, error) {
			order.WriteString(name)
			if name == "b" && round == 2 {
				return Round{Figures: Figures{speed: 9e9}}, errors.New("a wrong reply")
			}
			return Round{Figures: Figures{speed: float64(round)}}, nil
		}}
	}
	lines := 0
	all, err := Take(t.Context(), 3, []Turn{turn("a"), turn("b"), turn("c")}, func(string) { lines++ }, func(Figures) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if got := order.String(); got != "abcabcabc" || lines != 9 {
		t.Errorf("the turns were %s, with %d lines of progress", got, lines)
	}
	summarized(all...)
	if b := Find(all, "load", "b"); !b.Failed() || b.Summary != nil || b.Rounds[1].Figures != nil {
		t.Errorf("after a wrong reply the cell is %+v", b)
	}
	if c := Of(all, "load", "c", speed); c == nil || *c != (stats.Summary{Median: 2, Min: 1, Max: 3}) {
		t.Errorf("the others have %v", c)
	}
}

func TestEndedRunReturnsNoCells(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	turns := []Turn{{Measure: func(context.Context, int) (Round, error) { cancel(); return Round{}, nil }}}
	if all, err := Take(ctx, 5, turns, func(string) {}, func(Figures) string { return "" }); all != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", all, err)
	}
}
