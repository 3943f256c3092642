package locks

import (
	"context"
	"time"
)

// Engine keeps locks. Every operation is one atomic step on the engine, judged
// by the engine's clock. Engines are safe for concurrent use.
//
// Besides the errors named at each method, each returns ErrUnavailable if the
// engine could not be asked or did not answer (also when ctx ends first: then
// the operation may or may not have been done), and ErrShutdown after Close.
// Requests are taken to be valid: front ends check them with Validate and
// Limits before.
type Engine interface {
	// Acquire grants a lease, or returns ErrHeld. If the owner (not an
	// anonymous one) holds the lock already in the same mode, it returns that
	// lease with its TTL set anew; in the other mode, ErrMode.
	//
	// A request that waits (Wait is not 0) enters the lock's queue in the same
	// step in which it could not be granted. Then it returns the lease, which
	// lasts for its TTL from the moment of the grant; or ErrHeld, when the wait
	// is over or when the same owner has asked again and waits in its place; or
	// ErrBusy at once, when the queue is full. If ctx ends first, the request
	// leaves the queue, and a lease that it was granted meanwhile is passed on,
	// unless somebody else has learnt of that lease. While a lock has waiters,
	// a request that does not wait gets ErrHeld.
	Acquire(ctx context.Context, req AcquireRequest) (Lease, error)

	// Release ends the claimed lease. Ended is 0 if the lock was free (or see
	// ReleaseRequest.Untold). If the
	// lock is held and the claimed lease is not among its holders, it returns
	// ErrNotOwner, and a Released that says only that the lock is held.
	Release(ctx context.Context, req ReleaseRequest) (Released, error)

	// Heartbeat sets the claimed lease's TTL anew and returns the lease. It
	// returns the zero Lease (its Token is 0) if the lock is free, and
	// ErrNotOwner if it is held and the claimed lease is not among its
	// holders. It never creates a lease.
	Heartbeat(ctx context.Context, req HeartbeatRequest) (Lease, error)

	// Renew does a Heartbeat for each request and returns what each came to, in
	// their order. It is for many at once: the engine takes them together where
	// it can. Each is an atomic step of its own, and fails alone.
	Renew(ctx context.Context, reqs []HeartbeatRequest) []Renewed

	// ReleaseAll does a Release for each request and returns what each came to,
	// in their order, as Renew does. The claims are by token.
	ReleaseAll(ctx context.Context, reqs []ReleaseRequest) []ReleaseResult

	// Do does operations that somebody asks for together, in their order, and
	// notes in each what it came to. It is for one client's pipeline: the engine
	// takes them together where it can. Each is an atomic step of its own, and
	// fails alone; those of others may come between them. None of them waits.
	Do(ctx context.Context, ops []Op)

	// Check reports whether token is that of a live lease of the lock.
	Check(ctx context.Context, id ID, token Token) (bool, error)

	// Info describes the lock.
	Info(ctx context.Context, id ID) (Info, error)

	// Scan returns some IDs of held locks and the cursor of the next call; the
	// cursor 0 begins, and is returned at the end. A lock that is held from the
	// first call to the last is returned at least once.
	Scan(ctx context.Context, req ScanRequest) (Scanned, error)

	// Ready returns nil if the engine can serve, otherwise why not.
	Ready(ctx context.Context) error

	// Close stops the engine and gives back what it uses. It leaves the leases
	// of an upstream alone.
	Close() error
}

// AcquireRequest asks for a lease.
type AcquireRequest struct {
	ID    ID
	Owner Owner // empty: an anonymous lease
	Mode  Mode  // Exclusive (the zero value) or Shared

	// Limit, in Shared mode, is the number of shared holders below which the
	// lease is granted. 0: any number.
	Limit int

	TTL time.Duration // at least 1 ms, in whole milliseconds; or NoExpiry

	// Wait is how long to wait in the lock's queue if the lease can't be
	// granted at once: 0 not at all, Forever until ctx ends.
	Wait time.Duration
}

// Claim names the lease that a request is about: by its token, by its owner,
// or, if both are zero, the lock's oldest anonymous lease. At most one is set.
type Claim struct {
	Token Token
	Owner Owner
}

// Bare reports whether the claim names neither token nor owner.
func (c Claim) Bare() bool { return c == Claim{} }

// Matches reports whether a live lease is one that the claim may speak for.
func (c Claim) Matches(token Token, owner Owner) bool {
	switch {
	case c.Token != 0:
		return c.Token == token
	default:
		return c.Owner == owner
	}
}

// ReleaseRequest asks for the end of a lease, or of all leases of a lock.
type ReleaseRequest struct {
	ID    ID
	Claim Claim
	Force bool // end every lease of the lock; Claim is not looked at

	// Untold ends the lease only if nobody has learnt of it: if it was neither
	// renewed nor acquired again since it was granted. Otherwise nothing is done
	// and Ended is 0. It is for a front end that gives back what it could not
	// hand to its client; Claim is then by token.
	Untold bool
}

// Released says what a release did.
type Released struct {
	Ended int  // leases that this request ended; 0: the lock was free
	Held  bool // whether the lock is held afterwards, also by a waiter to whom the release handed over
}

// HeartbeatRequest asks for a lease's TTL to be set anew.
type HeartbeatRequest struct {
	ID    ID
	Claim Claim

	// TTL is the time from now that the lease shall last, in whole
	// milliseconds; NoExpiry; or 0 for the TTL that it was acquired with.
	TTL time.Duration
}

// Renewed is what one of many heartbeats came to: what Heartbeat returns.
type Renewed struct {
	Lease Lease
	Err   error
}

// ReleaseResult is what one of many releases came to: what Release returns.
type ReleaseResult struct {
	Released Released
	Err      error
}

// ScanRequest asks for one page of held locks.
type ScanRequest struct {
	Cursor uint64 // 0 begins
	Match  string // a glob pattern as in Redis (see Match); empty: all
	Count  int    // about how many to look at; 0: 10
}

// Scanned is one page of held locks.
type Scanned struct {
	Cursor uint64 // for the next call; 0: there is no more
	IDs    []ID
}
