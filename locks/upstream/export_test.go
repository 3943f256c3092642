package upstream

import "github.com/goodjobtech/candado/locks"

// OpenDoubts returns how many acquires are in doubt.
func (e *Engine) OpenDoubts() int { return len(e.doubts.all()) }

// Settle tends every lock that requests of the engines wait for, as a second
// that passes would.
func Settle(engines ...locks.Engine) {
	for _, e := range engines {
		e := e.(*Engine)
		e.waiting.mu.Lock()
		var rooms []*room
		for _, r := range e.waiting.rooms {
			rooms = append(rooms, r)
		}
		e.waiting.mu.Unlock()
		for _, r := range rooms {
			e.tendOnce(r)
		}
	}
}
