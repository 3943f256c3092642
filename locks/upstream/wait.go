package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// provisional is for how long a lease that was granted from the queue lasts
// until it is confirmed; see queue.lua.
const provisional = 4 * time.Second

// leaveTime is how long somebody who has gone, or is to go, is kept until the
// server has answered that the request has left. What it does not answer by then is
// settled later.
const leaveTime = 500 * time.Millisecond

// wait is Acquire for a request that waits.
func (e *Engine) wait(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	w := e.waiting.join(req)
	if w == nil {
		return locks.Lease{}, locks.ErrShutdown
	}
	defer e.waiting.part(w)
	over, stop := timer(req.Wait)
	defer stop()

	first, cancel := context.WithTimeout(ctx, e.timeout)
	e.listen(first) // before the request is in the queue: a grant to somebody who does not listen is lost
	c := e.acquireCall(req, w.entry, 0)
	r, err := e.ask(first, c)
	cancel()
	if err != nil {
		return locks.Lease{}, fmt.Errorf("acquiring %q: %w", req.ID, err)
	}
	lease, place, err := e.acquired(req, r)
	if err != nil || lease.Token != 0 {
		return lease, err
	}
	e.entered(w, c, place)
	return e.attend(ctx, w, over)
}

// timer returns a channel that is served after d, and never if d is Forever.
func timer(d time.Duration) (<-chan time.Time, func()) {
	if d < 0 {
		return nil, func() {}
	}
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// entered takes note that a request is in the queue.
func (e *Engine) entered(w *waiter, c *call, place int64) {
	e.noteCopies(w, c)
	e.waiting.queued(w, place)
}

// noteCopies takes note of copies of a request that got no answer and may still
// come to the server.
func (e *Engine) noteCopies(w *waiter, c *call) {
	if c.ran {
		w.unsure = max(w.unsure, c.deadline)
		w.unsureTill = time.Now().Add(e.timeout)
	}
}

// unsure returns for how long a copy of the request may still come; 0 or less:
// none can.
func (e *Engine) unsure(w *waiter) time.Duration {
	left := time.Duration(w.unsure-e.clock.at(time.Now())+1) * time.Microsecond
	return min(left, time.Until(w.unsureTill))
}

// attend waits until the request's fate is known. The request is in the queue
// when it begins, and nowhere when it returns.
func (e *Engine) attend(ctx context.Context, w *waiter, over <-chan time.Time) (locks.Lease, error) {
	for {
		select {
		case what := <-w.news:
			lease, ended, err := e.act(ctx, w, what)
			if ended {
				return lease, err
			}
		case <-over:
			if err := e.leave(w, e.timeout); err != nil {
				return locks.Lease{}, fmt.Errorf("acquiring %q: %w", w.req.ID, err)
			}
			return locks.Lease{}, locks.ErrHeld
		case <-ctx.Done():
			_ = e.leave(w, leaveTime)
			return locks.Lease{}, withdrawn(ctx, w)
		case <-e.waiting.closing:
			_ = e.leave(w, leaveTime)
			return locks.Lease{}, locks.ErrShutdown
		}
	}
}

// act does what news of a request ask for. It reports whether the request's fate
// is known; if not, it waits on.
func (e *Engine) act(ctx context.Context, w *waiter, what news) (lease locks.Lease, ended bool, err error) {
	switch what.kind {
	case newsReplaced:
		if e.unsure(w) > 0 { // a copy may still come, and must not take the place back
			e.doubts.add(newDoubt(w.req, w.entry, w.unsure))
		}
		return lease, true, locks.ErrHeld
	case newsNoToken:
		return lease, true, fmt.Errorf("acquiring %q: %w", w.req.ID, unavailable(errors.New("no token is left below 2^53")))
	case newsGone:
		return e.enter(ctx, w)
	}
	e.saw(what.token)
	live, err := e.confirm(ctx, w, what)
	switch {
	case err != nil:
		// Whether the lease lives is not known. Tending will tell, or the request's own end.
		e.waiting.handledIn(w, tendAgain)
		return lease, false, nil
	case !live:
		// It was heard of too late; or this was old news of a request that is in the queue again. Tending will tell.
		e.waiting.handledIn(w, 0)
		return lease, false, nil
	case ctx.Err() != nil:
		// The caller left while the lease was confirmed. Confirming has told nobody, so it can be taken back.
		_ = e.leave(w, leaveTime)
		return lease, true, withdrawn(ctx, w)
	}
	return leaseOf(w.req, what.token), true, nil
}

// withdrawn says why a request was given up.
func withdrawn(ctx context.Context, w *waiter) error {
	return fmt.Errorf("acquiring %q: %w: %w", w.req.ID, locks.ErrUnavailable, context.Cause(ctx))
}

// confirm gives a lease that was granted from the queue its whole TTL, and
// reports whether it lives. Until then it ends soon, so that no lock is kept
// for a request whose candado is gone; and the caller must not hear of a lease
// that may end before its time. A short lease has its whole TTL from the start:
// it need not be confirmed, unless it was found so late that nobody here knows
// when it ends.
func (e *Engine) confirm(ctx context.Context, w *waiter, what news) (live bool, err error) {
	if w.req.TTL > 0 && w.req.TTL <= provisional && what.expires != 0 {
		if err := e.serves(); err != nil { // nothing is asked here that would find the server refused
			return false, err
		}
		return e.clock.latest(time.Now()) < what.expires, nil
	}
	if e.prompt(w, what) {
		c := new(call)
		c.about(e, w.req.ID)
		c.entry, c.takesOut = w.entry, true
		switch r, err := e.ask(ctx, c); {
		case err != nil:
			return false, err
		case r.status == statusDone && e.prompt(w, what):
			return true, nil
		}
	}
	op := script.Confirm{Number: w.entry.Number, Token: what.token}
	c := new(call)
	c.op = op.Append(c.about(e, w.req.ID))
	r, err := e.ask(ctx, c)
	switch {
	case err != nil:
		return false, err
	case r.status == statusDone, r.status == statusNone:
		return r.status == statusDone, nil
	}
	return false, r.unexpected()
}

// promptly is how long after a grant its client may be told with the TTL
// reckoned from the grant, as that of a request that does not wait is. Later, the
// TTL is set anew before.
const promptly = 100 * time.Millisecond

// prompt reports whether a grant is confirmed by taking the request's entry out of
// the queue, which is one command and no script; see record.lua. Only a long
// exclusive lease leaves its entry there. The entry must have been put there once
// and by one copy: then it is there only for this grant.
func (e *Engine) prompt(w *waiter, what news) bool {
	if w.req.Mode != locks.Exclusive || w.req.TTL <= provisional || what.expires == 0 || w.entry.Back || w.unsure != 0 {
		return false
	}
	granted := what.expires - provisional.Microseconds() // its provisional time is that, or it was not heard of
	age := time.Duration(e.clock.latest(time.Now())-granted) * time.Microsecond
	return age.Abs() <= promptly
}

// enter lets a request into the queue again that is neither there nor has a
// lease, at the place that it had. If the server does not answer, the request
// stays as it is: tending finds it missing once more. So it does while a copy of
// the request may still come to the server: a request that was granted and lost
// its lease is granted anew, so a copy that came after the caller had released
// that one would make another, of which nobody knows.
func (e *Engine) enter(ctx context.Context, w *waiter) (lease locks.Lease, ended bool, err error) {
	if left := e.unsure(w); left > 0 {
		e.waiting.handledIn(w, left)
		return lease, false, nil
	}
	e.waiting.comesBack(w)
	c := e.acquireCall(w.req, w.entry, w.place)
	c.once = true
	c.doubtful = false // not yet: the request is still there to see to it
	r, err := e.ask(ctx, c)
	e.noteCopies(w, c)
	if err == nil {
		var place int64
		if lease, place, err = e.acquired(w.req, r); place > 0 {
			e.waiting.queued(w, place)
			return lease, false, nil
		}
	}
	if errors.Is(err, locks.ErrUnavailable) || errors.Is(err, locks.ErrShutdown) ||
		errors.Is(err, locks.ErrBusy) { // the lock's queue is never full for one who comes back, the batcher's may be
		e.waiting.handledIn(w, tendAgain)
		return locks.Lease{}, false, nil
	}
	return lease, true, err
}

// leave takes the request out of the queue, and passes on a lease that it was
// granted meanwhile. If the server does not answer in the time given, or a copy of
// the request may still come to it, leaving becomes a doubt, to be settled later.
func (e *Engine) leave(w *waiter, most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), min(most, e.timeout)) // the caller's context may be over
	defer cancel()
	c := new(call)
	e.askUndo(c, w.req.ID, w.entry)
	e.send(ctx, []*call{c}) // also while Close waits for what is under way
	r, err := c.outcome()
	if err != nil || r.now <= w.unsure {
		e.doubts.add(newDoubt(w.req, w.entry, w.unsure))
	}
	return err
}
