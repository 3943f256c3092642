package upstream

import (
	"context"
	"strings"

	"github.com/goodjobtech/candado/locks"
)

// OpenDoubts returns how many acquires are in doubt.
func (e *Engine) OpenDoubts() int { return len(e.doubts.all()) }

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
			_, _ = e.tended(v, e.doAll(context.Background(), []*call{e.tendCall(v)})[0])
		}
	}
}

// Mutate replaces a piece of the engine's scripts wherever they have it, and
// reports how often that was.
func (e *Engine) Mutate(old, with string) (n int) {
	s := &e.scripts
	for _, one := range []*script{&s.acquire, &s.release, &s.heartbeat, &s.check, &s.info, &s.undo, &s.confirm, &s.tend} {
		n += strings.Count(one.source, old)
		*one = newScript(strings.ReplaceAll(one.source, old, with))
	}
	return n
}
