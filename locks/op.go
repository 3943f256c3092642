package locks

import "context"

// Op is one of several operations that are asked for together, and what it came
// to. See Engine.Do.
type Op struct {
	Kind OpKind

	// What is asked: the one of these that Kind names.
	Acquire   AcquireRequest // Wait must be 0
	Release   ReleaseRequest
	Heartbeat HeartbeatRequest
	Check     CheckRequest

	// What it came to, as the engine's method for one operation returns it.
	Lease    Lease // of an acquire or a heartbeat
	Released Released
	Live     bool // of a check
	Err      error
}

// OpKind says which operation an Op is.
type OpKind uint8

// The operations that can be asked for together.
const (
	OpAcquire OpKind = iota
	OpRelease
	OpHeartbeat
	OpCheck
)

// CheckRequest asks whether a lease lives.
type CheckRequest struct {
	ID    ID
	Token Token
}

// DoEach does the operations one after the other, each by the engine's own
// method. It is Do for an engine that gains nothing by taking them together.
func DoEach(ctx context.Context, e Engine, ops []Op) {
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case OpAcquire:
			op.Lease, op.Err = e.Acquire(ctx, op.Acquire)
		case OpRelease:
			op.Released, op.Err = e.Release(ctx, op.Release)
		case OpHeartbeat:
			op.Lease, op.Err = e.Heartbeat(ctx, op.Heartbeat)
		case OpCheck:
			op.Live, op.Err = e.Check(ctx, op.Check.ID, op.Check.Token)
		}
	}
}
