package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
)

// maxSends bounds how often one operation is sent because its connection broke
// or its deadline was misjudged.
const maxSends = 4

// The statuses that a script's reply begins with.
const (
	statusWaits    = 2
	statusDone     = 1
	statusNone     = 0 // held, or free
	statusNotOwner = -1
	statusMode     = -2
	statusLate     = -3
	statusNoToken  = -4
	statusForeign  = -5
	statusUnknown  = -6
	statusFull     = -7
)

// A call is one operation on its way to the server.
type call struct {
	script script
	id     locks.ID // of the lock; empty if it is about none
	key    string
	args   []any // after those that all scripts about a lock share

	// once: it must not be sent again after a connection broke, since a second
	// run could do something else.
	once bool

	// timeless: it is right whenever it comes, and has no deadline.
	timeless bool

	// again returns what the arguments are to be from the second copy on, given
	// the server's time at which the first was sent. Nil: the same.
	again func(sent int64) []any

	// ended is called with the outcome, before Close can go on. Nil: nothing is.
	ended func(c *call, r reply, err error)

	// Set by send:
	ran      bool  // whether the script may have run although no reply came
	deadline int64 // server's µs after which no copy of the call runs
}

// reply is what a script returned.
type reply struct {
	status int64
	now    int64 // the server's time, µs
	fields []any // what came after these two
}

// do runs the call and returns the script's reply. Every error wraps
// ErrUnavailable, or ErrShutdown after Close. A deadline of ctx is kept;
// being cancelled ends the call only before it is sent, since a reply is due
// within the engine's time-out.
func (e *Engine) do(ctx context.Context, c *call) (reply, error) {
	// Held to the end, so that Close can wait for what is under way: an acquire
	// that gets no answer must be in the doubts before they are settled last.
	e.running.RLock()
	defer e.running.RUnlock()
	if err := ctx.Err(); err != nil {
		return reply{}, unavailable(err)
	}
	if e.closed.Load() {
		return reply{}, locks.ErrShutdown
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	r, err := e.send(ctx, c)
	if c.ended != nil {
		c.ended(c, r, err)
	}
	if err != nil {
		return reply{}, unavailable(err)
	}
	return r, nil
}

// send sends the call as often as it may. Its errors are the client library's.
func (e *Engine) send(ctx context.Context, c *call) (reply, error) {
	until, _ := ctx.Deadline()
	if c.id != "" && !c.timeless {
		if err := e.learnTime(ctx); err != nil {
			return reply{}, err
		}
	}
	var last error
	sent := e.clock.at(time.Now())
	for copies := range maxSends {
		if copies > 0 && c.ran && c.again != nil {
			c.args = c.again(sent)
		}
		r, err := e.once(ctx, c, until)
		switch {
		case err == nil && r.status == statusLate:
			last = errLate
			if time.Until(until) <= 0 {
				return reply{}, last
			}
			continue // its time is known now
		case err == nil:
			e.health.answered()
			return r, nil
		}
		last = err
		c.ran = c.ran || !refused(err)
		if !broken(err) || c.once || ctx.Err() != nil {
			break
		}
	}
	last = fmt.Errorf("at key %q: %w", c.key, last)
	e.health.failed(last)
	return reply{}, last
}

// once sends the call a single time: EVALSHA, and EVAL if the server says that
// it does not know the script, which proves that nothing ran.
func (e *Engine) once(ctx context.Context, c *call, until time.Time) (reply, error) {
	args := e.command(c, until)
	cmd := redis.NewCmd(ctx, args...)
	err := e.client.Process(ctx, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		args[0], args[1] = "eval", c.script.source
		cmd = redis.NewCmd(ctx, args...)
		err = e.client.Process(ctx, cmd)
	}
	if err != nil {
		return reply{}, err
	}
	return e.parse(c, cmd.Val())
}

// command returns the call as an EVALSHA. Scripts about a lock share their
// first arguments.
func (e *Engine) command(c *call, until time.Time) []any {
	args := make([]any, 0, 7+len(c.args))
	args = append(args, "evalsha", c.script.sha, 1, c.key)
	if c.id != "" {
		deadline := int64(0)
		if !c.timeless {
			deadline = e.clock.at(until)
			c.deadline = max(c.deadline, deadline)
		}
		args = append(args, deadline, e.floor.Load(), e.waiting.self)
	}
	return append(args, c.args...)
}

// parse checks the shape that all replies share, and passes on the news that
// some end with.
func (e *Engine) parse(c *call, v any) (reply, error) {
	fields, ok := v.([]any)
	if !ok || len(fields) < 2 {
		return reply{}, fmt.Errorf("the script's reply is %T, want an array", v)
	}
	status, ok1 := fields[0].(int64)
	now, ok2 := fields[1].(int64)
	if !ok1 || !ok2 {
		return reply{}, fmt.Errorf("the script's reply begins with %T, %T, want integers", fields[0], fields[1])
	}
	e.clock.seen(now)
	fields = fields[2:]
	if n := len(fields); n > 0 {
		if news, ok := fields[n-1].([]any); ok {
			fields = fields[:n-1]
			if err := e.waiting.read(c.id, news); err != nil {
				return reply{}, err
			}
		}
	}
	switch status {
	case statusForeign:
		return reply{}, fmt.Errorf("the value is not candado's: %w", errRefused)
	case statusNoToken:
		return reply{}, fmt.Errorf("no token is left below 2^53: %w", errRefused)
	case statusUnknown:
		return reply{}, errors.New("the connection broke, and whether the lease was released can't be told")
	}
	return reply{status: status, now: now, fields: fields}, nil
}

var errLate = errors.New("the server's clock is past the request's deadline")

// errRefused: the script answered that it did nothing.
var errRefused = errors.New("the script refused")

// refused reports whether an error proves that the script did nothing.
func refused(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || errors.Is(err, errRefused) ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) {
		return true
	}
	// These are said before a script runs, or at its first write.
	for _, code := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "OOM", "MISCONF",
		"NOREPLICAS", "NOSCRIPT", "NOAUTH", "WRONGPASS", "NOPERM", "MOVED", "ASK", "TRYAGAIN"} {
		if redis.HasErrorPrefix(err, code) {
			return true
		}
	}
	return false
}

// broken reports whether the connection ended before a reply came. A time-out
// is not that: the server may still be at it.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// unavailable hides the client library's errors behind ErrUnavailable; their
// text stays.
func unavailable(err error) error {
	if errors.Is(err, locks.ErrUnavailable) || errors.Is(err, locks.ErrShutdown) {
		return err
	}
	return &unavailableError{cause: strings.TrimSpace(err.Error())}
}

// unavailableError says why the upstream is unavailable. It does not unwrap to
// the cause: callers must not depend on the client library's errors.
type unavailableError struct{ cause string }

func (e *unavailableError) Error() string { return locks.ErrUnavailable.Error() + ": " + e.cause }
func (e *unavailableError) Unwrap() error { return locks.ErrUnavailable }
