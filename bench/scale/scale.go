// Package scale is the section that measures whether the cost of an operation,
// and of what is held, stays flat: with more held locks, connections, waiters
// and session leases, ten times as many at each step.
package scale

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
)

// Part is the section.
func Part() report.Part {
	return report.Part{Name: "scale", Expected: expected, Run: run}
}

// plan is what is measured: the decades of each part, and how often and long.
type plan struct {
	Held        []int `json:"held"`
	Connections []int `json:"connections"`
	Waiters     []int `json:"waiters"`
	Leases      []int `json:"leases"`

	Rounds      int           `json:"rounds"`
	LeaseRounds int           `json:"lease_rounds"`
	Length      time.Duration `json:"length_ns"`
	TTL         time.Duration `json:"session_ttl_ns"`
	Limited     string        `json:"limited,omitempty"` // why there are fewer connections than planned
}

func planned(p report.Plan) plan {
	s := plan{
		Held:        []int{1_000, 10_000, 100_000, 1_000_000},
		Connections: []int{10, 100, 1_000, 10_000},
		Waiters:     []int{10, 100, 1_000, 9_990}, // each on a connection, of which candado takes 10,000
		Leases:      []int{100, 1_000, 10_000, 100_000},
		Rounds:      3, LeaseRounds: 1, Length: 300 * time.Millisecond, TTL: 6 * time.Second,
	}
	if p.Quick {
		s.Held, s.Connections, s.Waiters = s.Held[:3], s.Connections[1:3], s.Waiters[1:3]
		s.Leases = s.Leases[:2]
		s.Rounds, s.Length, s.TTL = 1, 150*time.Millisecond, 1500*time.Millisecond
	}
	if p.Rounds > 0 {
		s.Rounds = p.Rounds
	}
	if p.Length > 0 {
		s.Length = p.Length
	}
	return s
}

func expected(p report.Plan) time.Duration {
	s := planned(p)
	var total time.Duration
	for _, n := range s.Held {
		total += 3*500*time.Millisecond + time.Duration(n)*30*time.Microsecond
		total += time.Duration(3*s.Rounds) * s.Length
	}
	for _, n := range append(s.Connections, s.Waiters...) {
		total += time.Duration(2*s.Rounds) * (500*time.Millisecond + time.Duration(n)*150*time.Microsecond + s.Length)
	}
	for _, n := range s.Leases {
		total += time.Duration(2*s.LeaseRounds) * (enough(s.TTL, n)*11/10 + 500*time.Millisecond + time.Duration(n)*20*time.Microsecond)
	}
	return total
}

// spare is how many files a process has open besides its connections, at most.
const spare = 200

// limit keeps the numbers of connections within what a process may have open,
// here and in the servers, which may have as many.
func (p *plan) limit() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	// Servers inherit it only if it was set here: Go gives others what it began with.
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	most := int(min(files.Max, 1<<30)) - spare
	for _, list := range [][]int{p.Connections, p.Waiters} {
		for i, n := range list {
			if n > most {
				list[i] = most
				p.Limited = fmt.Sprintf("A process may have only %d files open here: so there are at most %d connections.", files.Max, most)
			}
		}
	}
	return nil
}

func run(ctx context.Context, env *report.Env) (*report.Section, error) {
	p := planned(env.Plan)
	if err := p.limit(); err != nil {
		return nil, err
	}
	var topics []topic
	for _, t := range []topic{heldTopic(), connectionsTopic(), waitersTopic(), leasesTopic()} {
		turns, rounds, stop := t.turns(env, p)
		turns = slices.DeleteFunc(turns, func(t cells.Turn) bool {
			return len(env.Plan.Only) > 0 && !slices.Contains(env.Plan.Only, t.Contender)
		})
		if len(turns) == 0 {
			continue
		}
		all, err := cells.Take(ctx, rounds, turns, env.Progress, t.outcome)
		stop()
		if err != nil {
			return nil, err
		}
		t.cells = all
		t.condense()
		topics = append(topics, t)
	}
	if len(topics) == 0 {
		return nil, errors.New("none of the contenders is measured")
	}
	return section(p, topics), nil
}
