package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	plan
	only    []string
	root    string
	binary  string
	results string
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("handoff", flag.ContinueOnError)
	workers := flags.String("workers", "32,256", "numbers of workers, separated by commas")
	holds := flags.String("hold", "0s,1ms", "lengths of the critical section, separated by commas")
	rounds := flags.Int("rounds", 5, "rounds")
	length := flags.Duration("length", 2*time.Second, "how long each measurement lasts")
	warmup := flags.Duration("warmup", 200*time.Millisecond, "how long before it the workers already run")
	quick := flags.Bool("quick", false, "2 rounds of half a second each: to see whether all works, not how fast")
	only := flags.String("only", "", "names of contenders, separated by commas (default all)")
	root := flags.String("root", "", "candado's sources (default: found above the working directory)")
	binary := flags.String("candado", "", "candado's binary (default: built from the sources)")
	results := flags.String("results", "", "where results are left (default: bench/results in the sources)")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	o := options{plan: plan{Rounds: *rounds, Length: *length, Warmup: *warmup}, root: *root, binary: *binary, results: *results}
	if *quick {
		o.Rounds, o.Length, o.Warmup = 2, 500*time.Millisecond, 100*time.Millisecond
	}
	var err error
	if o.Workers, err = list(*workers, strconv.Atoi); err != nil {
		return o, fmt.Errorf("-workers: %w", err)
	}
	if o.Holds, err = list(*holds, time.ParseDuration); err != nil {
		return o, fmt.Errorf("-hold: %w", err)
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	return o, o.check()
}

func list[T any](text string, read func(string) (T, error)) ([]T, error) {
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
func (o *options) check() error {
	switch {
	case slices.Min(o.Workers) < 1 || slices.Max(o.Workers) > 2000:
		return errors.New("-workers must be from 1 to 2000")
	case slices.Min(o.Holds) < 0 || slices.Max(o.Holds) > time.Second:
		return errors.New("-hold must be from 0s to 1s")
	case o.Rounds < 1 || o.Rounds > 100:
		return errors.New("-rounds must be from 1 to 100")
	case o.Length < 100*time.Millisecond || o.Length > time.Minute || o.Warmup < 0 || o.Warmup > time.Minute:
		return errors.New("-length must be from 100ms to 1m, -warmup at most 1m")
	}
	return nil
}

// choose keeps the entrants that -only names.
func (o *options) choose(all []*entrant) ([]*entrant, error) {
	if o.only == nil {
		return all, nil
	}
	var chosen []*entrant
	for _, name := range o.only {
		i := slices.IndexFunc(all, func(e *entrant) bool { return e.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// findRoot returns the directory of candado's go.mod, above the working one.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "candado", "main.go")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("candado's sources are not above the working directory; say where by -root")
		}
		dir = filepath.Dir(dir)
	}
}
