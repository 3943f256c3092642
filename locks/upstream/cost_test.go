package upstream_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// What a contended acquisition costs the server, counted in commands: counts are
// the same on a slow machine.

func TestContendedAcquisitionTakesFewCommands(t *testing.T) {
	for _, c := range []struct {
		name     string
		owned    bool
		ttl      time.Duration
		commands float64 // inside the scripts
		beside   float64 // confirms, which are in no script
	}{
		{"anonymous", false, 30 * time.Second, 8, 1},
		{"owned", true, 30 * time.Second, 10, 1},
		{"anonymous, short", false, 4 * time.Second, 9, 0},
		{"owned, short", true, 4 * time.Second, 11, 0},
	} {
		for _, contenders := range []int{2, 32, 256} {
			t.Run(fmt.Sprintf("%s, %d", c.name, contenders), func(t *testing.T) {
				s := redistest.Start(t)
				e := open(t, s.URL(), 0)
				contend(t, e, contenders, 300, c.owned, c.ttl) // the scripts are loaded, and the subscription is there
				before, began := commands(t, s), time.Now()
				n := float64(contend(t, e, contenders, 2000, c.owned, c.ttl))
				after, seconds := commands(t, s), time.Since(began).Seconds()
				count := func(names ...string) (sum float64) {
					for _, name := range names {
						sum += float64(after[name] - before[name])
					}
					return sum
				}
				all := 0.0
				for name := range after {
					all += count(name)
				}
				scripts := count("evalsha", "eval")
				beside := c.beside * min(count("zrem"), n)
				inside := all - scripts - beside - count("info", "ping", "hello", "client|setname", "client|setinfo", "config|get")
				// The first of each round find no queue, and who tends asks for more.
				slack := 40*(seconds+1) + 6*float64(contenders)
				t.Logf("%.2f commands in %.2f scripts, and %.2f beside, in %.1f s", inside/n, scripts/n, beside/n, seconds)
				if inside > c.commands*n+slack || scripts > 2*n+slack/10 || beside < 0.9*c.beside*n {
					t.Errorf("%.2f commands in %.2f scripts for each acquisition, want %v in 2", inside/n, scripts/n, c.commands)
					for name := range after {
						if d := count(name); d > 0 {
							t.Logf("%s: %.3f", name, d/n)
						}
					}
				}
			})
		}
	}
}

// contend lets contenders pass a lock around so many times. Each holds it until
// all others wait, so that each acquisition is a hand-over. It returns how often
// that was.
func contend(t *testing.T, e *upstream.Engine, contenders, times int, owned bool, ttl time.Duration) int {
	t.Helper()
	var left, done atomic.Int64
	left.Store(int64(times))
	var all sync.WaitGroup
	for i := range contenders {
		owner := ""
		if owned {
			owner = strconv.Itoa(i)
		}
		all.Go(func() {
			for {
				lease, err := e.Acquire(context.Background(), locks.AcquireRequest{
					ID: "hot", Owner: locks.Owner(owner), TTL: ttl, Wait: locks.Forever,
				})
				if err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
				last := left.Add(-1) <= 0
				for !last && e.Waiting("hot") < contenders-1 {
					time.Sleep(20 * time.Microsecond)
				}
				releaseToken(t, e, "hot", lease.Token)
				if last {
					return
				}
			}
		})
	}
	all.Wait()
	return int(done.Load())
}

// commands returns how often the server has run each command.
func commands(t *testing.T, s *redistest.Server) map[string]int {
	t.Helper()
	all := map[string]int{}
	for line := range strings.Lines(raw(t, s.Addr).Info(context.Background(), "commandstats").Val()) {
		if name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls="); ok {
			number, _, _ := strings.Cut(rest, ",")
			all[name], _ = strconv.Atoi(number)
		}
	}
	return all
}
