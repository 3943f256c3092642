package main

import (
	"strings"
	"testing"
)

func cellOf(contender string, workers int, rates ...float64) *Cell {
	c := &Cell{Contender: contender, Workers: workers}
	for _, r := range rates {
		round := Round{Figures: Figures{rate: r}}
		if r == 0 {
			round = Round{Fault: "it stood still"}
		}
		c.Rounds = append(c.Rounds, round)
	}
	return c
}

func TestRatiosAreTakenWithinTheRoundAndLoad(t *testing.T) {
	ours := cellOf("candado", 32, 30, 10, 8)
	compare([]*Cell{cellOf("mutex", 256, 1, 1, 1), cellOf("mutex", 32, 60, 40, 16), cellOf("redsync", 32, 10, 20, 2), ours})
	if got, want := ours.Summary[ofMutex], (Summary{Median: 0.5, Min: 0.25, Max: 0.5}); got != want {
		t.Errorf("to the mutex: %v, want %v", got, want)
	}
	if got, want := ours.Summary[ofRedsync], (Summary{Median: 3, Min: 0.5, Max: 4}); got != want {
		t.Errorf("to redsync: %v, want %v", got, want)
	}
}

func TestFailedCellHasNoNumbers(t *testing.T) {
	good, bad := cellOf("good", 32, 1000, 1001), cellOf("redsync", 32, 123456, 0)
	cells := []*Cell{good, bad}
	compare(cells)
	if bad.Summary != nil {
		t.Errorf("a failed cell has the summary %v", bad.Summary)
	}
	if got, want := good.Summary[ofRedsync].Max, 1000.0/123456; got != want || good.Rounds[1].Figures.get(ofRedsync) == want {
		t.Errorf("ratio to the round that did not fail: %v, want %v", got, want)
	}
	var table, details strings.Builder
	if err := writeTable(&table, cells); err != nil {
		t.Fatal(err)
	}
	if err := writeDetails(&details, cells); err != nil {
		t.Fatal(err)
	}
	if s := table.String(); !strings.Contains(s, "redsync    FAILED ") || strings.Contains(s, "123456") || !strings.Contains(s, "1000 (1000–1001)") {
		t.Errorf("the table is\n%s", s)
	}
	if s := details.String(); !strings.Contains(s, "round 2 FAILED: it stood still") || strings.Contains(s, "123456") {
		t.Errorf("the details are\n%s", s)
	}
	if err := faults(cells); err == nil || !strings.Contains(err.Error(), "32 workers, 0 ms, redsync, round 2: it stood still") {
		t.Errorf("the run's error is %v", err)
	}
}

func TestTimesHaveFittingUnits(t *testing.T) {
	for us, want := range map[float64]string{0: "0.0ns", 0.0421: "42ns", 1: "1.0µs", 14.4: "14µs", 999: "999µs", 1234: "1.2ms", 45_600: "46ms", 1_050_000: "1.1s"} {
		if got := inUnits(us); got != want {
			t.Errorf("%v µs is %s, want %s", us, got, want)
		}
	}
}

func TestOptionsOutOfBoundsAreRefused(t *testing.T) {
	for _, args := range []string{"-workers=0", "-workers=32,", "-hold=2s", "-hold=1", "-rounds=0", "-length=1ms", "-only=", "-quick"} {
		o, err := parse([]string{args})
		if accepted := args == "-only=" || args == "-quick"; (err == nil) != accepted {
			t.Errorf("%s: %+v, %v", args, o, err)
		}
	}
}
