package scale

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
)

const (
	renewService cells.Figure = "renewing_service_percent" // of one processor, at the default TTL
	renewRedis   cells.Figure = "renewing_redis_percent"
	letGo        cells.Figure = "release_all_us"      // from the close until all are free
	letGoEach    cells.Figure = "release_all_us_each" // the same, for each
)

// defaultTTL is what a lease has whose request names no TTL.
const defaultTTL = 30 * time.Second

// enough returns a TTL for n session leases that is short, so that it can be
// waited for, and yet long enough to take and renew them all on a slow machine.
func enough(least time.Duration, n int) time.Duration {
	return max(least, (time.Duration(n) * 150 * time.Microsecond).Round(time.Second))
}

// lease is a session lease.
type lease struct {
	number int
	token  string
}

// sessions measures a server of its own with n session leases, on some
// connections. They are kept for a little longer than their TTL, so that they
// would be gone if they were not renewed.
func sessions(ctx context.Context, env *report.Env, contender string, n int, ttl time.Duration) (cells.Round, error) {
	t, err := start(ctx, env, contender)
	if err != nil {
		return cells.Round{}, err
	}
	defer t.stop()
	probes, err := gather(ctx, t.addr, senders, false)
	if err != nil {
		return cells.Round{}, err
	}
	defer probes.close()
	all, err := gather(ctx, t.addr, min(100, n), false)
	if err != nil {
		return cells.Round{}, err
	}
	defer all.close()
	f := cells.Figures{}
	leases, err := take(all, n, ttl, f)
	if err != nil {
		return cells.Round{}, err
	}
	if err := keep(ctx, t, ttl, f); err != nil {
		return cells.Round{}, err
	}
	left, err := probes.live(leases)
	if err != nil {
		return cells.Round{}, err
	}
	if len(left) != n {
		return cells.Round{}, fmt.Errorf("after their TTL %d of %d leases are live", len(left), n)
	}
	began := time.Now()
	all.close()
	took, err := probes.awaitFree(ctx, leases, began)
	f.Set(letGo, micros(took))
	f.Set(letGoEach, micros(took)/float64(n))
	return cells.Round{Figures: f}, err
}

// take acquires the leases, evenly on all connections.
func take(all crowd, n int, ttl time.Duration, f cells.Figures) ([]lease, error) {
	var mu sync.Mutex
	leases := make([]lease, 0, n)
	began := time.Now()
	px := strconv.FormatInt(ttl.Milliseconds(), 10)
	err := all.each(func(i int, one *conn) error {
		var mine []lease
		granted := func(line []byte) error {
			mine = append(mine, lease{n*i/len(all) + len(mine), string(line[min(1, len(line)):])})
			return isToken(line)
		}
		for number := n * i / len(all); number < n*(i+1)/len(all); number++ {
			one.put("LOCK.ACQUIRE", id(number), "PX", px, "SESSION")
			if one.n == pipeline || number == n*(i+1)/len(all)-1 {
				if err := one.ask(granted); err != nil {
					return err
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		leases = append(leases, mine...)
		return nil
	})
	f.Set(acquire, micros(time.Since(began))/float64(n))
	return leases, err
}

// keep lets the TTL pass, and a little more, and sees what is consumed in it. What
// renewals consume is inversely proportional to the TTL.
func keep(ctx context.Context, t *team, ttl time.Duration, f cells.Figures) error {
	length := ttl + ttl/10
	before, err := t.Usage()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(length):
	}
	after, err := t.Usage()
	if err != nil {
		return err
	}
	spent := after.Since(before)
	percent := 100 / float64(length) * float64(ttl) / float64(defaultTTL)
	f.Set(renewService, percent*float64(spent.Service))
	if t.Redis != nil {
		f.Set(renewRedis, percent*float64(spent.Redis))
	}
	return nil
}

// live returns those of the leases that are.
func (c crowd) live(leases []lease) ([]lease, error) {
	var mu sync.Mutex
	var all []lease
	err := c.each(func(i int, one *conn) error {
		var left []lease
		mine := leases[len(leases)*i/len(c) : len(leases)*(i+1)/len(c)]
		judged := 0
		right := func(line []byte) error {
			l := mine[judged]
			judged++
			switch string(line) {
			case ":1":
				left = append(left, l)
			case ":0":
			default:
				return fmt.Errorf("LOCK.CHECK answered %q", line)
			}
			return nil
		}
		for at, l := range mine {
			one.put("LOCK.CHECK", id(l.number), l.token)
			if one.n == 64 || at == len(mine)-1 {
				if err := one.ask(right); err != nil {
					return err
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, left...)
		return nil
	})
	return all, err
}

// awaitFree returns how long after that moment none of the leases was live any
// more. It looks at a few of them, so as to be no load; and at all of them once
// those are free.
func (c crowd) awaitFree(ctx context.Context, leases []lease, since time.Time) (time.Duration, error) {
	for len(leases) > 0 {
		few := make([]lease, 0, 16)
		for _, i := range some(len(leases), cap(few)) {
			few = append(few, leases[i])
		}
		took := time.Since(since)
		left, err := c[:1].live(few)
		switch {
		case err != nil:
			return 0, err
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case took > patience:
			return 0, fmt.Errorf("%v after the close leases of the sessions are live", took)
		case len(left) == 0:
			if leases, err = c.live(leases); err != nil || len(leases) == 0 {
				return took, err
			}
		default:
			time.Sleep(2 * time.Millisecond)
		}
	}
	return 0, nil
}
