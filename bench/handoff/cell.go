package handoff

import (
	"context"
	"errors"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/contend"
	"github.com/goodjobtech/candado/bench/server"
)

// grace is how long the workers of a queue may take to get the lock once more
// and leave, after the measurement.
const grace = 5 * time.Second

// entrant is a contender together with the servers that work for it.
type entrant struct {
	contend.Contender
	candados []*server.Process
	redis    *server.Redis // nil: it needs none
}

// load is how many want the lock, and for how long each.
type load struct {
	workers int
	hold    time.Duration
}

// meter is what the servers and the generator have consumed.
type meter struct {
	calls                     server.Calls
	candado, redis, generator time.Duration
}

func (e *entrant) read(ctx context.Context) (m meter, err error) {
	if e.redis != nil {
		if m.calls, err = e.redis.Calls(ctx); err != nil {
			return m, err
		}
		if m.redis, err = e.redis.CPU(); err != nil {
			return m, err
		}
	}
	for _, p := range e.candados {
		used, err := p.CPU()
		if err != nil {
			return m, err
		}
		m.candado += used
	}
	m.generator, err = server.OwnCPU()
	return m, err
}

// measurement is what one round of one cell has brought.
type measurement struct {
	length        time.Duration
	before, after meter
	unfinished    time.Duration // the longest wait that had not ended
	runners       []*runner
}

// Round is that of all sections.
type Round = cells.Round

// measure lets an entrant contend for a lock of that name. It returns an error,
// and no figures, if any reply was wrong or anybody waited in vain.
func (e *entrant) measure(ctx context.Context, id string, l load, warmup, length time.Duration) (Round, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	contest, err := e.Open(ctx, id, l.workers)
	if err != nil {
		return Round{}, err
	}
	defer contest.Close()

	r := &referee{began: time.Now(), fenced: e.Fenced, hold: l.hold}
	crowd := gather(ctx, r, contest.Workers)
	m, err := e.watch(ctx, r, crowd, warmup, length)
	cutOff := func() {
		r.aborted.Store(true)
		cancel()
	}
	switch {
	case err != nil:
		cutOff()
		contest.Close()
	case !e.Queue:
		cutOff() // nobody knows how long the last would wait
	}
	if stuck := crowd.await(grace); stuck != nil && err == nil {
		err = r.reason(stuck)
		cutOff()
		contest.Close()
		_ = crowd.await(grace) // what is still stuck then stays so
	}
	if err = r.reason(err); err != nil {
		return Round{}, err
	}
	if contest.Check != nil {
		if err := contest.Check(ctx); err != nil {
			return Round{}, err
		}
	}
	return m.round(e)
}

// watch lets the crowd warm up, measures it, and tells it to stop.
func (e *entrant) watch(ctx context.Context, r *referee, c *crowd, warmup, length time.Duration) (m measurement, err error) {
	defer r.stopping.Store(true)
	if err := sleep(ctx, warmup, c.ended); err != nil {
		return m, err
	}
	if m.before, err = e.read(ctx); err != nil {
		return m, err
	}
	r.measuring.Store(true)
	began := r.now()
	err = sleep(ctx, length, c.ended)
	r.measuring.Store(false)
	ended := r.now()
	m.length, m.unfinished, m.runners = time.Duration(ended-began), c.unfinished(ended), c.runners
	if err != nil {
		return m, err
	}
	m.after, err = e.read(ctx)
	return m, err
}

// reason returns the first fault that was seen, else err.
func (r *referee) reason(err error) error {
	if fault := r.fault.Load(); fault != nil {
		return *fault
	}
	return err
}

// sleep lets d pass. It returns an error if ctx ends before, or early does.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-early:
		return errors.New("all workers ended early")
	case <-time.After(d):
		return nil
	}
}

// round works out what the measurement says.
func (m measurement) round(e *entrant) (Round, error) {
	figures, err := m.figures(e)
	if err != nil || e.redis == nil {
		return Round{Figures: figures}, err
	}
	each := map[string]float64{}
	for name, n := range m.after.calls.Since(m.before.calls) {
		each[name] = float64(n) / (figures[rate] * m.length.Seconds())
	}
	return Round{Figures: figures, Commands: each}, nil
}
