package locks

import (
	"fmt"
	"time"
)

// Limits is what an operator allows. The zero value means the defaults.
type Limits struct {
	DefaultTTL   time.Duration // for a request that names none; 0: 30 s
	MaxTTL       time.Duration // 0: 24 h
	AllowPersist bool          // whether NoExpiry may be asked for; default: no
}

// The limits that hold where an operator sets no others.
const (
	DefaultTTL = 30 * time.Second
	DefaultMax = 24 * time.Hour
	MinTTL     = time.Millisecond
)

// WithDefaults returns l with its zero fields replaced by their defaults.
func (l Limits) WithDefaults() Limits {
	if l.DefaultTTL == 0 {
		l.DefaultTTL = DefaultTTL
	}
	if l.MaxTTL == 0 {
		l.MaxTTL = DefaultMax
	}
	return l
}

// CheckTTL returns nil if a lease of that length may be asked for, or an
// *ArgumentError. The TTL is in whole milliseconds, or NoExpiry. Call it on
// limits that have their defaults.
func (l Limits) CheckTTL(ttl time.Duration) error {
	switch {
	case ttl == NoExpiry && !l.AllowPersist:
		return &ArgumentError{Name: "PERSIST", Reason: "is not allowed here (--allow-persist)"}
	case ttl == NoExpiry:
		return nil
	case ttl < MinTTL:
		return &ArgumentError{Name: "TTL", Reason: fmt.Sprintf("is below %v", MinTTL)}
	case ttl > l.MaxTTL:
		return &ArgumentError{Name: "TTL", Reason: fmt.Sprintf("is above the limit of %d ms (--max-ttl)", l.MaxTTL.Milliseconds())}
	}
	return nil
}
