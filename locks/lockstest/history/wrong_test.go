package history_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/lockstest/history"
	"github.com/goodjobtech/candado/locks/memory"
)

// Engines that are wrong in one way each. The checker has to find each of them
// out, by the rule that is meant for it.

func TestWrongEnginesAreFoundOut(t *testing.T) {
	for _, wrong := range []struct {
		name string
		rule string
		wrap func(locks.Engine) locks.Engine
		conn func(history.Conn) history.Conn
	}{
		{"GrantsToTwo", "exclusion", grantsToTwo, nil},
		{"GrantsToTwoUnexplained", "explanation", grantsToTwo, nil},
		{"EndsLeasesEarly", "denied", func(e locks.Engine) locks.Engine { return endsEarly{e} }, nil},
		{"FindsTheDeadAlive", "undead", func(e locks.Engine) locks.Engine { return believesAnyToken{e} }, nil},
		{"SkipsTheQueue", "queue", func(e locks.Engine) locks.Engine { return newPolling(e, 3*time.Millisecond) }, nil},
		{"NeverHandsOver", "idle", func(e locks.Engine) locks.Engine { return newPolling(e, time.Hour) }, nil},
		{"TokensFallBack", "token order", fallsBack, nil},
		{"GivesATokenTwice", "token twice", givesTwice, nil},
		{"LimitIsOffByOne", "limit", func(e locks.Engine) locks.Engine { return offByOne{e} }, nil},
		{"RefusesAFreeLock", "refused", func(e locks.Engine) locks.Engine { return &refuses{Engine: e} }, nil},
		{"SessionOutlivesItsConnection", "undead", nil, func(c history.Conn) history.Conn { return neverCloses{c} }},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				for _, v := range history.Check(play(t, seed, wrapper{wrong.wrap, wrong.conn})) {
					if v.Rule == wrong.rule {
						return
					}
				}
			}
			t.Errorf("not found out by the rule %q in %d histories", wrong.rule, seeds)
		})
	}
}

// splitBrain grants from a second engine what the first refuses now and then, as
// when two servers take themselves for the primary.
type splitBrain struct {
	locks.Engine
	second locks.Engine

	mu      sync.Mutex
	refused int
	tokens  map[locks.Token]bool // of the second
}

func grantsToTwo(e locks.Engine) locks.Engine {
	return &splitBrain{Engine: e, second: memory.New(memory.Options{}), tokens: map[locks.Token]bool{}}
}

func (s *splitBrain) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	lease, err := s.Engine.Acquire(ctx, req)
	if !errors.Is(err, locks.ErrHeld) || req.Wait != 0 {
		return lease, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused++; s.refused%10 != 0 {
		return lease, err
	}
	lease, err = s.second.Acquire(ctx, req)
	s.tokens[lease.Token] = err == nil
	return lease, err
}

func (s *splitBrain) of(token locks.Token) locks.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens[token] {
		return s.second
	}
	return s.Engine
}

func (s *splitBrain) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	return s.of(req.Claim.Token).Release(ctx, req)
}

func (s *splitBrain) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	return s.of(req.Claim.Token).Heartbeat(ctx, req)
}

func (s *splitBrain) Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error) {
	return s.of(token).Check(ctx, id, token)
}

func (s *splitBrain) Close() error { return errors.Join(s.Engine.Close(), s.second.Close()) }

// endsEarly gives leases half of the time that was asked for.
type endsEarly struct{ locks.Engine }

func (e endsEarly) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	req.TTL = max(req.TTL/2, time.Millisecond).Truncate(time.Millisecond)
	return e.Engine.Acquire(ctx, req)
}

// believesAnyToken takes every lease for live.
type believesAnyToken struct{ locks.Engine }

func (believesAnyToken) Check(context.Context, locks.ID, locks.Token) (bool, error) { return true, nil }

// polling has those who wait try again and again, if seldom enough: never; who comes
// first when the lock is free, gets it.
type polling struct {
	locks.Engine
	every time.Duration

	mu      sync.Mutex
	waiters map[locks.ID]int
}

func newPolling(e locks.Engine, every time.Duration) locks.Engine {
	return &polling{Engine: e, every: every, waiters: map[locks.ID]int{}}
}

func (p *polling) count(id locks.ID, by int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiters[id] += by
	return p.waiters[id]
}

func (p *polling) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	over := time.Now().Add(req.Wait)
	wait := req.Wait
	req.Wait = 0
	lease, err := p.Engine.Acquire(ctx, req)
	if wait == 0 || !errors.Is(err, locks.ErrHeld) {
		return lease, err
	}
	p.count(req.ID, 1)
	defer p.count(req.ID, -1)
	for errors.Is(err, locks.ErrHeld) && time.Now().Before(over) {
		select {
		case <-ctx.Done():
			return locks.Lease{}, locks.ErrUnavailable
		case <-time.After(min(p.every, time.Until(over))):
		}
		if p.every < wait {
			lease, err = p.Engine.Acquire(ctx, req)
		}
	}
	return lease, err
}

func (p *polling) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	info, err := p.Engine.Info(ctx, id)
	info.Waiters = p.count(id, 0)
	return info, err
}

// renaming gives leases other tokens than the engine's.
type renaming struct {
	locks.Engine
	name func(id locks.ID, token locks.Token, owner locks.Owner) locks.Token

	mu  sync.Mutex
	in  map[locks.Token]locks.Token // the engine's, by the client's
	out map[locks.Token]locks.Token
}

func newRenaming(e locks.Engine, name func(locks.ID, locks.Token, locks.Owner) locks.Token) locks.Engine {
	return &renaming{Engine: e, name: name, in: map[locks.Token]locks.Token{}, out: map[locks.Token]locks.Token{}}
}

// fallsBack loses what it knew of tokens once, and its clock is an hour behind
// from then on.
func fallsBack(e locks.Engine) locks.Engine {
	start := time.Now()
	return newRenaming(e, func(_ locks.ID, token locks.Token, _ locks.Owner) locks.Token {
		if time.Since(start) > time.Second {
			token -= locks.Token(time.Hour.Microseconds())
		}
		return token
	})
}

// givesTwice gives the anonymous leases of a lock the same token.
func givesTwice(e locks.Engine) locks.Engine {
	return newRenaming(e, func(id locks.ID, token locks.Token, owner locks.Owner) locks.Token {
		if owner == "" {
			return locks.Token(len(id))
		}
		return token
	})
}

func (r *renaming) outside(id locks.ID, lease locks.Lease) locks.Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lease.Token != 0 {
		if r.out[lease.Token] == 0 {
			r.out[lease.Token] = r.name(id, lease.Token, lease.Owner)
		}
		token := r.out[lease.Token]
		r.in[token] = lease.Token
		lease.Token = token
	}
	return lease
}

func (r *renaming) inside(token locks.Token) locks.Token {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.in[token]
}

func (r *renaming) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	lease, err := r.Engine.Acquire(ctx, req)
	return r.outside(req.ID, lease), err
}

func (r *renaming) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	req.Claim.Token = r.inside(req.Claim.Token)
	return r.Engine.Release(ctx, req)
}

func (r *renaming) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	req.Claim.Token = r.inside(req.Claim.Token)
	lease, err := r.Engine.Heartbeat(ctx, req)
	return r.outside(req.ID, lease), err
}

func (r *renaming) Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error) {
	return r.Engine.Check(ctx, id, r.inside(token))
}

func (r *renaming) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	info, err := r.Engine.Info(ctx, id)
	for i, h := range info.Holders {
		info.Holders[i].Lease = r.outside(id, h.Lease)
	}
	return info, err
}

// offByOne lets one more in than the limit allows.
type offByOne struct{ locks.Engine }

func (e offByOne) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	if req.Limit > 0 {
		req.Limit++
	}
	return e.Engine.Acquire(ctx, req)
}

// refuses takes a lock for held now and then.
type refuses struct {
	locks.Engine
	mu    sync.Mutex
	asked int
}

func (e *refuses) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	e.mu.Lock()
	e.asked++
	refuse := e.asked%10 == 0 && req.Wait == 0
	e.mu.Unlock()
	if refuse {
		return locks.Lease{}, locks.ErrHeld
	}
	return e.Engine.Acquire(ctx, req)
}

// neverCloses does not notice that its client is gone.
type neverCloses struct{ history.Conn }

func (neverCloses) Close() error { return nil }
