package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goodjobtech/candado/bench/report"
)

// options are the command line.
type options struct {
	plan   report.Plan
	parts  []report.Part
	root   string
	binary string
	out    string
}

func parse(args []string, all []report.Part) (o options, err error) {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	sections := flags.String("sections", strings.Join(names, ","), "sections to run, separated by commas")
	flags.BoolVar(&o.plan.Quick, "quick", false, "within two minutes: whether all works, and roughly how fast")
	flags.IntVar(&o.plan.Rounds, "rounds", 0, "rounds (default: the section's)")
	flags.DurationVar(&o.plan.Length, "length", 0, "how long each measurement lasts (default: the section's)")
	flags.DurationVar(&o.plan.Warmup, "warmup", 0, "how long before it the load is already there; with -length")
	only := flags.String("only", "", "names of contenders, separated by commas (default all)")
	clients := flags.String("clients", "", "section pairs: numbers of clients, separated by commas (default: the section's)")
	workers := flags.String("workers", "", "section handoff: numbers of workers, separated by commas (default: the section's)")
	holds := flags.String("hold", "", "section handoff: lengths of the critical section, separated by commas (default: the section's)")
	flags.StringVar(&o.root, "root", "", "candado's sources (default: found above the working directory)")
	flags.StringVar(&o.binary, "candado", "", "candado's binary (default: built from the sources)")
	flags.StringVar(&o.out, "out", "", "the report's directory (default: a new one in bench/results)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if o.parts, err = choose(all, strings.Split(*sections, ",")); err != nil {
		return o, fmt.Errorf("-sections: %w", err)
	}
	if o.plan.Clients, err = list(*clients, strconv.Atoi); err != nil {
		return o, fmt.Errorf("-clients: %w", err)
	}
	if o.plan.Workers, err = list(*workers, strconv.Atoi); err != nil {
		return o, fmt.Errorf("-workers: %w", err)
	}
	if o.plan.Holds, err = list(*holds, time.ParseDuration); err != nil {
		return o, fmt.Errorf("-hold: %w", err)
	}
	o.plan.Only, _ = list(*only, func(s string) (string, error) { return s, nil }) // it can't fail
	for _, path := range []*string{&o.root, &o.binary, &o.out} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil { // servers run elsewhere
			return o, err
		}
	}
	return o, check(o.plan)
}

func list[T any](text string, read func(string) (T, error)) ([]T, error) {
	if text == "" {
		return nil, nil
	}
	var values []T
	for part := range strings.SplitSeq(text, ",") {
		v, err := read(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// check keeps the load within what one machine takes.
func check(p report.Plan) error {
	outside := func(values []int, most int) bool {
		return slices.ContainsFunc(values, func(v int) bool { return v < 1 || v > most })
	}
	switch {
	case outside(p.Clients, 5000):
		return errors.New("-clients must be from 1 to 5000")
	case outside(p.Workers, 2000):
		return errors.New("-workers must be from 1 to 2000")
	case slices.ContainsFunc(p.Holds, func(d time.Duration) bool { return d < 0 || d > time.Second }):
		return errors.New("-hold must be from 0s to 1s")
	case p.Rounds < 0 || p.Rounds > 100:
		return errors.New("-rounds must be from 1 to 100")
	case p.Length != 0 && (p.Length < 50*time.Millisecond || p.Length > time.Minute) || p.Warmup < 0 || p.Warmup > time.Minute:
		return errors.New("-length must be from 50ms to 1m, -warmup at most 1m")
	case p.Warmup != 0 && p.Length == 0:
		return errors.New("-warmup needs -length")
	}
	return nil
}
