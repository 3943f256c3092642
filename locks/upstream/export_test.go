package upstream

import (
	"context"
	"strings"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// OpenUnwatched is Open for an engine that does not look at its server: tests that
// lose one reply of the server's mean that of a request.
func OpenUnwatched(o Options) (*Engine, error) { return open(o) }

// Look looks at the server now, as after a minute; fresh: as after it was connected
// to.
func (e *Engine) Look(fresh bool) error { return e.watch.look(context.Background(), fresh) }

// OpenDoubts returns how many acquires are in doubt.
func (e *Engine) OpenDoubts() int { return len(e.doubts.all()) }

// Waiting returns how many requests for a lock know that they wait.
func (e *Engine) Waiting(id locks.ID) int {
	e.waiting.mu.Lock()
	defer e.waiting.mu.Unlock()
	if r := e.waiting.rooms[id]; r != nil {
		return len(r.waiters)
	}
	return 0
}

// InTheAir returns what the batcher counts: flights, those under way but for slow ones, slow
// ones, and operations and units in its queue.
func (e *Engine) InTheAir() (flights, flying, slow, queued, units int) {
	b := e.batches
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.air.flights), b.flying, b.slow, b.queued, len(b.queue)
}

// Settle tends every lock that requests of the engines wait for, as a second
// that passes would.
func Settle(engines ...locks.Engine) {
	for _, e := range engines {
		e := e.(*Engine)
		e.waiting.mu.Lock()
		var visits []visit
		for _, r := range e.waiting.rooms {
			visits = append(visits, visit{r, r.ask()})
		}
		e.waiting.mu.Unlock()
		for _, v := range visits {
			c := e.tendCall(v)
			e.sendAlone(context.Background(), c)
			_, _ = e.tended(v, c)
		}
	}
}

// Mutate replaces a piece of the engine's scripts wherever they have it, and
// reports how often that was.
func (e *Engine) Mutate(old, with string) (n int) {
	s := &e.scripts
	for _, one := range []*script.Script{&s.Batch, &s.Info, &s.Tend} {
		n += strings.Count(one.Source, old)
		*one = script.New(strings.ReplaceAll(one.Source, old, with))
	}
	e.batches.script = s.Batch
	return n
}
