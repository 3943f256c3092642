package locks

import (
	"errors"
	"fmt"
)

// What an operation can end in, besides success. Engines return these, wrapped
// or bare; compare with errors.Is.
var (
	// ErrHeld: the lock was not to be had, at once or in the time that the
	// request would wait. Nothing changed.
	ErrHeld = errors.New("the lock is held")

	// ErrNotOwner: the lock is held, and not by the lease that the request
	// claimed. Nothing changed.
	ErrNotOwner = errors.New("the lock is held by others")

	// ErrMode: the owner holds the lock already, in the other mode. Nothing
	// changed: there is no upgrade and no downgrade.
	ErrMode = errors.New("the owner holds the lock in another mode")

	// ErrBusy: a quota is reached, such as that of a lock's waiters (a QuotaError
	// says which). Nothing was done.
	ErrBusy = errors.New("a quota is reached, nothing was done")

	// ErrUnavailable: the engine did not answer in time, or could not act. The
	// outcome is unknown: ask again with the same owner or token.
	ErrUnavailable = errors.New("the upstream is unavailable, the outcome is unknown")

	// ErrShutdown: candado is stopping. Nothing was done.
	ErrShutdown = errors.New("candado is shutting down, nothing was done")
)

// UnsafeError: the engine does not serve, for what it keeps the locks in is unsafe.
// It is an ErrUnavailable.
type UnsafeError struct {
	Reason string // what is unsafe, and what to do about it
}

// Error returns one sentence.
func (e *UnsafeError) Error() string { return "the upstream is unsafe: " + e.Reason }

// Unwrap returns ErrUnavailable.
func (e *UnsafeError) Unwrap() error { return ErrUnavailable }

// ArgumentError says which argument of a request was refused, and why. Nothing
// was done.
type ArgumentError struct {
	Name   string // the argument's name, such as "owner"
	Reason string // what is wrong with it, as the end of a sentence
}

// Error returns one sentence, such as "owner is longer than 256 bytes".
func (e *ArgumentError) Error() string { return e.Name + " " + e.Reason }

func validateLen(name string, n, most int) error {
	switch {
	case n == 0:
		return &ArgumentError{Name: name, Reason: "is empty"}
	case n > most:
		return &ArgumentError{Name: name, Reason: fmt.Sprintf("is longer than %d bytes", most)}
	}
	return nil
}
