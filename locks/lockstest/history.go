package lockstest

import (
	"fmt"
	"slices"
	"time"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

// This file is what random histories are made of: few locks and owners, so that
// requests meet each other.

func historyIDs() []locks.ID { return []locks.ID{"a", "}%\x00"} }

func drawID(rt *rapid.T) locks.ID { return rapid.SampledFrom(historyIDs()).Draw(rt, "id") }

func drawOwner(rt *rapid.T) locks.Owner {
	return rapid.SampledFrom([]locks.Owner{"", "x", "y"}).Draw(rt, "owner")
}

// claim is a claim in terms of ordinals: 0 names no token.
type claim struct {
	ordinal int
	owner   locks.Owner
}

// drawClaim draws a claim by token, or by owner, or bare.
func (d *duel) drawClaim(rt *rapid.T, id locks.ID) claim {
	if rapid.Bool().Draw(rt, "by token") {
		return claim{ordinal: d.drawOrdinal(rt, id)}
	}
	return claim{owner: drawOwner(rt)}
}

// drawOrdinal mostly draws one of the lock's latest tokens, and sometimes the
// one after: which does not exist yet.
func (d *duel) drawOrdinal(rt *rapid.T, id locks.ID) int {
	n := len(d.sides[0].tokens[id])
	return max(1, n-rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 3, -1}).Draw(rt, "ordinal"))
}

func (c claim) on(s *side, id locks.ID) locks.Claim {
	if c.ordinal == 0 {
		return locks.Claim{Owner: c.owner}
	}
	return locks.Claim{Token: s.token(id, c.ordinal)}
}

func (d *duel) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"acquire": d.acquire,
		"share":   d.share,
		"release": d.release,
		"renew":   d.heartbeat,
		"renew 2": d.heartbeat, // the richest in cases, so it comes twice
		"check":   d.check,
		"do":      d.together,
		"info":    d.info,
		"scan":    d.scan,
		"advance": d.advance,
	}
	if d.virtual {
		actions["wait"], actions["wait 2"], actions["leave"] = d.waitFor, d.waitFor, d.leave
	}
	return actions
}

func (d *duel) acquire(rt *rapid.T) {
	req := locks.AcquireRequest{ID: drawID(rt), Owner: drawOwner(rt), TTL: drawTTL(rt, short, long, locks.NoExpiry)}
	d.asksFor(rt, req)
}

func (d *duel) share(rt *rapid.T) {
	req := locks.AcquireRequest{ID: drawID(rt), Owner: drawOwner(rt), Mode: locks.Shared, TTL: drawTTL(rt, short, long, locks.NoExpiry)}
	req.Limit = rapid.IntRange(0, 3).Draw(rt, "limit")
	d.asksFor(rt, req)
}

func drawTTL(rt *rapid.T, ttls ...time.Duration) time.Duration {
	return rapid.SampledFrom(ttls).Draw(rt, "ttl")
}

func (d *duel) asksFor(rt *rapid.T, req locks.AcquireRequest) {
	got := d.ask(rt, fmt.Sprintf("%+v", req), func(s *side) reply {
		lease, err := s.Engine.Acquire(d.t.Context(), req)
		return reply{err: outcome(err), value: s.granted(req.ID, lease)}
	})
	d.expects(got.value)
}

func (d *duel) release(rt *rapid.T) {
	id := drawID(rt)
	claim := d.drawClaim(rt, id)
	force := rapid.IntRange(0, 9).Draw(rt, "force") == 9
	d.ask(rt, fmt.Sprintf("release %q %+v force %v", id, claim, force), func(s *side) reply {
		released, err := s.Engine.Release(d.t.Context(), locks.ReleaseRequest{ID: id, Claim: claim.on(s, id), Force: force})
		return reply{err: outcome(err), value: released}
	})
}

func (d *duel) heartbeat(rt *rapid.T) {
	id := drawID(rt)
	claim, ttl := d.drawClaim(rt, id), drawTTL(rt, 0, short, long, locks.NoExpiry)
	got := d.ask(rt, fmt.Sprintf("heartbeat %q %+v %v", id, claim, ttl), func(s *side) reply {
		lease, err := s.Engine.Heartbeat(d.t.Context(), locks.HeartbeatRequest{ID: id, Claim: claim.on(s, id), TTL: ttl})
		return reply{err: outcome(err), value: s.normal(id, lease)}
	})
	d.expects(got.value)
}

func (d *duel) check(rt *rapid.T) {
	id := drawID(rt)
	ordinal := d.drawOrdinal(rt, id)
	d.ask(rt, fmt.Sprintf("check %q %d", id, ordinal), func(s *side) reply {
		live, err := s.Engine.Check(d.t.Context(), id, s.token(id, ordinal))
		return reply{err: outcome(err), value: live}
	})
}

func (d *duel) info(rt *rapid.T) {
	id := drawID(rt)
	forgotten := d.forgotten(rt, id)
	d.ask(rt, fmt.Sprintf("info %q", id), func(s *side) reply {
		info, err := s.Engine.Info(d.t.Context(), id)
		for i := range info.Holders {
			info.Holders[i].Lease = s.normal(id, info.Holders[i].Lease)
		}
		last := s.ordinal(id, info.LastToken)
		if forgotten {
			last = 0
		}
		value := fmt.Sprintf("%q %v waiters %d last %d", info.ID, info.Mode, info.Waiters, last)
		return reply{err: outcome(err), value: value, holders: info.Holders}
	})
}

// forgotten reports whether an engine has forgotten the last token of a lock, and may have. The other may
// know it yet: one that finds a lease over only when somebody looks keeps the token for the
// retention from then on.
func (d *duel) forgotten(rt *rapid.T, id locks.ID) bool {
	if d.age() < locks.Retention {
		return false
	}
	for _, s := range d.sides {
		info, err := s.Engine.Info(d.t.Context(), id)
		if err != nil {
			rt.Fatalf("describing %q: %v", id, err)
		}
		if info.LastToken == 0 {
			return true
		}
	}
	return false
}

func (d *duel) scan(rt *rapid.T) {
	match := rapid.SampledFrom([]string{"", "[ab]", "*%*"}).Draw(rt, "match")
	d.ask(rt, fmt.Sprintf("scan %q", match), func(s *side) reply {
		ids := map[locks.ID]bool{}
		req := locks.ScanRequest{Match: match}
		for {
			page, err := s.Engine.Scan(d.t.Context(), req)
			for _, id := range page.IDs {
				ids[id] = true
			}
			if req.Cursor = page.Cursor; req.Cursor == 0 {
				found := keys(ids)
				slices.Sort(found)
				return reply{err: outcome(err), value: fmt.Sprintf("%q", found)}
			}
		}
	})
}

// together asks for several operations at once. Tokens among them are those that were
// known before. A lock with waiters is asked about once only: what the second operation meets
// depends on whether those that the first has handed the lock to have heard of it.
func (d *duel) together(rt *rapid.T) {
	type step struct {
		op    locks.Op
		claim claim
	}
	var steps []step
	asked := map[locks.ID]bool{}
	for range rapid.IntRange(2, 6).Draw(rt, "operations") {
		id := drawID(rt)
		if asked[id] && d.sides[0].waiters.wait(id) {
			continue
		}
		asked[id] = true
		s := step{claim: d.drawClaim(rt, id)}
		s.op.Kind = rapid.SampledFrom([]locks.OpKind{locks.OpAcquire, locks.OpAcquire, locks.OpRelease, locks.OpHeartbeat, locks.OpCheck}).Draw(rt, "kind")
		switch s.op.Kind {
		case locks.OpAcquire:
			s.op.Acquire = locks.AcquireRequest{ID: id, Owner: drawOwner(rt), TTL: drawTTL(rt, short, long, locks.NoExpiry)}
			if rapid.Bool().Draw(rt, "shared") {
				s.op.Acquire.Mode, s.op.Acquire.Limit = locks.Shared, rapid.IntRange(0, 3).Draw(rt, "limit")
			}
		case locks.OpRelease:
			s.op.Release = locks.ReleaseRequest{ID: id, Force: rapid.IntRange(0, 9).Draw(rt, "force") == 9}
		case locks.OpHeartbeat:
			s.op.Heartbeat = locks.HeartbeatRequest{ID: id, TTL: drawTTL(rt, 0, short, long, locks.NoExpiry)}
		case locks.OpCheck:
			s.claim = claim{ordinal: d.drawOrdinal(rt, id)}
			s.op.Check.ID = id
		}
		steps = append(steps, s)
	}
	var leases []locks.Lease // of either side, it does not matter which
	d.ask(rt, fmt.Sprintf("together %+v", steps), func(s *side) reply {
		ops := make([]locks.Op, len(steps))
		for i, step := range steps {
			ops[i] = step.op
			op := &ops[i]
			op.Release.Claim = step.claim.on(s, op.Release.ID)
			op.Heartbeat.Claim = step.claim.on(s, op.Heartbeat.ID)
			op.Check.Token = step.claim.on(s, op.Check.ID).Token
		}
		s.Engine.Do(d.t.Context(), ops)
		came := ""
		leases = leases[:0]
		for _, op := range ops {
			id, lease := op.Heartbeat.ID, op.Lease
			if op.Kind == locks.OpAcquire {
				id = op.Acquire.ID
				lease = s.granted(id, lease)
			} else {
				lease = s.normal(id, lease)
			}
			leases = append(leases, lease)
			came += fmt.Sprintf("%+v %+v %v %v\n", lease, op.Released, op.Live, outcome(op.Err))
		}
		return reply{value: came}
	})
	for _, lease := range leases {
		d.expects(lease)
	}
}

// advance lets time pass: not often if it is real. The waits are
// odd so that no sum of a few is the retention, whose end is not promised to
// the millisecond, or the retention and a TTL.
func (d *duel) advance(rt *rapid.T) {
	waits := []time.Duration{0, 0, 0, short * 6 / 10}
	if d.virtual {
		waits = []time.Duration{time.Microsecond, time.Millisecond, short / 2, short, 29_003 * time.Millisecond, 61_007 * time.Millisecond}
	}
	wait := rapid.SampledFrom(waits).Draw(rt, "wait")
	for ; len(d.sides[0].waiters) > 0 && wait > step; wait -= step {
		d.step(rt, step)
	}
	d.step(rt, wait)
}

// step is how much time passes at once while calls wait: an engine may take
// those for dead of whom it has heard nothing for seconds.
const step = time.Second

func (d *duel) step(rt *rapid.T, wait time.Duration) {
	d.pass(wait)
	for _, s := range d.sides {
		if s.Settle != nil && len(s.waiters) > 0 {
			s.Settle()
		}
	}
	d.rest(rt, fmt.Sprint("advance ", wait))
}
