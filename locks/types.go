package locks

import (
	"fmt"
	"time"
)

// Limits of what may be asked for. They hold on every engine.
const (
	MaxIDLen    = 1024 // bytes of an ID
	MaxOwnerLen = 256  // bytes of an Owner

	// MaxPatternLen is how many bytes a client's pattern may have: an ID's, each with a
	// backslash before it.
	MaxPatternLen = 2 * MaxIDLen

	// MaxToken is the largest token: above it, clients whose only numbers are
	// doubles would confuse neighbours.
	MaxToken Token = 1<<53 - 1

	// NoExpiry, as a TTL, asks for a lease that lasts until it is released.
	NoExpiry time.Duration = -1

	// Forever, as a wait, has no end of its own.
	Forever time.Duration = -1

	// DefaultMaxWaiters is how many requests may wait for one lock unless an
	// operator says otherwise.
	DefaultMaxWaiters = 10_000

	// Retention is how long an engine remembers a lock's last token after the
	// lock became free.
	Retention = 60 * time.Second
)

// ID is a lock's name: 1 to MaxIDLen bytes, any bytes.
type ID string

// Validate returns nil, or an *ArgumentError that says what is wrong with the ID.
func (id ID) Validate() error { return validateLen("lock ID", len(id), MaxIDLen) }

// Owner identifies one contender: 1 to MaxOwnerLen bytes chosen by the caller.
// The empty Owner means that the lease is anonymous.
type Owner string

// Validate returns nil, or an *ArgumentError that says what is wrong with the
// owner. An empty owner is valid here (it means anonymous); a front end that
// was given an explicit empty owner refuses it.
func (o Owner) Validate() error {
	if o == "" {
		return nil
	}
	return validateLen("owner", len(o), MaxOwnerLen)
}

// Token is a fencing token: a positive integer up to MaxToken that identifies
// one lease. Tokens of one lock strictly increase, lease by lease. Zero means
// that there is none.
type Token int64

// Next returns the token of a new lease: the smallest number that is above
// last (the lock's last token, 0 if unknown), above floor (the highest token
// that this process has seen), and not below the engine's clock. It returns
// ErrUnavailable if that number would exceed MaxToken.
func Next(last Token, clock time.Time, floor Token) (Token, error) {
	t := max(last+1, Token(clock.UnixMicro()), floor+1)
	if t > MaxToken {
		return 0, fmt.Errorf("token %d is above the largest, %d: %w", t, MaxToken, ErrUnavailable)
	}
	return t, nil
}

// Mode says how a lock is held.
type Mode uint8

// The modes. The zero value is Exclusive, which is what a request that does not
// say otherwise asks for.
const (
	Exclusive Mode = iota // one holder, nobody beside it
	Shared                // any number of shared holders, no exclusive one
	Free                  // no holder; never asked for, only reported
)

// String returns the mode's name as replies spell it.
func (m Mode) String() string {
	switch m {
	case Exclusive:
		return "exclusive"
	case Shared:
		return "shared"
	case Free:
		return "free"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// Lease is one successful acquisition, or its renewal.
type Lease struct {
	Token Token
	Owner Owner // empty: anonymous
	Mode  Mode  // Exclusive or Shared

	// TTL is how long the lease lasts from the moment the engine granted or
	// renewed it, in whole milliseconds; NoExpiry if it does not end by itself.
	TTL time.Duration
}

// Holder is a live lease as Info reports it.
type Holder struct {
	Lease

	// Held is how long ago the lease was granted; renewals do not change when
	// that was. In a Holder, TTL is what remains.
	Held time.Duration
}

// Info describes one lock at one moment.
type Info struct {
	ID        ID
	Mode      Mode     // Free if there are no holders
	Holders   []Holder // by increasing token
	Waiters   int      // requests queued for the lock
	LastToken Token    // the highest token the engine remembers of this lock; 0 if unknown
}

// Held reports whether the lock has a holder.
func (i Info) Held() bool { return len(i.Holders) > 0 }
