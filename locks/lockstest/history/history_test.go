package history_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/lockstest/history"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/session"
)

// seeds is how many histories the right engine has to pass; a wrong one has to
// fail in one of them.
const seeds = 8

// wrapper is what is put around an engine, and around connections to it. Nil:
// nothing is.
type wrapper struct {
	engine func(locks.Engine) locks.Engine
	conn   func(history.Conn) history.Conn
}

// play makes a history of an engine in virtual time.
func play(t *testing.T, seed uint64, wrap wrapper) (events []history.Event) {
	synctest.Test(t, func(t *testing.T) {
		if wrap.engine == nil {
			wrap.engine = func(e locks.Engine) locks.Engine { return e }
		}
		if wrap.conn == nil {
			wrap.conn = func(c history.Conn) history.Conn { return c }
		}
		engine := wrap.engine(memory.New(memory.Options{}))
		m := session.New(engine, session.Options{})
		recorder := history.NewRecorder()
		history.Load{
			Dial:     func(int, *rand.Rand) (history.Conn, error) { return wrap.conn(history.On(m, 1)), nil },
			Recorder: recorder,
			Seed:     seed,
			Clients:  8,
			For:      5 * time.Second,
			TTLs:     []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second},
			Wait:     2 * time.Second,
			Hold:     60 * time.Millisecond,
			Look:     10 * time.Millisecond,
			Fierce:   seed%2 == 0,
		}.Run(t.Context())
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
		events = recorder.Events()
	})
	return events
}

func TestTheEmbeddedEngineKeepsItsPromises(t *testing.T) {
	for seed := range uint64(seeds) {
		for _, v := range history.Check(play(t, seed, wrapper{})) {
			t.Errorf("seed %d: %v", seed, v)
		}
	}
}
