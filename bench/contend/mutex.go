package contend

import (
	"context"
	"sync"
)

// Mutex is a sync.Mutex of this process: what is left of an acquisition if there
// is no network and no server. No lock service can be faster.
func Mutex() Contender {
	return Contender{
		Name:  "mutex",
		Queue: true, // after a millisecond of waiting, by sync.Mutex's starvation mode
		Open: func(_ context.Context, _ string, workers int) (*Contest, error) {
			mu := new(sync.Mutex)
			return contest(workers, func() Worker { return mutexWorker{mu} }, func() {}), nil
		},
	}
}

type mutexWorker struct{ mu *sync.Mutex }

func (w mutexWorker) Acquire(context.Context) (int64, error) {
	w.mu.Lock()
	return 0, nil
}

func (w mutexWorker) Release(context.Context) error {
	w.mu.Unlock()
	return nil
}
