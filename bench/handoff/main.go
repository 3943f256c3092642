// Command handoff measures one hot lock: how fast, how evenly and at what cost
// it goes from one holder to the next, by candado, by other libraries on the
// same Redis, and by a mutex. See bench/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/goodjobtech/candado/bench/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "handoff:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.root == "" {
		if o.root, err = findRoot(); err != nil {
			return err
		}
	}
	if o.results == "" {
		o.results = filepath.Join(o.root, "bench", "results")
	}
	dir, err := os.MkdirTemp("", "candado-handoff-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if o.binary == "" {
		if o.binary, err = server.Build(ctx, o.root, dir); err != nil {
			return err
		}
	}
	var f field
	defer f.close()
	if err := f.open(ctx, o.binary, dir); err != nil {
		return err
	}
	return o.compete(ctx, &f)
}

// compete runs the plan on the servers and leaves its results.
func (o *options) compete(ctx context.Context, f *field) error {
	entrants, err := o.choose(f.entrants())
	if err != nil {
		return err
	}
	about, err := describe(ctx, o, f)
	if err != nil {
		return err
	}
	expected := o.expected(len(entrants))
	fmt.Printf("%s\n%d rounds, each measurement %v; about %v in all\n", about, o.Rounds, o.Length, expected.Round(time.Second))
	ctx, cancel := context.WithTimeoutCause(ctx, 2*expected+time.Minute, errors.New("the benchmark took far longer than planned"))
	defer cancel()
	cells, err := o.plan.run(ctx, entrants, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if cells == nil {
		return err
	}
	return errors.Join(err, o.leave(about, cells))
}
