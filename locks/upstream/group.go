package upstream

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
)

// This file sends many calls in one round trip, such as those that come due at
// the same time for many locks.

// together is how many calls go to the server in one round trip: others want to
// be served between them.
const together = 256

// outcome is what one call of many came to: as do returns it.
type outcome struct {
	reply reply
	err   error
}

// inGroups does many requests, together of them in one round trip, and returns
// what each came to, in their order.
func inGroups[Q, R any](ctx context.Context, e *Engine, reqs []Q, ask func(Q) *call, read func(Q, outcome) R) []R {
	results := make([]R, 0, len(reqs))
	for group := range slices.Chunk(reqs, together) {
		calls := make([]*call, len(group))
		for i, req := range group {
			calls[i] = ask(req)
		}
		for i, o := range e.doAll(ctx, calls) {
			results = append(results, read(group[i], o))
		}
	}
	return results
}

// doAll is do for many calls, which go to the server together and in no
// particular order. Each fails alone. They must not have a function ended.
func (e *Engine) doAll(ctx context.Context, calls []*call) []outcome {
	e.running.RLock()
	defer e.running.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	g := group{calls: calls, outcomes: make([]outcome, len(calls)), todo: make([]int, len(calls)), sent: e.clock.at(time.Now())}
	for i := range calls {
		g.todo[i] = i
	}
	for copies := 0; copies < maxSends && len(g.todo) > 0; copies++ {
		if copies > 0 && ctx.Err() != nil {
			break // the outcomes say why another copy was needed
		}
		if err := e.mayRun(ctx); err != nil {
			g.fail(err)
			break
		}
		e.sendGroup(ctx, &g)
	}
	return g.outcomes
}

// group is calls that go together.
type group struct {
	calls    []*call
	outcomes []outcome
	todo     []int // the calls that are to be sent, or sent again
	sent     int64 // the server's time when they were sent first
}

func (g *group) fail(err error) {
	for _, i := range g.todo {
		g.outcomes[i].err = unavailable(err)
	}
}

// mayRun returns why a call can't be sent, or nil.
func (e *Engine) mayRun(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.closed.Load() {
		return locks.ErrShutdown
	}
	return e.learnTime(ctx)
}

// sendGroup sends the calls that are to do, once. Those whose answer was lost with
// the connection, or that met a server without their script, or whose deadline was
// misjudged, remain to do.
func (e *Engine) sendGroup(ctx context.Context, g *group) {
	until, _ := ctx.Deadline()
	pipe := e.client.Pipeline()
	cmds := make([]*redis.Cmd, len(g.todo))
	for n, i := range g.todo {
		c := g.calls[i]
		if c.ran && c.again != nil {
			c.args = c.again(g.sent)
		}
		cmds[n] = redis.NewCmd(ctx, e.command(c, until)...)
		_ = pipe.Process(ctx, cmds[n]) // only notes it
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var again []int
	unknown := map[string]script{}
	for n, i := range g.todo {
		c := g.calls[i]
		r, err := e.answer(c, cmds[n])
		switch {
		case err == nil:
			e.health.answered()
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown[c.script.sha] = c.script
			again = append(again, i)
		case errors.Is(err, errLate), broken(err) && !c.once:
			again = append(again, i)
		default:
			e.health.failed(err)
		}
		if err != nil {
			c.ran = c.ran || !errors.Is(err, errLate) && !refused(err)
			err = unavailable(err)
		}
		g.outcomes[i] = outcome{r, err}
	}
	for _, s := range unknown {
		_ = e.client.ScriptLoad(ctx, s.source).Err() // should it fail, so will the next copies
	}
	g.todo = again
}

// answer reads a command's reply.
func (e *Engine) answer(c *call, cmd *redis.Cmd) (reply, error) {
	v, err := cmd.Result()
	if err != nil {
		return reply{}, err
	}
	r, err := e.parse(c, v)
	if err == nil && r.status == statusLate {
		return reply{}, errLate
	}
	return r, err
}

// learnTime asks the server for its time, if it is not known yet: without, there
// is no deadline to give. One more round trip, once.
func (e *Engine) learnTime(ctx context.Context) error {
	if e.clock.known() {
		return nil
	}
	now, err := e.client.Time(ctx).Result()
	if err != nil {
		e.health.failed(err)
		return err
	}
	e.clock.seen(now.UnixMicro())
	return nil
}
