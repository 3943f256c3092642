package scale

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
)

const (
	handOff    cells.Figure = "hand_off_us"          // from before a release is sent until the next holder is told
	redisBytes cells.Figure = "redis_bytes_each"     // of used_memory
	enter      cells.Figure = "enter_us"             // from the first request to wait until all do, for each
	mostPasses              = 200                    // of one measurement
	onePass                 = 500                    // hand-offs, before those served wait again
	hot                     = "lock:000000000000hot" // the one lock
)

// queue is one lock, its holder, and n who wait for it.
type queue struct {
	n      int
	probe  *conn // looks how many wait
	told   chan told
	holder *waiter
	last   int // the highest token
	idle   []*waiter
}

// waiter asks for the lock each time it is told to, and then releases it when
// it is told to.
type waiter struct {
	conn    *conn
	ask     chan struct{}
	release chan struct{}
}

// told says that a waiter holds the lock, or what went wrong.
type told struct {
	who   *waiter
	token int
	err   error
}

// waiting measures a server of its own with n who wait for one lock.
func waiting(ctx context.Context, env *report.Env, contender string, n int, length time.Duration) (cells.Round, error) {
	t, err := start(ctx, env, contender)
	if err != nil {
		return cells.Round{}, err
	}
	defer t.stop()
	probe, err := dial(ctx, t.addr, false)
	if err != nil {
		return cells.Round{}, err
	}
	defer probe.close()
	before, err := footprint(ctx, t)
	if err != nil {
		return cells.Round{}, err
	}
	all, err := gather(ctx, t.addr, n+1, true)
	if err != nil {
		return cells.Round{}, err
	}
	q := &queue{n: n, probe: probe, told: make(chan told, 2*(n+1))} // so that a waiter always can leave
	for _, one := range all {
		w := &waiter{one, make(chan struct{}, 1), make(chan struct{}, 1)}
		q.idle = append(q.idle, w)
		go w.run(q.told)
		defer close(w.ask)
	}
	defer all.close() // which ends their waits
	f := cells.Figures{}
	began := time.Now()
	if err := q.refill(ctx); err != nil {
		return cells.Round{}, err
	}
	f.Set(enter, micros(time.Since(began))/float64(n))
	after, err := footprint(ctx, t)
	if err != nil {
		return cells.Round{}, err
	}
	for name := range before {
		if grown := after[name] - before[name]; grown >= tooFew {
			f.Set(name, grown/float64(n))
		}
	}
	return cells.Round{Figures: f}, q.measure(ctx, length, f)
}

// footprint returns what a team takes: candado in memory, Redis by its own
// account.
func footprint(ctx context.Context, t *team) (cells.Figures, error) {
	f := cells.Figures{}
	var err error
	if f[rss], err = resident(t.front()); err != nil {
		return nil, err
	}
	if t.Redis != nil {
		f[redisBytes], err = used(ctx, t.Redis)
	}
	return f, err
}

func (w *waiter) run(to chan<- told) {
	for range w.ask {
		token := 0
		err := w.conn.do(func(line []byte) (err error) {
			token, err = integer(line)
			return err
		}, "LOCK.ACQUIRE", hot, "PX", ttl, "BLOCK", "0")
		to <- told{w, token, err}
		if err != nil {
			return
		}
		<-w.release
		if err := w.conn.do(is(":1"), "LOCK.RELEASE", hot, fmt.Sprint(token)); err != nil {
			to <- told{w, 0, fmt.Errorf("releasing: %w", err)}
			return
		}
	}
}

// refill has those who are idle wait, the first of all as the holder, and returns
// when the lock has its n waiters. They come in groups: thousands at the same
// moment are not what is measured.
func (q *queue) refill(ctx context.Context) error {
	if q.holder == nil {
		q.idle[0].ask <- struct{}{}
		q.idle = q.idle[1:]
		if err := q.next(); err != nil {
			return err
		}
	}
	for len(q.idle) > 0 {
		some := q.idle[:min(onePass, len(q.idle))]
		q.idle = q.idle[len(some):]
		for _, w := range some {
			w.ask <- struct{}{}
		}
		if err := q.await(ctx, q.n-len(q.idle)); err != nil {
			return err
		}
	}
	return nil
}

// await returns when so many wait.
func (q *queue) await(ctx context.Context, waiters int) error {
	for began := time.Now(); ; {
		n, err := q.probe.waiters(hot)
		switch {
		case err != nil:
			return err
		case n == waiters:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Since(began) > patience:
			return fmt.Errorf("%d wait for the lock, want %d", n, waiters)
		case len(q.told) > 0:
			t := <-q.told
			return fmt.Errorf("who has to wait was told: token %d, error %w", t.token, t.err)
		}
		time.Sleep(time.Millisecond)
	}
}

// next takes in who holds the lock now.
func (q *queue) next() error {
	select {
	case t := <-q.told:
		switch {
		case t.err != nil:
			return t.err
		case t.token <= q.last:
			return fmt.Errorf("token %d follows %d", t.token, q.last)
		}
		q.holder, q.last = t.who, t.token
		return nil
	case <-time.After(patience):
		return errors.New("the lock was released, and nobody was told")
	}
}

// pass lets the lock go through the hands of k waiters.
func (q *queue) pass(k int) error {
	for range k {
		q.idle = append(q.idle, q.holder)
		q.holder.release <- struct{}{}
		if err := q.next(); err != nil {
			return err
		}
	}
	return nil
}

// measure passes the lock on, some hand-offs at a time, and each time fills the
// queue again.
func (q *queue) measure(ctx context.Context, length time.Duration, f cells.Figures) error {
	k, handed := min(onePass, q.n), 0
	var spent time.Duration
	for pass := 0; pass < mostPasses && spent < length; pass++ {
		began := time.Now()
		if err := q.pass(k); err != nil {
			return err
		}
		spent += time.Since(began)
		handed += k
		if err := q.refill(ctx); err != nil {
			return err
		}
	}
	f.Set(handOff, micros(spent)/float64(handed))
	return nil
}
