package scale

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/load"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/server"
)

// The contenders.
const (
	embedded = "candado embedded"
	onRedis  = "candado on Redis"
	plain    = "plain Redis"
)

// team is the servers of one contender, its own, and where its clients connect.
type team struct {
	server.Team
	addr string
}

// start starts a contender's servers. Stop the team.
func start(ctx context.Context, env *report.Env, contender string) (t *team, err error) {
	t = &team{}
	defer func() {
		if err != nil {
			t.stop()
		}
	}()
	var flags []string
	if contender != embedded {
		if t.Redis, err = server.StartRedis(ctx, env.Dir); err != nil {
			return t, err
		}
		t.addr, flags = t.Redis.Addr, []string{"--upstream", "redis://" + t.Redis.Addr}
	}
	if contender != plain {
		if t.Service, err = server.StartCandado(ctx, env.Candado, env.Dir, "candado", flags...); err != nil {
			return t, err
		}
		t.addr = t.Service.Addr
	}
	return t, nil
}

// stop stops what runs; candado first, as it uses Redis.
func (t *team) stop() {
	if t == nil {
		return
	}
	if t.Service != nil {
		t.Service.Stop()
	}
	if t.Redis != nil {
		t.Redis.Stop()
	}
}

// front is the process that clients connect to.
func (t *team) front() *server.Process {
	if t.Service != nil {
		return t.Service
	}
	return t.Redis.Process
}

// processors keeps in f the processor time consumed since before, for each of n
// things.
func (t *team) processors(f cells.Figures, before server.Usage, n float64) error {
	after, err := t.Usage()
	if err != nil {
		return err
	}
	spent := after.Since(before)
	if t.Service != nil {
		f.Set(load.CPUService, micros(spent.Service)/n)
	}
	if t.Redis != nil {
		f.Set(load.CPURedis, micros(spent.Redis)/n)
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// How operations are sent where the number of connections is not what is
// measured.
const (
	senders  = 16
	pipeline = 16
)

// crowd is some connections to one server.
type crowd []*conn

// gather opens n connections.
func gather(ctx context.Context, addr string, n int, small bool) (crowd, error) {
	c := make(crowd, 0, n)
	for range n {
		one, err := dial(ctx, addr, small)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("connection %d of %d: %w", len(c)+1, n, err)
		}
		c = append(c, one)
	}
	return c, nil
}

func (c crowd) close() {
	for _, one := range c {
		one.close()
	}
}

// each runs do for every connection at the same time, and returns the first
// error.
func (c crowd) each(do func(i int, one *conn) error) error {
	errs := make(chan error, len(c))
	var wg sync.WaitGroup
	for i, one := range c {
		wg.Go(func() {
			if err := do(i, one); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// spread sends a command for each of the numbers, shared out evenly over the
// connections, in pipelines. It returns the time that it took.
func (c crowd) spread(numbers []int, command func(number int) []string, right judge) (time.Duration, error) {
	began := time.Now()
	err := c.each(func(i int, one *conn) error {
		mine := numbers[len(numbers)*i/len(c) : len(numbers)*(i+1)/len(c)]
		for at, number := range mine {
			if time.Since(began) > patience {
				return fmt.Errorf("after %v only %d of %d are done", patience, at*len(c), len(numbers))
			}
			one.put(command(number)...)
			if one.n == pipeline || at == len(mine)-1 {
				if err := one.ask(right); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return time.Since(began), err
}

// id returns the ID of a numbered lock, which is 20 bytes long.
func id(number int) string {
	b := [20]byte([]byte("lock:000000000000000"))
	for at := len(b) - 1; number > 0; at-- {
		b[at] += byte(number % 10)
		number /= 10
	}
	return string(b[:])
}

// numbers returns those from a up to and without b.
func numbers(a, b int) []int {
	all := make([]int, b-a)
	for i := range all {
		all[i] = a + i
	}
	return all
}

// some returns k different numbers below n, in no order.
func some(n, k int) []int {
	if k >= n {
		return rand.Perm(n)
	}
	seen, all := make(map[int]bool, k), make([]int, 0, k)
	for len(all) < k {
		if i := rand.IntN(n); !seen[i] {
			seen[i] = true
			all = append(all, i)
		}
	}
	return all
}
