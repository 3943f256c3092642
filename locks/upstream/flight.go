package upstream

import (
	"context"
	"slices"
	"time"
)

// This file sees to it that no flight takes the others down with it: one that
// takes long gives its place to another, and one whose time is up is called off.

// flight is one batch on its way. It is the context of its command, with a
// deadline and no timer of its own: a timer for each would cost as much as the rest
// of a lone request.
type flight struct {
	context.Context
	begun, until time.Time
	done         chan struct{} // closed once its time is up

	// Guarded by the batcher's mu:
	relieved bool // another has its place
	over     bool // done is closed
}

// Deadline implements context.Context.
func (f *flight) Deadline() (time.Time, bool) { return f.until, true }

// Done implements context.Context.
func (f *flight) Done() <-chan struct{} { return f.done }

// Err implements context.Context.
func (f *flight) Err() error {
	select {
	case <-f.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// underWay is the flights under way and the one timer for all of them, which is set
// when the first begins and not again before it has fired.
type underWay struct {
	flights []*flight
	timer   *time.Timer
	set     bool
	at      time.Time // when it fires, if it is set
}

// begin notes a flight.
func (b *batcher) begin(until time.Time) *flight {
	f := &flight{Context: context.Background(), begun: time.Now(), until: until, done: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.air.flights = append(b.air.flights, f)
	b.lookAt(b.next(f))
	return f
}

// end forgets a flight, and reports whether another has its place.
func (b *batcher) end(f *flight) (relieved bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.air.flights, f); i >= 0 {
		b.air.flights = slices.Delete(b.air.flights, i, i+1)
	}
	if f.relieved {
		b.slow--
	}
	return f.relieved
}

// next returns when there is something to see to.
func (b *batcher) next(f *flight) time.Time {
	if slow := f.begun.Add(b.slack); !f.relieved && slow.Before(f.until) {
		return slow
	}
	return f.until
}

// lookAt sets the timer, unless it fires before that. b.mu is held.
func (b *batcher) lookAt(at time.Time) {
	w := &b.air
	if w.set && !at.Before(w.at) {
		return
	}
	w.set, w.at = true, at
	if w.timer == nil {
		w.timer = time.AfterFunc(time.Until(at), b.look)
		return
	}
	w.timer.Reset(time.Until(at))
}

// look sees to the flights that take long.
func (b *batcher) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.air.set = false
	now := time.Now()
	for _, f := range b.air.flights {
		switch {
		case f.over:
			continue
		case !now.Before(f.until):
			f.over = true
			close(f.done)
			continue
		case !f.relieved && !now.Before(f.begun.Add(b.slack)):
			if !b.relieve(f) { // too many are slow: its time has to run out
				b.lookAt(f.until)
				continue
			}
		}
		b.lookAt(b.next(f))
	}
}

// relieve gives a flight's place to another: its connection may have died in
// silence, and the server be well. b.mu is held.
func (b *batcher) relieve(f *flight) bool {
	if b.slow == maxSlow {
		return false
	}
	if b.queued > 0 {
		go b.shuttle()
	} else {
		b.flying--
	}
	f.relieved = true
	b.slow++
	return true
}
