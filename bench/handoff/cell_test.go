package handoff

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/bench/contend"
)

// fake is a lock of this process, with the faults that a test gives it.
type fake struct {
	slots chan struct{} // as many as may hold it at a time
	ended chan struct{} // closed with the contest
	token atomic.Int64
	step  int64 // from token to token

	lost    int   // the worker of that number is never served
	refusal error // of each release
}

func (f *fake) entrant() *entrant {
	return &entrant{Contender: contend.Contender{
		Name: "fake", Queue: true, Fenced: true,
		Open: func(_ context.Context, _ string, workers int) (*contend.Contest, error) {
			c := &contend.Contest{Close: func() {
				select {
				case <-f.ended:
				default:
					close(f.ended)
				}
			}}
			for i := range workers {
				c.Workers = append(c.Workers, fakeWorker{f, i + 1})
			}
			return c, nil
		},
	}}
}

type fakeWorker struct {
	*fake
	number int
}

func (w fakeWorker) Acquire(context.Context) (int64, error) {
	if w.number == w.lost {
		<-w.ended
		return 0, errors.New("the contest is over")
	}
	w.slots <- struct{}{}
	return w.token.Add(w.step), nil
}

func (w fakeWorker) Release(context.Context) error {
	<-w.slots
	return w.refusal
}

// measureFake measures with ten workers that hold for 1 ms, for one second.
func measureFake(t *testing.T, f *fake) (r Round, err error) {
	synctest.Test(t, func(t *testing.T) {
		f.slots, f.ended = make(chan struct{}, max(cap(f.slots), 1)), make(chan struct{})
		r, err = f.entrant().measure(t.Context(), "id", load{10, time.Millisecond}, 100*time.Millisecond, time.Second)
	})
	return r, err
}

func TestFiguresOfAFairLock(t *testing.T) {
	r, err := measureFake(t, &fake{step: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[Figure]float64{
		rate: 1000, handoffMedian: 0, changeP99: 0, waitMedian: 9000, waitLongest: 9000, unfairness: 1, takenAgain: 0, without: 0,
	} {
		if got := r.Figures.Get(name); !(got >= want*0.98-0.1 && got <= want*1.02+0.1) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, found := r.Figures[commands]; found {
		t.Error("a contender without Redis has Redis commands")
	}
}

func TestWrongLockHasNoFigures(t *testing.T) {
	for name, c := range map[string]struct {
		fake  *fake
		fault string
	}{
		"TwoHoldersAtATime": {&fake{slots: make(chan struct{}, 2), step: 1}, "2 holders at a time"},
		"SameTokenAgain":    {&fake{step: 0}, "token 0 was granted after 0"},
		"TokensGoBack":      {&fake{step: -1}, "token -1 was granted after 0"},
		"ReleaseFails":      {&fake{step: 1, refusal: errors.New("not yours")}, "releasing: not yours"},
		"WaiterForgotten":   {&fake{step: 1, lost: 4}, "1 workers do not come to an end"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := measureFake(t, c.fake)
			if err == nil || !strings.Contains(err.Error(), c.fault) || r.Figures != nil {
				t.Errorf("got %v, %v; want the fault %q", r, err, c.fault)
			}
		})
	}
}

// A worker that is never served has waited all the time, which no wait that
// ended shows.
func TestUnfinishedWaitCounts(t *testing.T) {
	f := &fake{step: 1, lost: 4}
	synctest.Test(t, func(t *testing.T) {
		f.slots, f.ended = make(chan struct{}, 1), make(chan struct{})
		e := f.entrant()
		e.Queue = false
		open := e.Open
		e.Open = func(ctx context.Context, id string, workers int) (*contend.Contest, error) {
			c, err := open(ctx, id, workers)
			context.AfterFunc(ctx, c.Close) // as those do that are told by their context
			return c, err
		}
		r, err := e.measure(t.Context(), "id", load{10, time.Millisecond}, 100*time.Millisecond, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Figures[waitLongest]; got < 1.09e6 || got > 1.11e6 {
			t.Errorf("the longest wait is %v µs, want 1.1 s", got)
		}
		if r.Figures[without] != 1 {
			t.Errorf("%v workers never got the lock, want 1", r.Figures[without])
		}
	})
}

func TestEndedRunStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{slots: make(chan struct{}, 1), ended: make(chan struct{}), step: 1, lost: 2}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := f.entrant().measure(ctx, "id", load{3, time.Millisecond}, 0, time.Hour)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 400*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}
