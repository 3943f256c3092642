package upstream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// This file is the one thing that is said to the server without a script: that
// an entry is no longer in a queue, by which a candado says that it has heard of a
// grant. It goes along with a flight, or is one.

// apart returns the calls that are operations of the script, and those that are
// not.
func apart(calls []*call) (ops, beside []*call) {
	for i, c := range calls {
		if !c.takesOut {
			continue
		}
		ops = append(ops, calls[:i]...)
		for _, c := range calls[i:] {
			if c.takesOut {
				beside = append(beside, c)
			} else {
				ops = append(ops, c)
			}
		}
		return ops, beside
	}
	return calls, nil
}

// takeOuts returns the commands of such calls. The names of the keys are the
// scripts'; see queue.lua.
func (e *Engine) takeOuts(ctx context.Context, calls []*call) []redis.Cmder {
	if len(calls) == 0 {
		return nil
	}
	cmds := make([]redis.Cmder, len(calls), len(calls)+1)
	for i, c := range calls {
		cmds[i] = redis.NewIntCmd(ctx, "zrem", string(c.key)+queueKey, c.entry.Of(e.waiting.self))
	}
	return cmds
}

// tookOut reads the reply to one: the status says whether the entry was there.
func (e *Engine) tookOut(cmd redis.Cmder) (reply, error) {
	n, err := cmd.(*redis.IntCmd).Result()
	return reply{status: n, now: e.clock.at(time.Now()), value: n}, err
}

// process sends commands in one round trip, and notes in each what it came to.
func (e *Engine) process(ctx context.Context, cmds []redis.Cmder) {
	if len(cmds) == 1 {
		_ = e.client.Process(ctx, cmds[0])
		return
	}
	pipe := e.client.Pipeline()
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd) // only notes it
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
}
