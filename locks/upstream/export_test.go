package upstream

import (
	"context"

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
