package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/bench/report"
)

func TestOptionsOutOfBoundsAreRefused(t *testing.T) {
	for _, args := range []string{
		"-workers=0", "-workers=32,", "-clients=9999", "-hold=2s", "-hold=1", "-rounds=101", "-length=1ms", "-warmup=1s",
		"-sections=pairs,other", "-sections=", "quick", "-only=", "-quick", "-sections=web,pairs", "-length=100ms -warmup=10ms",
	} {
		o, err := parse(strings.Fields(args), parts())
		if accepted := args == "-only=" || args == "-quick" || args == "-sections=web,pairs" || args == "-length=100ms -warmup=10ms"; (err == nil) != accepted {
			t.Errorf("%s: %+v, %v", args, o, err)
		}
	}
}

func TestQuickRunFitsIntoTwoMinutes(t *testing.T) {
	var total time.Duration
	for _, p := range parts() {
		total += p.Expected(report.Plan{Quick: true})
	}
	if total > 105*time.Second { // the rest is for building
		t.Errorf("it takes %v", total)
	}
}

func TestOtherSectionsRunAfterOneThatFailed(t *testing.T) {
	part := func(name string, err error) report.Part {
		return report.Part{
			Name: name, Expected: func(report.Plan) time.Duration { return time.Second },
			Run: func(_ context.Context, env *report.Env) (*report.Section, error) {
				env.Progress("at work")
				if err != nil {
					return nil, err
				}
				return &report.Section{Name: name}, nil
			},
		}
	}
	broken := errors.New("no server starts")
	o := options{parts: []report.Part{part("one", broken), part("two", nil)}}
	var r report.Report
	if err := o.measure(t.Context(), &report.Env{}, &r); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	if len(r.Sections) != 1 || r.Sections[0].Name != "two" {
		t.Errorf("the report has %v", r.Sections)
	}
}
