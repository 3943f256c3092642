package contend

// This file holds the other libraries, each used as its README has it, but for
// two things: a pool is as large as there are workers, and waiting does not give
// up by itself.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

// pool returns a client whose connections are made at once.
func pool(ctx context.Context, addr string, size int) (*redis.Client, error) {
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: size, MinIdleConns: size})
	if err := client.Ping(ctx).Err(); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("connecting to Redis: %w", err)
	}
	return client, nil
}

// Redsync polls: with its defaults every 50 to 250 ms, at random.
func Redsync(addr string) Contender {
	return Contender{Name: "redsync", Open: func(ctx context.Context, id string, workers int) (*Contest, error) {
		client, err := pool(ctx, addr, workers)
		if err != nil {
			return nil, err
		}
		rs := redsync.New(goredis.NewPool(client))
		return contest(workers, func() Worker {
			return redsyncWorker{rs.NewMutex(id, redsync.WithTries(math.MaxInt))}
		}, func() { _ = client.Close() }), nil
	}}
}

type redsyncWorker struct{ mutex *redsync.Mutex }

func (w redsyncWorker) Acquire(ctx context.Context) (int64, error) {
	return 0, w.mutex.LockContext(ctx)
}

func (w redsyncWorker) Release(ctx context.Context) error {
	ok, err := w.mutex.UnlockContext(ctx)
	if err == nil && !ok {
		err = errors.New("redsync: the lock was lost")
	}
	return err
}

// Redislock polls every 100 ms, as its example of retrying does.
func Redislock(addr string) Contender {
	return Contender{Name: "redislock", Open: func(ctx context.Context, id string, workers int) (*Contest, error) {
		client, err := pool(ctx, addr, workers)
		if err != nil {
			return nil, err
		}
		locker := redislock.New(client)
		return contest(workers, func() Worker {
			return &redislockWorker{client: locker, id: id}
		}, func() { _ = client.Close() }), nil
	}}
}

type redislockWorker struct {
	client *redislock.Client
	id     string
	lock   *redislock.Lock
}

func (w *redislockWorker) Acquire(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // without a deadline it gives up after the TTL
	defer cancel()
	var err error
	w.lock, err = w.client.Obtain(ctx, w.id, DefaultTTL, &redislock.Options{
		RetryStrategy: redislock.LinearBackoff(100 * time.Millisecond),
	})
	return 0, err
}

func (w *redislockWorker) Release(ctx context.Context) error {
	return w.lock.Release(ctx)
}

// Rueidislock waits for Redis to invalidate the key that it has read. One Locker
// serves all workers, on few connections: they wake one another without Redis.
func Rueidislock(addr string) Contender {
	return Contender{Name: "rueidislock", Open: func(_ context.Context, id string, workers int) (*Contest, error) {
		locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
			ClientOption:   rueidis.ClientOption{InitAddress: []string{addr}},
			KeyMajority:    1,
			NoLoopTracking: true,
		})
		if err != nil {
			return nil, fmt.Errorf("connecting to Redis: %w", err)
		}
		return contest(workers, func() Worker {
			return &rueidisWorker{locker: locker, id: id}
		}, locker.Close), nil
	}}
}

type rueidisWorker struct {
	locker rueidislock.Locker
	id     string
	held   context.Context // ends if the lock is lost
	cancel context.CancelFunc
}

func (w *rueidisWorker) Acquire(ctx context.Context) (int64, error) {
	var err error
	w.held, w.cancel, err = w.locker.WithContext(ctx, w.id)
	return 0, err
}

func (w *rueidisWorker) Release(context.Context) error {
	err := w.held.Err()
	w.cancel()
	if err != nil {
		return fmt.Errorf("rueidislock: the lock was lost: %w", err)
	}
	return nil
}
