// Package lockstest is the conformance suite of locks.Engine: what every engine
// has to answer, whatever it keeps its locks in.
//
// Run tries one property after the other. Tokens plays random histories and
// looks at tokens alone. Compare plays random histories on two engines, and
// wants the same replies from both. An engine's own tests say with a Suite how
// to make one.
package lockstest

import (
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Suite says how to test an engine.
type Suite struct {
	// New returns a fixture with an empty store of its own. It is called many
	// times in one test; each fixture is closed when it is no longer needed.
	New func(t *testing.T) *Fixture

	// Wrap runs one case. Nil: the case is called. An engine whose time is
	// virtual gives synctest.Test, so that each case has a bubble of its own.
	Wrap func(t *testing.T, run func(t *testing.T))
}

func (s Suite) wrap(t *testing.T, run func(t *testing.T)) {
	if s.Wrap == nil {
		run(t)
		return
	}
	s.Wrap(t, run)
}

// Fixture is an engine under test, and what a test may do to its surroundings.
type Fixture struct {
	// Engine is the one that is asked. Restart replaces it.
	Engine locks.Engine

	// Second is another engine on the same store. Nil: there is none, and cases
	// that want one are skipped.
	Second locks.Engine

	// Now reads the clock from which the engine takes its tokens.
	Now func() time.Time

	// Advance lets at least d pass on the engine's clock. The suite keeps
	// advances few and short (a few hundred milliseconds for each case), for
	// the sake of engines whose time is real.
	Advance func(d time.Duration)

	// Virtual says that the clock stands still between two advances. It allows
	// cases that look at the very moment at which a lease ends, or that wait
	// for minutes.
	Virtual bool

	// StepWall sets the clock in tokens forward or back, and moves no expiry
	// beyond what the engine's documentation says. Nil: it can't be set.
	StepWall func(d time.Duration)

	// Empty loses all that the store holds, under the running engine. Nil: it
	// can't be emptied.
	Empty func()

	// FallBack puts the store back, under the running engine, to what it held
	// when Remember was called last, as the promotion of a stale replica does.
	// Nil: it can't be done.
	Remember, FallBack func()

	// Restart puts a new engine in the place of Engine. Nil: it can't.
	Restart func()

	// Durable says that the store outlives Restart.
	Durable bool

	// MaxWaiters is how many requests the engines let wait for one lock: at
	// least 40. 0: so many that no case fills the queue.
	MaxWaiters int

	// Settle lets the engines do what they do by themselves by now: hand over
	// what has expired, and wake who was granted. Up to 200 ms may pass on
	// their clock. Nil: there is nothing to do.
	Settle func()

	// Close gives back what the fixture uses. It must be harmless that Engine
	// has been closed already.
	Close func()
}

// Run tries every property of the suite, each on a fixture of its own.
func Run(t *testing.T, s Suite) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s.wrap(t, func(t *testing.T) {
				f := s.New(t)
				defer f.Close()
				p := newProbe(f, t)
				defer p.end()
				c.run(p)
			})
		})
	}
}

// testCase is one property and the test that can refute it.
type testCase struct {
	name string
	run  func(p *probe)
}

func cases() []testCase {
	var all []testCase
	for _, some := range [][]testCase{
		acquireCases(), sharedCases(), releaseCases(), heartbeatCases(), expiryCases(),
		infoCases(), scanCases(), tokenCases(), engineCases(),
		queueCases(), againCases(), handOverCases(), leavingCases(), renewCases(), doCases(),
	} {
		all = append(all, some...)
	}
	return all
}
