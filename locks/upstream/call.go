package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
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
	statusError    = -8
)

// A call is one operation on its way to the server: one of a batch (batch.go),
// or a script of its own (group.go).
type call struct {
	id   locks.ID // of the lock; empty if it is about none
	key  []byte
	op   []byte    // of a batch: the packed operation
	room [112]byte // for these two, if they are of usual length

	script script.Script // else: the program,
	args   []any         // and its arguments after those that all scripts about a lock share

	// once: it must not be sent again after a connection broke, since a second
	// run could do something else.
	once bool

	// takesOut: it is no script, but a plain command that takes the entry out of
	// the lock's queue. It has no deadline: see script.Entry.Back.
	takesOut bool

	// release is what op packs, if it is a release: from the second copy on it
	// says when the first was sent.
	release script.Release

	// doubtful: it is an acquire of this request and entry. Unless it is
	// answered, it becomes a doubt before Close can go on.
	doubtful bool
	req      locks.AcquireRequest
	entry    script.Entry // of that, or of a call that takes it out

	// Set on the way:
	ran      bool  // whether the script may have run although no reply came
	deadline int64 // server's µs after which no copy of the call runs
	reply    reply // with err, what it came to
	err      error
}

// reply is what a script returned.
type reply struct {
	status int64
	now    int64 // the server's time, µs
	value  int64 // if fields is nil: the number that stands for all of it
	fields []any // what came after status and time
}

// about makes the call one about a lock. It returns where the operation may be
// packed.
func (c *call) about(e *Engine, id locks.ID) (room []byte) {
	c.id = id
	c.key = e.keys.appendRecord(c.room[:0], id)
	if len(c.key) < len(c.room) {
		return c.room[len(c.key):len(c.key)]
	}
	return nil
}

// keyOf and opOf are a call as an argument of its command, which the client
// library writes without a copy.
type (
	keyOf call
	opOf  call
)

// MarshalBinary implements encoding.BinaryMarshaler.
func (c *keyOf) MarshalBinary() ([]byte, error) { return c.key, nil }

// MarshalBinary implements encoding.BinaryMarshaler.
func (c *opOf) MarshalBinary() ([]byte, error) { return c.op, nil }

// outcome returns what the call came to. The error wraps ErrUnavailable, or is
// ErrShutdown or ErrBusy.
func (c *call) outcome() (reply, error) {
	if c.err != nil {
		return reply{}, unavailable(c.err)
	}
	return c.reply, nil
}

// failed notes an error, and whether the script may have run all the same.
func (c *call) failed(err error) {
	if c.ran && (errors.Is(err, errUnsent) || errors.Is(err, locks.ErrBusy)) {
		return // this copy did not run, which says nothing about the one before
	}
	c.reply, c.err = reply{}, err
	c.ran = c.ran || !errors.Is(err, errLate) && !refused(err)
}

// came notes what a copy came to.
func (c *call) came(r reply, err error) {
	if err != nil {
		c.failed(err)
		return
	}
	c.reply, c.err = r, nil
}

// again prepares a copy of the call. Sent is the server's time at which the first
// was sent.
func (c *call) again(sent int64) {
	if c.ran && c.isRelease() && c.release.Sent == 0 {
		c.release.Sent = sent
		c.op = c.release.Append(nil)
	}
}

// changes reports whether the operation makes or ends leases.
func (c *call) changes() bool { return c.doubtful || c.isRelease() }

func (c *call) isRelease() bool { return c.release.Number != (script.Number{}) }

// sendAgain reports whether a copy of the call may bring an answer.
func (c *call) sendAgain() bool {
	return errors.Is(c.err, errLate) || broken(c.err) && !c.once
}

// beginning reads what all replies begin with.
func beginning(v any) (status, now int64, fields []any, err error) {
	fields, ok := v.([]any)
	if !ok || len(fields) < 2 {
		return 0, 0, nil, fmt.Errorf("the script's reply is %T, want an array", v)
	}
	status, ok1 := fields[0].(int64)
	now, ok2 := fields[1].(int64)
	if !ok1 || !ok2 {
		return 0, 0, nil, fmt.Errorf("the script's reply begins with %T, %T, want integers", fields[0], fields[1])
	}
	return status, now, fields[2:], nil
}

// parse takes in the reply of a script about the call, which was sent then, and passes on the
// news that some end with.
func (e *Engine) parse(c *call, v any, sent time.Time) (reply, error) {
	status, now, fields, err := beginning(v)
	if err != nil {
		return reply{}, err
	}
	e.clock.seen(now, sent)
	if n := len(fields); n > 0 {
		if news, ok := fields[n-1].([]any); ok {
			fields = fields[:n-1]
			if err := e.waiting.read(c.id, news); err != nil {
				return reply{}, err
			}
		}
	}
	switch status {
	case statusLate:
		return reply{}, errLate
	case statusForeign:
		return reply{}, fmt.Errorf("the value is not candado's: %w", errRefused)
	case statusNoToken:
		return reply{}, fmt.Errorf("no token is left below 2^53: %w", errRefused)
	case statusUnknown:
		return reply{}, errors.New("the connection broke, and whether the lease was released can't be told")
	case statusError:
		text := ""
		if len(fields) > 0 {
			text, _ = fields[0].(string)
		}
		return reply{}, scriptError(text)
	}
	return reply{status: status, now: now, fields: fields}, nil
}

// scriptError is an error of the server's that ended one operation of a batch. It
// is one of the client library's redis.Errors.
type scriptError string

func (e scriptError) Error() string { return string(e) }

// RedisError marks it.
func (scriptError) RedisError() {}

var _ redis.Error = scriptError("")

var errLate = errors.New("the server's clock is past the request's deadline")

// errRefused: the script answered that it did nothing.
var errRefused = errors.New("the script refused")

// refused reports whether an error proves that the script did nothing.
func refused(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || errors.Is(err, errRefused) || errors.Is(err, errUnsent) ||
		errors.Is(err, locks.ErrBusy) || errors.Is(err, locks.ErrShutdown) ||
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
	for _, own := range []error{locks.ErrUnavailable, locks.ErrShutdown, locks.ErrBusy} {
		if errors.Is(err, own) {
			return err
		}
	}
	return &unavailableError{cause: strings.TrimSpace(err.Error())}
}

// unavailableError says why the upstream is unavailable. It does not unwrap to
// the cause: callers must not depend on the client library's errors.
type unavailableError struct{ cause string }

func (e *unavailableError) Error() string { return locks.ErrUnavailable.Error() + ": " + e.cause }
func (e *unavailableError) Unwrap() error { return locks.ErrUnavailable }
