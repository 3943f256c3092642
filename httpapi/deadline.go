package httpapi

import (
	"errors"
	"os"
	"time"
)

// deadline is when reading or writing is to time out. fasthttp sets several for
// each request, and each costs a change to a timer, though hardly any call waits.
// So the connection is told of one only if it would time out later than that, or
// if it has timed out too early: which is every few seconds.
//
// The second does not do for TLS, which does not survive a write that timed out.
type deadline struct {
	due  time.Time // zero: never
	told time.Time // what the connection goes by
}

// late reports whether the connection would time out later than is due.
func (d *deadline) late() bool {
	switch {
	case d.told.IsZero():
		return !d.due.IsZero()
	case d.due.IsZero(): // what it was told may be in the past
		return true
	}
	return d.due.Before(d.told)
}

// early reports whether err is that the connection has timed out before it is due.
func (d *deadline) early(err error) bool {
	return err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !d.told.Equal(d.due)
}

// tell returns what the connection is to be told.
func (d *deadline) tell() time.Time {
	d.told = d.due
	return d.told
}
