package lockstest

import (
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

// Cases about tokens that need no random history.
func tokenCases() []testCase {
	return []testCase{
		{"TokensIncreaseHoweverLeasesEnd", tokensIncreaseHoweverLeasesEnd},
		{"TokensIncreaseThroughALostStore", tokensIncreaseThroughALostStore},
		{"TokensIncreaseThroughARestart", tokensIncreaseThroughARestart},
		{"TokensIncreaseThoughTheClockStepsBack", tokensIncreaseThoughTheClockStepsBack},
		{"TokenIsNotBelowTheClock", tokenIsNotBelowTheClock},
		{"ClaimDoesNotRaiseTokens", claimDoesNotRaiseTokens},
	}
}

// above grants the lock and wants a token above last.
func (p *probe) above(last locks.Token, req locks.AcquireRequest) locks.Token {
	p.t.Helper()
	token := p.grant(req)
	if token <= last {
		p.t.Fatalf("token %d follows %d", token, last)
	}
	return token
}

func tokensIncreaseHoweverLeasesEnd(p *probe) {
	last := p.grant(exclusive("a", ""))
	p.release("a", bare(), false)
	for range 50 {
		last = p.above(last, exclusive("a", "me"))
		p.release("a", byToken(last), false)
	}
	last = p.above(last, lasting(short, exclusive("a", "me")))
	p.expire()
	last = p.above(last, lasting(short, shared("a", "me")))
	p.expire()
	last = p.above(last, exclusive("a", ""))
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: 1})
	for range 50 {
		last = p.above(last, shared("a", ""))
	}
	p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: 50})
	p.above(last, exclusive("a", ""))
}

func tokensIncreaseThroughALostStore(p *probe) {
	if p.Empty == nil {
		p.t.Skip("the store can't be emptied")
	}
	var last locks.Token
	for range 5 {
		last = p.above(last, exclusive("a", "me"))
		p.Empty()
		p.heldBy("a")
		p.heartbeat("a", byToken(last), 0, locks.Lease{})
	}
}

func tokensIncreaseThroughARestart(p *probe) {
	if p.Restart == nil {
		p.t.Skip("the engine can't be restarted")
	}
	var last locks.Token
	for range 3 {
		last = p.above(last, exclusive("a", "me"))
		p.Restart()
		p.live("a", last, p.Durable)
		p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: len(p.info("a").Holders)})
		p.Advance(time.Millisecond)
	}
}

func tokensIncreaseThoughTheClockStepsBack(p *probe) {
	if p.StepWall == nil {
		p.t.Skip("the clock can't be set")
	}
	last := p.grant(exclusive("a", ""))
	for _, step := range []time.Duration{-time.Second, -time.Hour, 2 * time.Hour, -24 * time.Hour} {
		p.StepWall(step)
		p.releases(locks.ReleaseRequest{ID: "a", Force: true}, locks.Released{Ended: len(p.info("a").Holders)})
		last = p.above(last, exclusive("a", ""))
	}
}

func tokenIsNotBelowTheClock(p *probe) {
	before := locks.Token(p.Now().UnixMicro())
	if token := p.grant(exclusive("a", "")); token < before {
		p.t.Fatalf("token %d is below the clock, %d", token, before)
	}
}

// claimDoesNotRaiseTokens: nobody may use up the tokens by naming a high one.
func claimDoesNotRaiseTokens(p *probe) {
	p.grant(exclusive("a", "me"))
	p.releaseFails("a", byToken(locks.MaxToken))
	p.heartbeatFails("a", byToken(locks.MaxToken))
	p.live("a", locks.MaxToken, false)
	p.release("a", byOwner("me"), false)
	token := p.grant(exclusive("a", "me"))
	if clock := locks.Token(p.Now().UnixMicro()); token > clock+locks.Token(time.Hour/time.Microsecond) {
		p.t.Fatalf("token %d is far beyond the clock, %d", token, clock)
	}
}

// Tokens plays random histories of leases that are released, forced, expire or
// are lost with their store, of stores that fall back to an earlier state, of
// restarts and of clocks that are set. It wants
// tokens to increase whenever the engine remembers the last one, and whenever the
// clock is not behind it: that is, unless the clock stepped back by more than the
// lock was idle, and the last token was lost too. A fixture whose time is real
// makes few histories.
func Tokens(t *testing.T, s Suite) {
	s.wrap(t, func(t *testing.T) {
		budget := budgetFor(s, t)
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			if budget.spent() {
				return
			}
			f := s.New(t)
			defer f.Close()
			m := &tokenMachine{Fixture: f, t: t, last: map[locks.ID]locks.Token{}, remembered: map[locks.ID]bool{}}
			rt.Repeat(m.actions())
		})
	})
}

// tokenMachine is what a random history of tokens knows.
type tokenMachine struct {
	*Fixture
	t          *testing.T
	last       map[locks.ID]locks.Token
	remembered map[locks.ID]bool // by this engine, or by a store that has lost nothing
}

func (m *tokenMachine) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"acquire": m.acquire,
		"end":     m.end,
		"advance": m.advance,
	}
	if m.StepWall != nil {
		actions["step"] = m.step
	}
	if m.Empty != nil {
		actions["empty"] = func(*rapid.T) { m.Empty() } // the engine itself remembers
	}
	if m.FallBack != nil {
		m.Remember()
		actions["remember"] = func(*rapid.T) { m.Remember() }
		actions["fall back"] = func(*rapid.T) { m.FallBack() } // the engine itself remembers
	}
	if m.Restart != nil {
		actions["restart"] = m.restart
	}
	return actions
}

func (m *tokenMachine) acquire(rt *rapid.T) {
	req := locks.AcquireRequest{
		ID:   rapid.SampledFrom([]locks.ID{"a", "b"}).Draw(rt, "id"),
		Mode: rapid.SampledFrom([]locks.Mode{locks.Exclusive, locks.Shared}).Draw(rt, "mode"),
		TTL:  rapid.SampledFrom([]time.Duration{short, long, locks.NoExpiry}).Draw(rt, "ttl"),
	}
	clock := locks.Token(m.Now().UnixMicro())
	lease, err := m.Engine.Acquire(m.t.Context(), req)
	if err != nil {
		return // held, and nothing to be said about its token
	}
	last := m.last[req.ID]
	if lease.Token <= last && (m.remembered[req.ID] || clock > last) {
		rt.Fatalf("token %d of %q follows %d (remembered: %v, clock: %d)", lease.Token, req.ID, last, m.remembered[req.ID], clock)
	}
	m.last[req.ID], m.remembered[req.ID] = lease.Token, true
}

func (m *tokenMachine) end(rt *rapid.T) {
	req := locks.ReleaseRequest{ID: rapid.SampledFrom([]locks.ID{"a", "b"}).Draw(rt, "id"), Force: rapid.Bool().Draw(rt, "force")}
	if _, err := m.Engine.Release(m.t.Context(), req); err != nil {
		rt.Fatalf("releasing %q: %v", req.ID, err)
	}
}

func (m *tokenMachine) advance(rt *rapid.T) {
	waits := []time.Duration{time.Millisecond, short + slack}
	if m.Virtual {
		waits = append(waits, time.Microsecond, locks.Retention/2, locks.Retention, time.Hour)
	}
	m.Advance(rapid.SampledFrom(waits).Draw(rt, "wait"))
}

func (m *tokenMachine) step(rt *rapid.T) {
	m.StepWall(time.Duration(rapid.Int64Range(int64(-10*time.Second), int64(10*time.Second)).Draw(rt, "step")).Truncate(time.Microsecond))
}

func (m *tokenMachine) restart(*rapid.T) {
	m.Restart()
	// What a durable store remembers, it remembers through a restart; but it may
	// have been emptied since, so only the clock can be relied upon.
	clear(m.remembered)
}
