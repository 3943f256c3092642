package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/goodjobtech/candado/locks"
)

// Defaults of Options.
const (
	DefaultPrefix  = "candado:"
	DefaultTimeout = 2 * time.Second
)

// poolSize is the number of connections to the server. A few suffice: the
// server runs one script at a time.
const poolSize = 16

// Options says where the server is. The zero value of each field but URL works.
type Options struct {
	URL     string        // redis://, rediss:// or unix://, as go-redis reads it
	Prefix  string        // of every key; default "candado:"
	Timeout time.Duration // of an operation, all its re-sends included; default 2 s
	Log     *slog.Logger  // default: nothing is logged
}

// Engine keeps locks in a Redis server. It implements locks.Engine; its methods
// are safe for concurrent use.
type Engine struct {
	client  *redis.Client
	keys    keys
	timeout time.Duration
	scripts scripts
	clock   *clock
	doubts  *doubts
	health  *health
	floor   atomic.Int64 // the highest token seen
	closed  atomic.Bool
	running sync.RWMutex // read-locked by each operation under way
}

var _ locks.Engine = (*Engine)(nil)

// Open returns an engine on the server that the URL names. It does not wait
// for the server: while that is away, operations return ErrUnavailable. The
// error says what is wrong with the options, without the URL's password.
func Open(o Options) (*Engine, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	keys, err := newKeys(o.Prefix)
	if err != nil {
		return nil, err
	}
	opts, err := clientOptions(o)
	if err != nil {
		return nil, fmt.Errorf("reading upstream URL: %w", err)
	}
	// The library logs each failed dial, to standard error, for all its clients at once. Here a failure is an error
	// that is returned, and health logs the change.
	logging.Disable()
	e := &Engine{
		client:  redis.NewClient(opts),
		keys:    keys,
		timeout: o.Timeout,
		scripts: loadScripts(),
		clock:   newClock(),
		doubts:  newDoubts(),
		health:  &health{log: o.Log.With("upstream", opts.Addr)},
	}
	e.doubts.start(e.undo)
	return e, nil
}

// clientOptions turns off what the client library would do on its own: it does
// not know which commands may be sent again.
func clientOptions(o Options) (*redis.Options, error) {
	opts, err := redis.ParseURL(o.URL)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // its own text holds the URL, password and all
		}
		return nil, err
	}
	opts.Protocol = 2
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = o.Timeout, o.Timeout, o.Timeout, o.Timeout
	opts.PoolSize = poolSize
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opts, nil
}

// Close stops the engine. If the server answers, it first waits for the
// operations under way, and tries once more, for up to a second, to undo the
// acquires that got no answer. Leases stay.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	if e.health.away.Load() {
		// What is under way waits for an answer in vain; closing ends it.
		err := e.client.Close()
		e.doubts.stop()
		return err
	}
	e.running.Lock()
	defer e.running.Unlock()
	e.doubts.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	e.doubts.settle(ctx)
	return e.client.Close()
}

// Acquire implements locks.Engine.
func (e *Engine) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	number := newNumber()
	ended := func(c *call, r reply, err error) {
		if c.ran && !answered(c, r, err) {
			e.doubts.add(&doubt{id: req.ID, owner: req.Owner, mode: req.Mode, number: number, deadline: c.deadline, since: time.Now()})
		}
	}
	r, err := e.do(ctx, &call{script: e.scripts.acquire, key: e.keys.record(req.ID), ended: ended, args: []any{
		number[:], e.doubts.of(req), e.floor.Load(), flag(req.Mode == locks.Shared), req.Limit, millis(req.TTL), string(req.Owner),
	}})
	if err != nil {
		return locks.Lease{}, fmt.Errorf("acquiring %q: %w", req.ID, err)
	}
	switch r.status {
	case statusMode:
		return locks.Lease{}, locks.ErrMode
	case statusNone, statusDone:
		var token int64
		if err := r.scan(&token); err != nil {
			return locks.Lease{}, fmt.Errorf("acquiring %q: %w", req.ID, err)
		}
		e.saw(token)
		if r.status == statusNone {
			return locks.Lease{}, locks.ErrHeld
		}
		return locks.Lease{Token: locks.Token(token), Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, nil
	}
	return locks.Lease{}, fmt.Errorf("acquiring %q: %w", req.ID, r.unexpected())
}

// answered reports whether an acquire leaves no doubt: it was granted, or no
// copy of it can run any more.
func answered(c *call, r reply, err error) bool {
	return err == nil && (r.status == statusDone || r.now > c.deadline)
}

// Release implements locks.Engine.
func (e *Engine) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	number := newNumber()
	args := func(sent int64) []any {
		return []any{number[:], token(req.Claim.Token), string(req.Claim.Owner), flag(req.Force), sent}
	}
	r, err := e.do(ctx, &call{script: e.scripts.release, key: e.keys.record(req.ID), args: args(0), again: args})
	if err == nil {
		switch r.status {
		case statusNone:
			return locks.Released{}, nil
		case statusNotOwner:
			return locks.Released{Held: true}, locks.ErrNotOwner
		case statusDone:
			var ended, left int64
			if err = r.scan(&ended, &left); err == nil {
				return locks.Released{Ended: int(ended), Held: left > 0}, nil
			}
		default:
			err = r.unexpected()
		}
	}
	return locks.Released{}, fmt.Errorf("releasing %q: %w", req.ID, err)
}

// Heartbeat implements locks.Engine.
func (e *Engine) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	ttl := any("")
	if req.TTL != 0 {
		ttl = millis(req.TTL)
	}
	r, err := e.do(ctx, &call{script: e.scripts.heartbeat, key: e.keys.record(req.ID), once: req.Claim.Bare(), args: []any{
		token(req.Claim.Token), string(req.Claim.Owner), ttl,
	}})
	if err == nil {
		switch r.status {
		case statusNone:
			return locks.Lease{}, nil
		case statusNotOwner:
			return locks.Lease{}, locks.ErrNotOwner
		case statusDone:
			var token, ms, mode int64
			var owner string
			if err = r.scan(&token, &ms, &mode, &owner); err == nil {
				e.saw(token)
				return locks.Lease{Token: locks.Token(token), Owner: locks.Owner(owner), Mode: locks.Mode(mode), TTL: duration(ms, 0)}, nil
			}
		default:
			err = r.unexpected()
		}
	}
	return locks.Lease{}, fmt.Errorf("renewing lease of %q: %w", req.ID, err)
}

// Renew implements locks.Engine.
func (e *Engine) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	results := make([]locks.Renewed, len(reqs))
	for i, req := range reqs {
		results[i].Lease, results[i].Err = e.Heartbeat(ctx, req)
	}
	return results
}

// Ready implements locks.Engine: the server answers, and can take writes.
func (e *Engine) Ready(ctx context.Context) error {
	_, err := e.do(ctx, e.readyCall())
	return err
}

func (e *Engine) readyCall() *call {
	return &call{script: e.scripts.ready, key: e.keys.none(), timeless: true}
}

// undo ends the lease that an unanswered acquire may have made. It returns the
// server's time.
func (e *Engine) undo(ctx context.Context, d *doubt) (now int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	// No deadline (0): an undo is right whenever it comes.
	r, err := e.send(ctx, &call{script: e.scripts.undo, key: e.keys.record(d.id), timeless: true, args: []any{0, d.number[:]}})
	return r.now, err
}

// saw raises the floor of the tokens to come.
func (e *Engine) saw(token int64) {
	for {
		floor := e.floor.Load()
		if token <= floor || token > int64(locks.MaxToken) || e.floor.CompareAndSwap(floor, token) {
			return
		}
	}
}
