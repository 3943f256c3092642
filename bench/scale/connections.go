package scale

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
)

// operation is the time between two replies, of all connections together.
const operation cells.Figure = "operation_us"

// working is how many of the connections do something.
const working = 10

// connections measures a server of its own with n connections, all but a few of
// which are idle.
func connections(ctx context.Context, env *report.Env, contender string, n int, length time.Duration) (cells.Round, error) {
	t, err := start(ctx, env, contender)
	if err != nil {
		return cells.Round{}, err
	}
	defer t.stop()
	if contender == plain {
		if err := admit(ctx, t.addr, n); err != nil {
			return cells.Round{}, err
		}
	}
	before, err := resident(t.front())
	if err != nil {
		return cells.Round{}, err
	}
	all, err := gather(ctx, t.addr, n, true)
	if err != nil {
		return cells.Round{}, err
	}
	defer all.close()
	for _, one := range all { // each has been of use once
		if err := one.do(is("+PONG"), "PING"); err != nil {
			return cells.Round{}, err
		}
	}
	after, err := resident(t.front())
	if err != nil {
		return cells.Round{}, err
	}
	f := cells.Figures{}
	if grown := after - before; grown >= tooFew {
		f.Set(rss, grown/float64(n))
	}
	return cells.Round{Figures: f}, work(t, all[:min(working, n)], verbsOf(contender), length, f)
}

// admit has Redis take so many connections, and some more. By itself it takes
// 10,000.
func admit(ctx context.Context, addr string, n int) error {
	c, err := dial(ctx, addr, true)
	if err != nil {
		return err
	}
	defer c.close()
	return c.do(is("+OK"), "CONFIG", "SET", "maxclients", strconv.Itoa(n+100))
}

// work acquires and releases on each connection a lock of its own, again and
// again, one command at a time.
func work(t *team, some crowd, v verbs, length time.Duration, f cells.Figures) error {
	before, err := t.Usage()
	if err != nil {
		return err
	}
	var operations atomic.Int64
	began := time.Now()
	err = some.each(func(i int, one *conn) error {
		n := 0
		for time.Since(began) < length {
			if err := one.do(v.granted, v.acquire(i)...); err != nil {
				return fmt.Errorf("acquiring: %w", err)
			}
			if err := one.do(v.released, v.release(i)...); err != nil {
				return fmt.Errorf("releasing: %w", err)
			}
			n += 2
		}
		operations.Add(int64(n))
		return nil
	})
	if err != nil {
		return err
	}
	n := float64(operations.Load())
	f.Set(operation, micros(time.Since(began))/n)
	return t.processors(f, before, n)
}
