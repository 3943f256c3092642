// Package contend holds the ways to lock that are compared: candado, other
// libraries on the same Redis, and a mutex as the ceiling.
package contend

import (
	"context"
	"sync"
)

// Contender is one way to lock.
type Contender struct {
	Name string

	// Queue says that waiters are served in order, so that every one gets the
	// lock soon after no more come. Of the others none is sure to get it.
	Queue bool

	// Fenced says that Acquire returns tokens, which strictly increase.
	Fenced bool

	// Beside is the Redis command that it sends once for an acquisition, in no
	// script, and runs in none; empty if there is no such. The server's own counts do not tell.
	Beside string

	// Open connects workers, each with its own contention for one lock. It
	// returns when all are connected.
	Open func(ctx context.Context, id string, workers int) (*Contest, error)
}

// Contest is one lock and those who want it.
type Contest struct {
	Workers []Worker

	// Check is called once no worker holds the lock or waits for it. It returns
	// an error if the lock is not free. Nil: nothing to check.
	Check func(ctx context.Context) error

	// Close disconnects the workers, and with that ends their waits. It may be
	// called again.
	Close func()
}

// Worker takes the lock and gives it back, again and again. It is used by one
// goroutine at a time.
type Worker interface {
	// Acquire waits until the worker holds the lock, or until ctx or the contest
	// has ended. The token is 0 if the contender has none. An error is anything
	// but being granted the lock.
	Acquire(ctx context.Context) (token int64, err error)

	// Release gives the lock back. It returns an error if the worker did not
	// hold it any more.
	Release(ctx context.Context) error
}

// contest opens n workers of the same make.
func contest(n int, open func() Worker, closing func()) *Contest {
	c := &Contest{Workers: make([]Worker, n), Close: sync.OnceFunc(closing)}
	for i := range c.Workers {
		c.Workers[i] = open()
	}
	return c
}
