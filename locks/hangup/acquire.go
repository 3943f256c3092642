package hangup

import (
	"context"
	"errors"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// passOnTime bounds the release of a lease whose client is gone.
const passOnTime = 5 * time.Second

// While calls do for a client that is watched meanwhile, and reports whether the client
// is gone. The context that do gets ends when it is, and with stopping.
func While(ctx, stopping context.Context, watch func(gone func()) (stop func() bool), do func(context.Context)) (gone bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(stopping, cancel)()
	stop := watch(cancel)
	do(ctx)
	return stop()
}

// Acquire calls acquire for a client that is watched meanwhile, as While does. With
// stopping, locks.ErrShutdown is returned if nothing was granted. If the client is gone,
// the lease is what it was granted in the very last moment, if it was.
func Acquire(ctx, stopping context.Context, watch func(gone func()) (stop func() bool),
	acquire func(context.Context) (locks.Lease, error)) (lease locks.Lease, gone bool, err error) {
	gone = While(ctx, stopping, watch, func(ctx context.Context) { lease, err = acquire(ctx) })
	if !gone && errors.Is(err, locks.ErrUnavailable) && stopping.Err() != nil {
		return locks.Lease{}, false, locks.ErrShutdown
	}
	return lease, gone, err
}

// PassOn gives back a lease whose client has left, if there is one (its Token is not
// 0) and nobody else has learnt of it. Had the engine known in time, it would have
// done that itself. That ctx has ended does not matter: candado may have cut the
// client off.
func PassOn(ctx context.Context, engine locks.Engine, id locks.ID, lease locks.Lease) {
	if lease.Token == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), passOnTime)
	defer cancel()
	// It may fail, as when the lease was ended meanwhile; then its TTL is all that is left to end it.
	_, _ = engine.Release(ctx, locks.ReleaseRequest{ID: id, Claim: locks.Claim{Token: lease.Token}, Untold: true})
}
