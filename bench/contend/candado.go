package contend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// DefaultTTL is how long a lease lasts unless it is asked for otherwise.
const DefaultTTL = 30 * time.Second

// provisional is how long a lease may last for which candado sends Redis no
// confirmation when it is handed over.
const provisional = 4 * time.Second

// Candado is one candado, or several on the same Redis: the workers are spread
// evenly over them. Each worker has a connection of its own. A lease lasts for
// ttl, which has to be longer than any is held.
func Candado(name string, ttl time.Duration, addrs ...string) Contender {
	beside := ""
	if ttl > provisional {
		beside = "zrem"
	}
	return Contender{
		Beside: beside,
		Name:   name,
		Queue:  true,
		Fenced: true,
		Open: func(ctx context.Context, id string, workers int) (*Contest, error) {
			return openCandado(ctx, addrs, ttl.Milliseconds(), id, workers)
		},
	}
}

func openCandado(ctx context.Context, addrs []string, ttl int64, id string, workers int) (*Contest, error) {
	clients := make([]*redis.Client, len(addrs))
	for i, addr := range addrs {
		clients[i] = candadoClient(addr, workers+1) // one more for the check
	}
	next := 0
	c := contest(workers, func() Worker {
		w := &candadoWorker{conn: clients[next%len(clients)].Conn(), id: id, ttl: ttl}
		next++
		return w
	}, func() {
		for _, client := range clients {
			_ = client.Close() // its connections are gone either way
		}
	})
	c.Check = func(ctx context.Context) error { return checkFree(ctx, clients[0], id) }
	for _, w := range c.Workers {
		if err := w.(*candadoWorker).conn.Ping(ctx).Err(); err != nil {
			c.Close()
			return nil, fmt.Errorf("connecting to candado: %w", err)
		}
	}
	return c, nil
}

// candadoClient waits for replies without a limit, and sends each command once.
func candadoClient(addr string, connections int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, PoolSize: connections, ReadTimeout: -1, MaxRetries: -1})
}

// checkFree takes the lock without waiting, which candado allows only if it is
// free and nobody waits for it, and gives it back.
func checkFree(ctx context.Context, client *redis.Client, id string) error {
	token, err := client.Do(ctx, "LOCK.ACQUIRE", id).Int64()
	if errors.Is(err, redis.Nil) {
		return errors.New("the lock is not free though all have left")
	}
	if err != nil {
		return fmt.Errorf("trying whether the lock is free: %w", err)
	}
	return releaseCandado(ctx, client, id, token)
}

type doer interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
}

func releaseCandado(ctx context.Context, client doer, id string, token int64) error {
	reply, err := client.Do(ctx, "LOCK.RELEASE", id, token).Result()
	if err != nil {
		return fmt.Errorf("LOCK.RELEASE: %w", err)
	}
	if reply != int64(1) {
		return fmt.Errorf("LOCK.RELEASE replied %v, want 1", reply)
	}
	return nil
}

type candadoWorker struct {
	conn  *redis.Conn
	id    string
	ttl   int64 // ms
	token int64
}

func (w *candadoWorker) Acquire(ctx context.Context) (int64, error) {
	reply, err := w.conn.Do(ctx, "LOCK.ACQUIRE", w.id, "BLOCK", 0, "PX", w.ttl).Result()
	if err != nil {
		return 0, fmt.Errorf("LOCK.ACQUIRE: %w", err)
	}
	token, ok := reply.(int64)
	if !ok || token <= 0 {
		return 0, fmt.Errorf("LOCK.ACQUIRE replied %v, want a token", reply)
	}
	w.token = token
	return token, nil
}

func (w *candadoWorker) Release(ctx context.Context) error {
	return releaseCandado(ctx, w.conn, w.id, w.token)
}
