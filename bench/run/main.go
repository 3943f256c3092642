// Command run is the benchmark of candado. It builds candado, starts what it
// needs on free loopback ports, measures section by section, stops all that it
// started, and leaves a report. See bench/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goodjobtech/candado/bench/handoff"
	"github.com/goodjobtech/candado/bench/pairs"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/scale"
	"github.com/goodjobtech/candado/bench/server"
	"github.com/goodjobtech/candado/bench/web"
	"github.com/goodjobtech/candado/bench/witness"
)

// parts returns the sections, in the order in which they run.
func parts() []report.Part {
	return []report.Part{pairs.Part(), web.Part(), handoff.Part(), scale.Part(), witness.Part()}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args, parts())
	if err != nil {
		return err
	}
	if o.root == "" {
		if o.root, err = findRoot(); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "candado-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	env := &report.Env{Root: o.root, Dir: dir, Candado: o.binary, Plan: o.plan}
	if err := build(ctx, env); err != nil {
		return err
	}
	about, err := report.Describe(ctx, env.Candado)
	if err != nil {
		return err
	}
	r := &report.Report{About: about, Plan: o.plan}
	began := time.Now()
	failed := o.measure(ctx, env, r)
	r.Took = time.Since(began)
	if len(r.Sections) == 0 {
		return failed
	}
	where := o.out
	if where == "" {
		where = filepath.Join(o.root, "bench", "results", about.Began.Format("20060102T150405Z"))
	}
	err = errors.Join(failed, r.Print(os.Stdout), r.Save(where), r.Faults())
	fmt.Printf("report: %s\n", filepath.Join(where, "report.md"))
	return err
}

// build builds what is measured.
func build(ctx context.Context, env *report.Env) (err error) {
	fmt.Fprintln(os.Stderr, "building candado")
	if env.Candado == "" {
		if env.Candado, err = server.Build(ctx, env.Root, env.Dir); err != nil {
			return err
		}
	}
	env.Ceiling, err = server.BuildCeiling(ctx, env.Root, env.Dir)
	return err
}

// measure runs the sections. It goes on after one that failed, unless ctx has
// ended.
func (o *options) measure(ctx context.Context, env *report.Env, r *report.Report) error {
	var total time.Duration
	var each []string
	for _, p := range o.parts {
		expected := p.Expected(o.plan)
		total += expected
		each = append(each, fmt.Sprintf("%s %v", p.Name, expected.Round(time.Second)))
	}
	fmt.Fprintf(os.Stderr, "about %v in all: %s\n", total.Round(time.Second), strings.Join(each, ", "))
	ctx, cancel := context.WithTimeoutCause(ctx, 2*total+time.Minute, errors.New("the benchmark took far longer than planned"))
	defer cancel()

	began := time.Now()
	var errs []error
	for _, p := range o.parts {
		env.Progress = func(line string) {
			fmt.Fprintf(os.Stderr, "%s/%s %s: %s\n", clock(time.Since(began)), clock(total), p.Name, line)
		}
		s, err := p.Run(ctx, env)
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("section %s: %w", p.Name, err))
			env.Progress("FAILED: " + err.Error())
			continue
		}
		r.Sections = append(r.Sections, s)
	}
	return errors.Join(errs...)
}

// clock writes a duration as minutes and seconds.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
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

// choose returns the sections of these names, in the order in which they run.
func choose(all []report.Part, names []string) ([]report.Part, error) {
	var chosen []report.Part
	for _, p := range all {
		if slices.Contains(names, p.Name) {
			chosen = append(chosen, p)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(p report.Part) bool { return p.Name == name }) {
			return nil, fmt.Errorf("there is no section %q", name)
		}
	}
	return chosen, nil
}
