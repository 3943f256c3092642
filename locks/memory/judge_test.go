package memory

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goodjobtech/candado/locks"
)

// What is wrong with a step of explore_test.go, told from how the lock looked
// before and after. It knows the rules, and nothing of how they are kept.

// verdict collects what a step is judged by.
type verdict struct {
	before, after *world
	did           *deed
	had, have     []lease // before and after
	hadConfirmed  []bool
	haveConfirmed []bool
}

// judge returns what is wrong with a step, or "".
func judge(before *world, did *deed, after *world) string {
	v := verdict{before: before, after: after, did: did}
	v.had, v.hadConfirmed = before.holding()
	v.have, v.haveConfirmed = after.holding()
	for _, check := range []func() string{
		after.wellFormed, v.leases, v.queue, v.grants, v.deadline, v.result, after.soundCrowd,
	} {
		if wrong := check(); wrong != "" {
			return wrong
		}
	}
	return ""
}

// soundCrowd returns what is wrong with the indexes of the shared holders.
func (l *lock) soundCrowd() string {
	if l.annex == nil {
		return ""
	}
	c, anonymous, expiring := &l.annex.crowd, 0, 0
	for token, m := range c.byToken.m {
		if m.token != token {
			return "a holder stands under another token"
		}
		if m.expires != never {
			expiring++
			if m.index == 0 || c.expiries.at(m) != m.expires {
				return "a holder's expiry is not watched"
			}
		}
		if m.owner == "" {
			anonymous++
		} else if known, _ := c.byOwner.get(m.owner); known != m {
			return "an owner's lease can't be found"
		}
	}
	if anonymous != c.anonymous.Len() || expiring != c.expiries.len() || c.byOwner.len() != c.len()-anonymous {
		return "the indexes of the holders know others"
	}
	if l.mode != locks.Shared && c.len() > 0 {
		return "shared holders stand beside another mode"
	}
	return ""
}

// target returns which of the leases there were a claim speaks for, or -1.
func (v *verdict) target() int {
	return slices.IndexFunc(v.had, func(h lease) bool {
		if v.did.claim.Token != 0 {
			return h.token == v.did.claim.Token
		}
		return h.owner == v.did.claim.Owner // the oldest first
	})
}

// mine returns which of the leases there were an acquire's owner has, or -1.
func (v *verdict) mine() int {
	if v.did.kind != acquired || v.did.req.Owner == "" {
		return -1
	}
	return slices.IndexFunc(v.had, func(h lease) bool { return h.owner == v.did.req.Owner })
}

// ends reports whether the step had to end a lease that there was.
func (v *verdict) ends(i int) bool {
	switch v.did.kind {
	case passed:
		return v.had[i].expires <= v.after.now
	case released:
		return v.did.force || i == v.target()
	case passedOn:
		return i == v.target() && !v.hadConfirmed[i]
	}
	return false
}

// renews reports whether the step had to renew a lease that there was.
func (v *verdict) renews(i int) bool {
	switch v.did.kind {
	case renewed:
		return i == v.target()
	case acquired:
		return i == v.mine() && v.before.mode == v.did.req.Mode
	}
	return false
}

// leases: those that had to end did, and no others; those that stay are what
// they were, but for what was renewed. So no lease overlaps an exclusive one.
func (v *verdict) leases() string {
	for i, h := range v.had {
		at := slices.IndexFunc(v.have, func(l lease) bool { return l.token == h.token })
		switch {
		case v.ends(i) && at >= 0:
			return fmt.Sprintf("lease %d of %q ought to be over", i, h.owner)
		case v.ends(i):
			continue
		case at < 0:
			return fmt.Sprintf("lease %d of %q ended", i, h.owner)
		}
		confirmed := v.hadConfirmed[i]
		if v.renews(i) {
			if v.did.kind == acquired {
				h.ttl = v.did.req.TTL
			}
			h.expires, confirmed = after(v.after.now, h.ttl), true
		}
		if v.have[at] != h || v.haveConfirmed[at] != confirmed {
			return fmt.Sprintf("lease %d is %+v, confirmed %v; want %+v, %v", i, v.have[at], v.haveConfirmed[at], h, confirmed)
		}
		if v.before.mode != v.after.mode {
			return "the mode changed under a holder"
		}
	}
	for _, h := range v.have {
		if h.expires <= v.after.now {
			return "a holder's lease has expired"
		}
	}
	if v.after.mode == locks.Exclusive && len(v.have) != 1 || v.after.mode == locks.Free && len(v.have) != 0 {
		return fmt.Sprintf("%d hold a lock that is %v", len(v.have), v.after.mode)
	}
	return ""
}

// queue: who stays stands as before, the newcomer behind them or in its older
// request's place; who is out has one answer, who is in has none.
func (v *verdict) queue() string {
	var stay []*waiter
	standing := v.after.queued()
	for i, w := range v.did.stood {
		in, answers := slices.Contains(standing, w), len(w.answer)
		replaced := v.did.waiter != nil && w.req.Owner != "" && w.req.Owner == v.did.req.Owner
		switch {
		case in && replaced:
			return "an owner waits twice"
		case in && answers > 0, in != (w.place != nil):
			return "a waiter that stays has an answer"
		case v.did.kind == left && i == v.did.index:
			if in || answers > 0 {
				return "a waiter that left stays, or is answered"
			}
			continue
		case !in && answers != 1:
			return fmt.Sprintf("a waiter that is out has %d answers", answers)
		case replaced:
			w = v.did.waiter
			in = slices.Contains(standing, w)
		}
		if in {
			stay = append(stay, w)
		}
	}
	if w := v.did.waiter; w != nil && w.place != nil && !slices.Contains(stay, w) {
		stay = append(stay, w)
	}
	if !slices.Equal(stay, standing) {
		return "the order of those who wait has changed"
	}
	return ""
}

// granted returns the answers that came with leases, in the order of the queue.
func (v *verdict) granted() (all []answer, reqs []locks.AcquireRequest, wrong string) {
	asked := slices.Clone(v.did.stood)
	if w := v.did.waiter; w != nil {
		older := slices.IndexFunc(asked, func(o *waiter) bool { return o.req.Owner != "" && o.req.Owner == w.req.Owner })
		if older >= 0 {
			if got, _ := asked[older].result(); !errors.Is(got.err, locks.ErrHeld) {
				return nil, nil, "an older request of the owner did not end with held"
			}
			asked[older] = w
		} else {
			asked = append(asked, w)
		}
	}
	waits := false
	for _, w := range asked {
		got, ok := w.result()
		switch {
		case w.place != nil:
			waits = true
		case !ok: // it left
		case got.err != nil:
			return nil, nil, "a waiter was answered with " + got.err.Error()
		case waits:
			return nil, nil, "a waiter was served before one that came earlier"
		default:
			all, reqs = append(all, got), append(reqs, w.req)
		}
	}
	return all, reqs, ""
}

// grants: each new lease is somebody's answer, in order, with a token above all
// there were, for the whole TTL, and within its limit. Who does not wait is
// granted nothing beside a queue.
func (v *verdict) grants() string {
	answers, reqs, wrong := v.granted()
	if wrong != "" {
		return wrong
	}
	if v.did.kind == acquired && v.did.lease.Token != 0 && v.mine() < 0 {
		if len(v.did.stood) > 0 || v.after.waiters() > 0 {
			return "a newcomer was granted the lock beside a queue"
		}
		answers, reqs = append(answers, answer{lease: v.did.lease}), append(reqs, v.did.req)
	}
	highest := v.before.highest
	for i, a := range answers {
		at := slices.IndexFunc(v.have, func(l lease) bool { return l.token == a.lease.Token })
		if at < 0 {
			return "a lease was told of that is not there"
		}
		req, h := reqs[i], v.have[at]
		want := lease{token: h.token, owner: req.Owner, ttl: req.TTL, granted: v.after.now, expires: after(v.after.now, req.TTL)}
		if h != want || v.haveConfirmed[at] || v.after.mode != req.Mode ||
			a.lease != (locks.Lease{Token: h.token, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}) {
			return fmt.Sprintf("the new lease is %+v, want %+v; its answer %+v", h, want, a.lease)
		}
		if h.token <= highest {
			return fmt.Sprintf("token %d follows %d", h.token, highest)
		}
		highest = h.token
		if req.Limit > 0 && at >= req.Limit {
			return fmt.Sprintf("holder %d was let in under a limit of %d", at+1, req.Limit)
		}
	}
	kept := 0
	for i := range v.had {
		if !v.ends(i) {
			kept++
		}
	}
	if kept+len(answers) != len(v.have) {
		return fmt.Sprintf("%d leases stayed and %d were granted, but %d are there", kept, len(answers), len(v.have))
	}
	if v.after.highest != highest {
		return "a token was minted for nobody"
	}
	return ""
}

// deadline: it is when the first lease expires, or when the retention ends; and
// the last token is known until then.
func (v *verdict) deadline() string {
	want, known := v.before.deadline(), v.before.last() != 0
	switch {
	case v.after.held():
		want, known = v.have[0].expires, true
		for _, h := range v.have {
			want = min(want, h.expires)
		}
	case v.before.held():
		freed := v.after.now
		if v.did.kind == passed {
			freed = 0
			for _, h := range v.had {
				freed = max(freed, h.expires)
			}
		}
		want = after(freed, locks.Retention)
		known = want > v.after.now
	default:
		known = known && want > v.after.now
	}
	if v.after.deadline() != want {
		return fmt.Sprintf("the deadline is %d, want %d", v.after.in(v.after.deadline()), v.after.in(want))
	}
	if last := v.after.last(); known && last != v.after.highest || !known && last != 0 {
		return fmt.Sprintf("the last token is %d, want %d if it is still to be known: %v", last, v.after.highest, known)
	}
	return ""
}

// result: what was returned is what the rules say.
func (v *verdict) result() string {
	d, err := v.did, error(nil)
	var outcome locks.Released
	switch d.kind {
	case acquired:
		return v.acquireResult()
	case released:
		switch {
		case len(v.had) == 0:
		case d.force:
			outcome = locks.Released{Ended: len(v.had), Held: len(d.stood) > 0}
		case v.target() < 0:
			outcome, err = locks.Released{Held: true}, locks.ErrNotOwner
		default:
			outcome = locks.Released{Ended: 1, Held: len(v.had) > 1 || len(d.stood) > 0}
		}
	case renewed:
		switch {
		case len(v.had) == 0:
		case v.target() < 0:
			err = locks.ErrNotOwner
		default:
			h := v.had[v.target()]
			if want := (locks.Lease{Token: h.token, Owner: h.owner, Mode: v.before.mode, TTL: h.ttl}); d.lease != want {
				return fmt.Sprintf("the heartbeat returns %+v, want %+v", d.lease, want)
			}
			d.lease = locks.Lease{}
		}
		if d.lease != (locks.Lease{}) {
			return "a heartbeat returns a lease that is not claimed"
		}
	}
	if d.outcome != outcome || !errors.Is(d.err, err) {
		return fmt.Sprintf("the step returns %+v, %v; want %+v, %v", d.outcome, d.err, outcome, err)
	}
	return ""
}

func (v *verdict) acquireResult() string {
	d, mine := v.did, v.mine()
	admitted := v.before.mode == locks.Free || v.before.mode == locks.Shared && d.req.Mode == locks.Shared &&
		(d.req.Limit == 0 || len(v.had) < d.req.Limit)
	var err error
	var token locks.Token
	waits := false
	switch {
	case mine >= 0 && v.before.mode != d.req.Mode:
		err = locks.ErrMode
	case mine >= 0:
		token = v.had[mine].token
	case admitted && len(d.stood) == 0:
		token = v.after.highest
	case d.req.Wait == 0:
		err = locks.ErrHeld
	default:
		waits = true
	}
	if !errors.Is(d.err, err) || d.lease.Token != token || waits != (d.waiter != nil) {
		return fmt.Sprintf("acquire returns token %d, waits: %v, %v; want %d, %v, %v", d.lease.Token, d.waiter != nil, d.err, token, waits, err)
	}
	return ""
}
