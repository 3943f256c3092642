// Package witness is the section that lets another program measure: Redis's own
// redis-benchmark, by bench/redis-benchmark.sh. It shares no code with the load
// generator, so it is a check on that.
package witness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/plot"
	"github.com/goodjobtech/candado/bench/report"
)

const (
	rate        cells.Figure = "requests_per_s"
	rateToRedis cells.Figure = "rate_to_redis"

	clients = 50
)

// operations and servers are what the script calls them, in its order.
var (
	operations = []string{"acquire", "heartbeat", "release"}
	servers    = map[string]string{"redis": "Redis itself", "embedded": "candado embedded", "upstream": "candado on Redis"}
)

// Part is the section.
func Part() report.Part {
	return report.Part{Name: "witness", Expected: expected, Run: run}
}

// plan returns the rounds, and the requests of each of their runs.
func plan(p report.Plan) (rounds, requests int) {
	rounds, requests = 5, 30000
	if p.Quick {
		rounds, requests = 3, 3000
	}
	if p.Rounds > 0 {
		rounds = p.Rounds
	}
	return rounds, requests
}

// expected takes a slow machine's rate, and what a run costs beside it.
func expected(p report.Plan) time.Duration {
	rounds, requests := plan(p)
	each := time.Duration(requests)*time.Second/40_000 + 150*time.Millisecond
	return time.Duration(rounds*len(operations)*len(servers))*each + 3*time.Second
}

func run(ctx context.Context, env *report.Env) (*report.Section, error) {
	rounds, requests := plan(env.Plan)
	results, csv, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = results.Close() }() // all was read, or is of no interest
	cmd := exec.CommandContext(ctx, filepath.Join(env.Root, "bench", "redis-benchmark.sh"))
	cmd.Env = append(os.Environ(), "CANDADO="+env.Candado, "CSV=/dev/fd/3",
		fmt.Sprintf("CLIENTS=%d", clients), "PIPELINE=1", fmt.Sprintf("REQUESTS=%d", requests), fmt.Sprintf("ROUNDS=%d", rounds))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// It stops its servers itself, when told to. A group of its own, so that
	// Ctrl-C reaches it only by the benchmark.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.ExtraFiles = []*os.File{csv}
	err = cmd.Start()
	_ = csv.Close() // the script has its own
	if err != nil {
		return nil, fmt.Errorf("starting redis-benchmark.sh: %w", err)
	}
	all, wrong := parse(results, func(line string) {
		env.Progress(fmt.Sprintf("of %d rounds, operation,server,round,rate,succeeded,failed: %s", rounds, line))
	})
	failed := cmd.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if wrong == nil && len(cells.Faults(all)) > 0 {
		failed = nil // it is told by the faults
	}
	if err := errors.Join(wrong, failed); err != nil {
		return nil, fmt.Errorf("redis-benchmark.sh: %w: %s", err, out.String())
	}
	return section(all, rounds, requests), nil
}

// parse reads the lines operation,server,round,rate,succeeded,failed.
func parse(r io.Reader, progress func(line string)) ([]*cells.Cell, error) {
	var all []*cells.Cell
	for lines := bufio.NewScanner(r); lines.Scan(); {
		progress(lines.Text())
		fields := strings.Split(lines.Text(), ",")
		if len(fields) != 6 || servers[fields[1]] == "" {
			return nil, fmt.Errorf("redis-benchmark.sh wrote %q", lines.Text())
		}
		c := cells.Find(all, fields[0], servers[fields[1]])
		if c == nil {
			c = &cells.Cell{Contender: servers[fields[1]], Load: fields[0], Params: map[string]float64{"clients": clients, "pipeline": 1}}
			all = append(all, c)
		}
		perSecond, err := strconv.ParseFloat(fields[3], 64)
		if err != nil {
			return nil, fmt.Errorf("redis-benchmark.sh wrote %q", lines.Text())
		}
		if round := strconv.Itoa(len(c.Rounds) + 1); fields[2] != round {
			return nil, fmt.Errorf("redis-benchmark.sh wrote %q, not of round %s", lines.Text(), round)
		}
		if fields[5] != "0" {
			c.Rounds = append(c.Rounds, cells.Round{Fault: fmt.Sprintf("only %s requests succeeded, or an earlier round failed", fields[4])})
			continue
		}
		c.Rounds = append(c.Rounds, cells.Round{Figures: cells.Figures{rate: perSecond}})
	}
	if len(all) == 0 {
		return nil, errors.New("redis-benchmark.sh wrote nothing")
	}
	cells.Relate(all, rateToRedis, rate, servers["redis"])
	for _, c := range all {
		c.Summarize()
	}
	return all, nil
}

const text = `Redis's own ` + "`redis-benchmark`" + ` measures single commands, each with its own lock: an acquire finds it free, a heartbeat and a release find it held. Redis itself
runs ` + "`SET … NX PX`, `PEXPIRE` and `DEL`" + `. The program checks no reply, so the servers' own counts do: a run counts only if each of its requests did what it is for.`

func section(all []*cells.Cell, rounds, requests int) *report.Section {
	columns := []cells.Column{
		cells.Names(), cells.Spread("requests/s", rate, "%.0f"), cells.Spread("×Redis", rateToRedis, "%.2f"),
	}
	return &report.Section{
		Name: "witness", Title: "A second witness: redis-benchmark", Text: text, Faults: cells.Faults(all),
		Tables: cells.Tables(all, columns, fmt.Sprintf("%d clients, pipeline 1, %d rounds of %d requests.", clients, rounds, requests)),
		Plots: []report.Plot{{
			Name: "throughput", Caption: "Requests per second by redis-benchmark, 50 clients, pipeline 1.",
			SVG: plot.Bars{Title: "redis-benchmark, 50 clients", YLabel: "requests per second", Groups: operations, Series: cells.Beside(all, operations, rate)}.SVG(),
		}},
		Data: struct {
			Rounds   int           `json:"rounds"`
			Requests int           `json:"requests"`
			Cells    []*cells.Cell `json:"cells"`
		}{rounds, requests, all},
	}
}
