package upstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/lockstest"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// suite makes engines on a real server whose clock stands still until it is
// advanced. The server is one for the whole test; each fixture finds it empty.
func suite(t *testing.T) lockstest.Suite {
	s := redistest.StartWithClock(t)
	return lockstest.Suite{New: func(t *testing.T) *lockstest.Fixture {
		clock := lockstest.NewClock(time.Now().Truncate(time.Millisecond))
		advance := func(d time.Duration) {
			clock.Advance(d)
			s.FreezeClock(clock.Now())
		}
		advance(0)
		s.Do("FLUSHALL")
		var copied map[string]dumped
		f := &lockstest.Fixture{
			Engine:  openLimited(t, s.URL()),
			Second:  openLimited(t, s.URL()),
			Now:     clock.Now,
			Advance: advance,
			Virtual: true,
			Empty:   func() { s.Do("FLUSHALL") },
			Durable: true,

			MaxWaiters: fewWaiters,
			Remember:   func() { copied = dump(t, s) },
			FallBack:   func() { restore(t, s, copied) },
			// A step of the server's clock is time that passes, or comes again, for its leases too.
			StepWall: advance,
		}
		f.Close = func() { _, _ = f.Engine.Close(), f.Second.Close() }
		f.Restart = func() {
			_ = f.Engine.Close()
			f.Engine = openLimited(t, s.URL())
		}
		f.Settle = func() { upstream.Settle(f.Engine, f.Second) }
		return f
	}}
}

// fewWaiters is how many requests the engines of the suite let wait.
const fewWaiters = 40

func openLimited(t *testing.T, url string) locks.Engine {
	t.Helper()
	return openWith(t, upstream.Options{URL: url, MaxWaiters: fewWaiters, Timeout: 20 * time.Second}) // no case is about that
}

// dumped is a key's value and its expiry, Unix ms; 0: none.
type dumped struct {
	value string
	until int64
}

// dump copies what the server holds, as a replica would.
func dump(t *testing.T, s *redistest.Server) map[string]dumped {
	t.Helper()
	c, ctx, all := raw(t, s.Addr), context.Background(), map[string]dumped{}
	for _, k := range c.Keys(ctx, "*").Val() {
		all[k] = dumped{c.Dump(ctx, k).Val(), max(c.PExpireTime(ctx, k).Val().Milliseconds(), 0)}
	}
	return all
}

// restore makes the server hold what was copied, and nothing else.
func restore(t *testing.T, s *redistest.Server, all map[string]dumped) {
	t.Helper()
	s.Do("FLUSHALL")
	c, ctx := raw(t, s.Addr), context.Background()
	for k, d := range all {
		if err := c.Do(ctx, "RESTORE", k, d.until, d.value, "ABSTTL").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// embedded makes engines on a clock that stands still until it is advanced.
func embedded() lockstest.Suite {
	return lockstest.Suite{New: func(*testing.T) *lockstest.Fixture {
		clock := lockstest.NewClock(time.Now().Truncate(time.Millisecond))
		e := memory.New(memory.Options{Now: clock.Now, MaxWaiters: fewWaiters})
		return &lockstest.Fixture{
			Engine: e, Now: clock.Now, Advance: clock.Advance, Virtual: true, MaxWaiters: fewWaiters, Close: func() { _ = e.Close() },
		}
	}}
}

func TestEngineConforms(t *testing.T) { lockstest.Run(t, suite(t)) }

func TestTokensIncrease(t *testing.T) { lockstest.Tokens(t, suite(t)) }

func TestBothEnginesAnswerAlike(t *testing.T) { lockstest.Compare(t, embedded(), suite(t)) }

// The promise about tokens has a condition, and this is what happens without:
// data lost, the process that saw the last token gone, and the clock set back by more than the lock was idle.
func TestTokensNeedTheAssumption(t *testing.T) {
	f := suite(t).New(t)
	defer func() { f.Close() }()
	first := acquire(t, f.Engine, request("a", "")).Token
	lose := func(back time.Duration) locks.Token {
		f.Empty()
		f.StepWall(-back)
		f.Restart()
		return acquire(t, f.Engine, request("a", "")).Token
	}
	f.Advance(5 * time.Second)
	second := lose(4 * time.Second)
	if second <= first {
		t.Errorf("token %d follows %d, though the lock was idle for longer than the step", second, first)
	}
	if third := lose(time.Second); third > second {
		t.Errorf("token %d follows %d: then the assumption is not needed", third, second)
	}
}
