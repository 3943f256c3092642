package upstream

import (
	"context"
	"slices"

	"github.com/goodjobtech/candado/locks"
)

// This file is what many operations at once become: calls of one batch.

// Do implements locks.Engine.
func (e *Engine) Do(ctx context.Context, ops []locks.Op) {
	if e.batches.most == 1 {
		locks.DoEach(ctx, e, ops)
		return
	}
	calls := newCalls(len(ops))
	for i, c := range calls {
		switch op := &ops[i]; op.Kind {
		case locks.OpAcquire:
			e.askAcquire(c, op.Acquire, entryOf(op.Acquire), notQueued)
		case locks.OpRelease:
			e.askRelease(c, op.Release)
		case locks.OpHeartbeat:
			e.askHeartbeat(c, op.Heartbeat)
		case locks.OpCheck:
			e.askCheck(c, op.Check)
		}
	}
	e.do(ctx, calls...)
	for i := range ops {
		switch op, c := &ops[i], calls[i]; op.Kind {
		case locks.OpAcquire:
			op.Lease, op.Err = e.acquiredAtOnce(op.Acquire, c)
		case locks.OpRelease:
			op.Released, op.Err = released(op.Release, c)
		case locks.OpHeartbeat:
			op.Lease, op.Err = e.renewed(op.Heartbeat, c)
		case locks.OpCheck:
			op.Live, op.Err = e.checked(op.Check.ID, op.Check.Token, c)
		}
	}
}

// newCalls returns n calls.
func newCalls(n int) []*call {
	room, calls := make([]call, n), make([]*call, n)
	for i := range calls {
		calls[i] = &room[i]
	}
	return calls
}

// inGroups does many requests, together of them in one batch, and returns
// what each came to, in their order.
func inGroups[Q, R any](ctx context.Context, e *Engine, reqs []Q, ask func(*call, Q), read func(Q, *call) R) []R {
	results := make([]R, 0, len(reqs))
	for group := range slices.Chunk(reqs, together) {
		calls := newCalls(len(group))
		for i, req := range group {
			ask(calls[i], req)
		}
		e.do(ctx, calls...)
		for i, c := range calls {
			results = append(results, read(group[i], c))
		}
	}
	return results
}
