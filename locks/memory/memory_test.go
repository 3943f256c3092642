package memory_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/lockstest"
	"github.com/goodjobtech/candado/locks/memory"
)

// suite makes embedded engines on the time of a synctest bubble.
func suite(options memory.Options) lockstest.Suite {
	return lockstest.Suite{
		Wrap: synctest.Test,
		New: func(*testing.T) *lockstest.Fixture {
			var step atomic.Int64 // by how much the wall clock has been set
			options := options
			options.MaxWaiters = 40
			options.Wall = func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
			f := &lockstest.Fixture{
				Engine:     memory.New(options),
				Now:        options.Wall,
				Advance:    time.Sleep,
				Virtual:    true,
				StepWall:   func(d time.Duration) { step.Add(int64(d)) },
				MaxWaiters: options.MaxWaiters,
				Settle: func() {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
				},
			}
			f.Close = func() { _ = f.Engine.Close() }
			f.Restart = func() {
				f.Close()
				f.Engine = memory.New(options)
			}
			return f
		},
	}
}

func TestEngineConforms(t *testing.T) { lockstest.Run(t, suite(memory.Options{})) }

func TestEngineConformsWithOneShard(t *testing.T) { lockstest.Run(t, suite(memory.Options{Shards: 1})) }

func TestEngineConformsWithTheMostShards(t *testing.T) {
	lockstest.Run(t, suite(memory.Options{Shards: 1 << 20}))
}

func TestTokensIncrease(t *testing.T) { lockstest.Tokens(t, suite(memory.Options{})) }

func TestShardsAnswerAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lockstest.Compare(t, suite(memory.Options{}), suite(memory.Options{Shards: 1}))
	})
}

// The promise about tokens has a condition, and this is what happens without: a
// lost token and a clock that steps back by more than the lock was idle.
func TestTokensNeedTheAssumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := suite(memory.Options{}).New(t)
		defer func() { f.Close() }()
		grant := func() locks.Token {
			lease, err := f.Engine.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return lease.Token
		}
		first := grant()
		f.Advance(5 * time.Second)
		f.Restart()
		f.StepWall(-4 * time.Second)
		second := grant()
		if second <= first {
			t.Fatalf("token %d follows %d, though the lock was idle for longer than the step", second, first)
		}
		f.Restart()
		f.StepWall(-time.Second)
		if third := grant(); third > second {
			t.Fatalf("token %d follows %d: then the assumption is not needed", third, second)
		}
	})
}
