package upstream

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
)

// together is how many heartbeats go to the server in one round trip: others
// want to be served between them.
const together = 256

// Heartbeat implements locks.Engine.
func (e *Engine) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	r, err := e.do(ctx, e.heartbeatCall(req))
	return e.renewed(req, r, err)
}

func (e *Engine) heartbeatCall(req locks.HeartbeatRequest) *call {
	ttl := any("")
	if req.TTL != 0 {
		ttl = millis(req.TTL)
	}
	return &call{
		script: e.scripts.heartbeat, id: req.ID, key: e.keys.record(req.ID), once: req.Claim.Bare(),
		args: []any{token(req.Claim.Token), string(req.Claim.Owner), ttl},
	}
}

// renewed reads the reply to a heartbeat.
func (e *Engine) renewed(req locks.HeartbeatRequest, r reply, err error) (locks.Lease, error) {
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

// Renew implements locks.Engine. The requests go to the server in groups of
// 256, each group in one round trip.
func (e *Engine) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	results := make([]locks.Renewed, len(reqs))
	for from := 0; from < len(reqs); from += together {
		to := min(from+together, len(reqs))
		e.renewGroup(ctx, reqs[from:to], results[from:to])
	}
	return results
}

// renewGroup sends each request, and once more those whose answer was lost with
// the connection or that met a server without the script.
func (e *Engine) renewGroup(ctx context.Context, reqs []locks.HeartbeatRequest, results []locks.Renewed) {
	e.running.RLock()
	defer e.running.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	calls := make([]*call, len(reqs))
	todo := make([]int, len(reqs))
	for i, req := range reqs {
		calls[i], todo[i] = e.heartbeatCall(req), i
	}
	for copies := range maxSends {
		if len(todo) == 0 {
			return
		}
		todo = e.renewOnce(ctx, copies, calls, todo, func(i int, r reply, err error) {
			results[i].Lease, results[i].Err = e.renewed(reqs[i], r, err)
		})
	}
}

// renewOnce sends the calls that are to do, in one round trip. It gives to each
// result what it came to, and returns those that may be sent again; for these,
// the result holds why that is needed.
func (e *Engine) renewOnce(ctx context.Context, copies int, calls []*call, todo []int, result func(int, reply, error)) (again []int) {
	fail := func(err error) []int {
		for _, i := range todo {
			result(i, reply{}, err)
		}
		return nil
	}
	switch {
	case ctx.Err() != nil && copies == 0:
		return fail(unavailable(ctx.Err()))
	case ctx.Err() != nil:
		return nil
	case e.closed.Load():
		return fail(locks.ErrShutdown)
	}
	if err := e.learnTime(ctx); err != nil {
		return fail(unavailable(err))
	}
	until, _ := ctx.Deadline()
	pipe := e.client.Pipeline()
	for _, i := range todo {
		args := e.command(calls[i], until)
		_ = pipe.Process(ctx, redis.NewCmd(ctx, args...))
	}
	cmds, _ := pipe.Exec(ctx) // each command has its own error
	unknown := false
	for n, i := range todo {
		var v any
		err := ctx.Err()
		if n < len(cmds) {
			v, err = cmds[n].(*redis.Cmd).Result()
		}
		var r reply
		if err == nil {
			r, err = e.parse(calls[i], v)
		}
		late := err == nil && r.status == statusLate
		noScript := redis.HasErrorPrefix(err, "NOSCRIPT")
		unknown = unknown || noScript
		if late || noScript || broken(err) && !calls[i].once {
			again = append(again, i)
			if late {
				err = errLate
			}
		}
		if err != nil {
			e.health.failed(err)
			err = unavailable(err)
		} else {
			e.health.answered()
		}
		result(i, r, err)
	}
	if unknown {
		_ = e.client.ScriptLoad(ctx, e.scripts.heartbeat.source).Err() // should it fail, so will the next copies
	}
	return again
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
