package upstream

import (
	"context"
	"crypto/tls"
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
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// Defaults of Options.
const (
	DefaultPrefix  = "candado:"
	DefaultTimeout = 2 * time.Second
	DefaultBatch   = 128
)

// poolSize is the number of connections to the server, at most. A few suffice: the
// server runs one script at a time.
const poolSize = 16

// Options says where the server is. The zero value of each field but URL works.
type Options struct {
	URL     string        // redis://, rediss:// or unix://, as go-redis reads it
	Prefix  string        // of every key; default "candado:"
	Timeout time.Duration // of an operation, all its re-sends included; default 2 s
	Log     *slog.Logger  // default: nothing is logged

	// TLS returns the configuration of one connection, for a URL with rediss://. It is
	// called for each; the engine sets the server's name, which is the URL's. Default:
	// the system's authorities are trusted, and no certificate is shown.
	TLS func() *tls.Config

	// Password returns the server's password, if it is not in the URL; a user's name
	// is. It is called for each connection, and may fail: then that can't be made.
	Password func() (string, error)

	// MaxWaiters is how many requests may wait for one lock. 0:
	// locks.DefaultMaxWaiters.
	MaxWaiters int

	// Batch is how many operations of different clients go to the server in one
	// script, at most. 1: each goes alone, also those of one client's pipeline.
	// 0: DefaultBatch.
	Batch int

	// Strict refuses a server that is unsafe for locks (see Reason). Default: what
	// is unsafe is logged.
	Strict bool
}

// Engine keeps locks in a Redis server. It implements locks.Engine; its methods
// are safe for concurrent use.
type Engine struct {
	client  *redis.Client
	keys    keys
	timeout time.Duration
	scripts script.Set
	batches *batcher
	clock   *clock
	doubts  *doubts
	health  *health
	watch   *watch
	waiting *waiting
	most    int          // requests that may wait for one lock
	floor   atomic.Int64 // the highest token seen
	closed  atomic.Bool
	running sync.RWMutex // read-locked by each operation under way
}

var _ locks.Engine = (*Engine)(nil)

// Open returns an engine on the server that the URL names. It does not wait
// for the server: while that is away, operations return ErrUnavailable. The
// error says what is wrong with the options, without the URL's password.
//
// A strict engine asks the server first, for up to the time-out: the error is a
// *locks.UnsafeError if that is unsafe. If it becomes so later, or is found so only later, operations
// return that error until it is safe.
func Open(o Options) (*Engine, error) {
	e, err := open(o)
	if err != nil {
		return nil, err
	}
	first := time.Duration(0)
	if o.Strict {
		err := e.watch.look(context.Background(), true)
		if r := e.watch.refusal.Load(); r != nil {
			_ = e.Close()
			return nil, r
		}
		if err == nil { // one that is away may be safe
			first = lookEvery
		}
	}
	e.watch.start(first)
	return e, nil
}

// open is Open for an engine that does not look at its server.
func open(o Options) (*Engine, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxWaiters == 0 {
		o.MaxWaiters = locks.DefaultMaxWaiters
	}
	if o.Batch == 0 {
		o.Batch = DefaultBatch
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
	log := o.Log.With("upstream", opts.Addr)
	watch := newWatch(opts, o.Strict, log)
	e := &Engine{
		client:  redis.NewClient(opts),
		keys:    keys,
		timeout: o.Timeout,
		scripts: script.Load(),
		clock:   newClock(),
		doubts:  newDoubts(),
		health:  &health{log: log},
		watch:   watch,
		waiting: newWaiting(),
		most:    o.MaxWaiters,
	}
	e.batches = newBatcher(e, o.Batch)
	e.watch.answers = e.askIt
	e.waiting.estimate, e.waiting.tend = e.clock, e.tend
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
	if err := secure(opts, o.TLS, o.Password); err != nil {
		return nil, err
	}
	return opts, nil
}

// Close stops the engine: requests that wait leave their queues and return
// ErrShutdown. If the server answers, Close waits for the operations under way,
// and tries once more, for up to a second, to undo the acquires that got no
// answer. Leases stay.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	e.watch.stop()
	if e.health.away.Load() {
		// What is under way waits for an answer in vain; closing ends it.
		err := e.client.Close()
		e.waiting.close()
		e.doubts.stop()
		return err
	}
	e.waiting.close()
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
	if req.Wait != 0 {
		return e.wait(ctx, req)
	}
	c := e.acquireCall(req, entryOf(req), notQueued)
	e.do(ctx, c)
	return e.acquiredAtOnce(req, c)
}

// acquiredAtOnce reads the reply to an acquire that does not wait.
func (e *Engine) acquiredAtOnce(req locks.AcquireRequest, c *call) (locks.Lease, error) {
	r, err := c.outcome()
	if err != nil {
		return locks.Lease{}, fmt.Errorf("acquiring %q: %w", req.ID, err)
	}
	lease, _, err := e.acquired(req, r)
	return lease, err
}

// notQueued is the place of a request that does not wait.
const notQueued = -1

// entryOf returns what a new request is known by.
func entryOf(req locks.AcquireRequest) script.Entry {
	return script.Entry{
		Number: newNumber(), Shared: req.Mode == locks.Shared, Limit: req.Limit, TTL: millis(req.TTL), Owner: string(req.Owner),
	}
}

// acquireCall is a request's acquire. Its place in the queue is notQueued if it
// does not wait, 0 if it has none yet. An acquire that is not answered becomes a
// doubt.
func (e *Engine) acquireCall(req locks.AcquireRequest, entry script.Entry, place int64) *call {
	c := new(call)
	e.askAcquire(c, req, entry, place)
	return c
}

func (e *Engine) askAcquire(c *call, req locks.AcquireRequest, entry script.Entry, place int64) {
	op := script.Acquire{Entry: entry, Doubted: e.doubts.of(req), Queue: place != notQueued, Place: max(place, 0)}
	c.op = op.Append(c.about(e, req.ID))
	c.doubtful, c.req, c.entry = true, req, entry
}

// acquired reads the reply to an acquire: the lease, or the place at which the
// request waits.
func (e *Engine) acquired(req locks.AcquireRequest, r reply) (lease locks.Lease, place int64, err error) {
	switch r.status {
	case statusMode:
		return lease, 0, locks.ErrMode
	case statusFull:
		return lease, 0, &locks.QuotaError{Quota: locks.QuotaLockWaiters}
	case statusNone, statusDone, statusWaits:
		token := r.value
		if r.fields != nil {
			if err := r.scan(&token); err != nil {
				return lease, 0, fmt.Errorf("acquiring %q: %w", req.ID, err)
			}
		}
		e.saw(token)
		switch r.status {
		case statusNone:
			return lease, 0, locks.ErrHeld
		case statusDone:
			return leaseOf(req, token), 0, nil
		}
		if err := r.scan(&place); err == nil && place > 0 {
			return lease, place, nil
		}
	}
	return lease, 0, fmt.Errorf("acquiring %q: %w", req.ID, r.unexpected())
}

func leaseOf(req locks.AcquireRequest, token int64) locks.Lease {
	return locks.Lease{Token: locks.Token(token), Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}
}

// answered reports whether an acquire leaves no doubt: it was granted, or it
// waits and sees to its copies itself (waiter.unsure), or no copy of it can run
// any more. An undo of a request that waits would take it out of the queue, and
// end the lease that its caller has been told of.
func answered(c *call) bool {
	return c.err == nil && (c.reply.status == statusDone || c.reply.status == statusWaits || c.reply.now > c.deadline)
}

// Ready implements locks.Engine: the server answers, and can take writes.
func (e *Engine) Ready(ctx context.Context) error {
	_, err := e.alone(ctx, &call{script: e.scripts.Ready, key: []byte(e.keys.none())})
	return err
}

// Answers reports whether the server answered the latest request, also if it refused
// that for want of memory. One is sent each minute, should there be no others. It asks
// nothing, and is true until something was asked.
func (e *Engine) Answers() bool { return !e.health.away.Load() }

// askIt asks the server whether it is ready, and reports whether it answers. What the
// request comes to is taken note of as with any other. Ctx ends the wait alone: a request
// that is cut off at the wrong moment would look like one that the server has failed.
func (e *Engine) askIt(ctx context.Context) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Ready(context.WithoutCancel(ctx)) // it ends by the time-out, or by Close
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return e.Answers()
}

// undo takes the requests in doubt back.
func (e *Engine) undo(ctx context.Context, group []*doubt) []*call {
	calls := newCalls(len(group))
	for i, c := range calls {
		e.askUndo(c, group[i].id, group[i].entry)
	}
	e.send(ctx, calls)
	return calls
}

// askUndo makes the call one that takes a request back, which is right whenever it
// comes.
func (e *Engine) askUndo(c *call, id locks.ID, entry script.Entry) {
	c.op = script.Undo{Entry: entry}.Append(c.about(e, id))
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
