package handoff

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/bench/contend"
	"github.com/goodjobtech/candado/bench/stats"
)

// referee stands in the critical section: it sees who comes and goes, and
// whether the lock did what it is for. Its times are ns since it began.
type referee struct {
	began  time.Time
	fenced bool
	hold   time.Duration

	measuring atomic.Bool // acquisitions count
	stopping  atomic.Bool // workers leave once they have held the lock
	aborted   atomic.Bool // what fails from now on was cut off

	inside   atomic.Int32
	token    atomic.Int64 // of the last holder
	holder   atomic.Int64 // the last one's number; 0: none yet
	released atomic.Int64 // just before the last holder asked for release
	fault    atomic.Pointer[error]
}

// now returns the time on the referee's clock; never 0.
func (r *referee) now() int64 { return int64(time.Since(r.began)) + 1 }

// blame keeps the first fault of the contest.
func (r *referee) blame(err error) {
	if !r.aborted.Load() {
		r.fault.CompareAndSwap(nil, &err)
	}
}

// enter checks that the newcomer is alone and that its token is above the last.
func (r *referee) enter(token int64) {
	if n := r.inside.Add(1); n != 1 {
		r.blame(fmt.Errorf("%d holders at a time", n))
	}
	if last := r.token.Swap(token); r.fenced && token <= last {
		r.blame(fmt.Errorf("token %d was granted after %d", token, last))
	}
}

// leave returns when the holder was about to release.
func (r *referee) leave() {
	r.inside.Add(-1)
	r.released.Store(r.now())
}

// runner is one worker in its loop, and what it has seen. Its counts are its
// goroutine's until that has ended.
type runner struct {
	number  int64 // from 1
	worker  contend.Worker
	referee *referee

	waiting atomic.Int64 // since when; 0: it does not wait

	waits   stats.Histogram
	changes stats.Histogram // hand-offs to it from another
	again   stats.Histogram // and from itself
}

// run acquires, holds and releases until the referee stops it or something
// fails.
func (w *runner) run(ctx context.Context) {
	for !w.referee.stopping.Load() {
		if err := w.once(ctx); err != nil {
			w.referee.blame(err)
			return
		}
	}
}

func (w *runner) once(ctx context.Context) error {
	r := w.referee
	asked := r.now()
	w.waiting.Store(asked)
	token, err := w.worker.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquiring: %w", err)
	}
	got := r.now()
	w.waiting.Store(0)
	r.enter(token)
	before, released := r.holder.Swap(w.number), r.released.Load()
	if r.measuring.Load() {
		w.waits.Record(time.Duration(got - asked))
		switch before {
		case 0: // nobody handed over
		case w.number:
			w.again.Record(time.Duration(got - released))
		default:
			w.changes.Record(time.Duration(got - released))
		}
	}
	if r.hold > 0 && !r.stopping.Load() {
		time.Sleep(r.hold)
	}
	r.leave()
	if err := w.worker.Release(ctx); err != nil {
		return fmt.Errorf("releasing: %w", err)
	}
	return nil
}

// crowd is all runners of a contest.
type crowd struct {
	runners []*runner
	ended   chan struct{} // closed when all have ended
	left    atomic.Int32  // how many have not
}

// gather starts a runner for each worker.
func gather(ctx context.Context, r *referee, workers []contend.Worker) *crowd {
	c := &crowd{ended: make(chan struct{})}
	c.left.Store(int32(len(workers)))
	for i, w := range workers {
		c.runners = append(c.runners, &runner{number: int64(i + 1), worker: w, referee: r})
	}
	for _, w := range c.runners {
		go func() {
			w.run(ctx)
			if c.left.Add(-1) == 0 {
				close(c.ended)
			}
		}()
	}
	return c
}

var errStillWaiting = errors.New("workers do not come to an end")

// await waits until all runners have ended, for at most d.
func (c *crowd) await(d time.Duration) error {
	select {
	case <-c.ended:
		return nil
	case <-time.After(d):
		return fmt.Errorf("%d %w within %v", c.left.Load(), errStillWaiting, d)
	}
}

// unfinished returns the longest of the waits that have not ended at that time.
func (c *crowd) unfinished(now int64) time.Duration {
	var longest int64
	for _, w := range c.runners {
		if since := w.waiting.Load(); since != 0 {
			longest = max(longest, now-since)
		}
	}
	return time.Duration(longest)
}
