package upstream_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks/lockstest/history"
	"github.com/goodjobtech/candado/locks/session"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// Histories of two engines on one server, and of such as are wrong in one piece
// of a script. cmd/candado has histories in which servers fail.

// play makes a history. mutate is called with each engine.
func play(t *testing.T, seed uint64, mutate func(*upstream.Engine)) []history.Event {
	server := redistest.Start(t)
	var managers []*session.Manager
	for range 2 {
		e := open(t, server.URL(), 0)
		mutate(e)
		managers = append(managers, session.New(e, session.Options{}))
	}
	recorder := history.NewRecorder()
	history.Load{
		Dial: func(n int, _ *rand.Rand) (history.Conn, error) {
			return history.On(managers[n%2], n%2+1), nil
		},
		Recorder: recorder,
		Seed:     seed,
		Clients:  8,
		For:      time.Second,
		TTLs:     []time.Duration{200 * time.Millisecond, 5 * time.Second, 8 * time.Second},
		Wait:     4 * time.Second,
		Hold:     40 * time.Millisecond,
		Look:     10 * time.Millisecond,
		Fierce:   seed%2 == 0,
	}.Run(t.Context())
	for _, m := range managers {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	return recorder.Events()
}

// historySeeds is how many histories the right scripts have to pass.
const historySeeds = 2

// wrongSeeds is how many histories wrong scripts are given to fail in one of them. On a busy machine
// less happens in each, and less is sure.
const wrongSeeds = 10

func check(events []history.Event) []history.Violation {
	return history.Real(upstream.DefaultTimeout).Check(events)
}

func TestHistoriesOfTheScriptsAreRight(t *testing.T) {
	t.Parallel()
	for seed := range uint64(historySeeds) {
		for _, v := range check(play(t, seed, func(*upstream.Engine) {})) {
			t.Errorf("seed %d: %v", seed, v)
		}
	}
}

func TestWrongScriptsAreFoundOut(t *testing.T) {
	for _, wrong := range []struct{ name, rule, old, with string }{
		{"LeasesAreOverAtOnce", "denied", "expires > now)", "false)"},
		{"SharedBesideExclusive", "exclusion", "state == 2 and mode == 1 and", "(state == 2 or mode == 1) and"},
		{"LastComesFirst", "queue", "redis.call('ZRANGEBYSCORE', queue, 0, WAITERS, 'WITHSCORES', 'LIMIT', 0, 1)", "redis.call('ZREVRANGEBYSCORE', queue, WAITERS, 0, 'WITHSCORES', 'LIMIT', 0, 1)"},
		{"TokensFallBack", "token order", "math.max(last + 1, now, floor + 1)", "(now % 500000 + 1)"},
		{"NeverHandsOver", "idle", "if unsure or age and not admits(w.mode, w.limit) then return end", "do return end"},
		{"LimitIsOffByOne", "limit", "holders < limit", "holders <= limit"},
		{"ReleaseEndsNothing", "undead", "  finish(token)\nend\nended", "end\nended"},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(wrongSeeds) {
				events := play(t, seed, func(e *upstream.Engine) {
					if e.Mutate(wrong.old, wrong.with) == 0 {
						t.Fatal("the scripts do not hold what should be wrong in them")
					}
				})
				for _, v := range check(events) {
					if v.Rule == wrong.rule {
						return
					}
				}
			}
			t.Errorf("not found out by the rule %q in %d histories", wrong.rule, wrongSeeds)
		})
	}
}
