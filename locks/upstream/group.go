package upstream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks/upstream/script"
)

// This file sends calls that are a script of their own each: those that look at
// many keys, and those that come due at the same time for many locks, in one round trip.

// together is how many calls go to the server in one round trip: others want to
// be served between them.
const together = 256

// sendAlone sends the calls in one round trip, in no particular order, and notes in
// each what it came to. Each fails alone.
func (e *Engine) sendAlone(ctx context.Context, calls ...*call) {
	e.running.RLock()
	defer e.running.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	unknown := map[string]script.Script{} // by their SHA, scripts that the server did not know
	for copies := 0; copies < maxSends && len(calls) > 0; copies++ {
		if copies > 0 && ctx.Err() != nil {
			break // the outcomes say why another copy was needed
		}
		if err := e.mayRun(ctx, calls); err != nil {
			for _, c := range calls {
				c.failed(err)
			}
			return
		}
		calls = e.pipeline(ctx, calls, unknown)
	}
	for _, c := range calls {
		e.gaveUp(c)
	}
}

// alone does one such call.
func (e *Engine) alone(ctx context.Context, c *call) (reply, error) {
	e.sendAlone(ctx, c)
	return c.outcome()
}

// mayRun returns why calls can't be sent, or nil.
func (e *Engine) mayRun(ctx context.Context, calls []*call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.serves(); err != nil {
		return err
	}
	if calls[0].id == "" {
		return nil // it has no deadline
	}
	return e.learnTime(ctx)
}

// pipeline sends the calls, once, after the scripts that were unknown: on the same
// connection, since another may lead to another server. So with each copy: the one before
// may not have come there. It returns the calls of which a copy is to be sent: the answer
// was lost with the connection, or the server did not know their script, which is added
// to unknown, or their deadline was misjudged.
func (e *Engine) pipeline(ctx context.Context, calls []*call, unknown map[string]script.Script) (again []*call) {
	until, _ := ctx.Deadline()
	pipe := e.client.Pipeline()
	for _, s := range unknown {
		pipe.ScriptLoad(ctx, s.Source) // should it fail, so will the calls
	}
	cmds := make([]*redis.Cmd, len(calls))
	for n, c := range calls {
		cmds[n] = redis.NewCmd(ctx, e.command(c, until)...)
		_ = pipe.Process(ctx, cmds[n]) // only notes it
	}
	sent := time.Now()
	_, unsent := pipe.Exec(ctx) // each command has its own error, but where there was no connection for it
	for n, c := range calls {
		v, err := cmds[n].Result()
		if err == nil && v == nil { // which no script replies
			err = unsent
		}
		if err == nil {
			c.reply, err = e.parse(c, v, sent)
		}
		if err == nil {
			c.err = nil // of the copy before
			e.health.answered()
			continue
		}
		c.failed(err)
		switch {
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown[c.script.SHA] = c.script
			again = append(again, c)
		case c.sendAgain():
			again = append(again, c)
		default:
			e.gaveUp(c)
		}
	}
	return again
}

// command returns the call as an EVALSHA. Scripts about a lock share their
// first arguments.
func (e *Engine) command(c *call, until time.Time) []any {
	args := make([]any, 0, 7+len(c.args))
	args = append(args, "evalsha", c.script.SHA, 1, c.key)
	if c.id != "" {
		c.deadline = max(c.deadline, e.clock.at(until))
		args = append(args, e.clock.at(until), e.floor.Load(), e.waiting.self)
	}
	return append(args, c.args...)
}

// learnTime asks the server for its time, if it is not known yet: without, there
// is no deadline to give. One more round trip, once.
func (e *Engine) learnTime(ctx context.Context) error {
	if e.clock.known() {
		return nil
	}
	sent := time.Now()
	now, err := e.client.Time(ctx).Result()
	if err != nil {
		e.health.failed(err)
		return err
	}
	e.clock.seen(now.UnixMicro(), sent)
	return nil
}
