package httpapi

import (
	"errors"
	"os"
	"time"
)

// deadline is when reading or writing is to time out. fasthttp sets several for
// each request, and each would change a timer, though hardly any call lasts. So
// the connection is told of one only if it would time out later than that, or when
// it has timed out too early: once in a few seconds.
type deadline struct {
	due  time.Time // zero: never
	told time.Time // what the connection goes by
}

// late reports whether the connection would time out later than is due.
func (d *deadline) late() bool {
	return !d.due.IsZero() && (d.told.IsZero() || d.due.Before(d.told))
}

// stale reports whether the connection would time out at another time than is due.
func (d *deadline) stale() bool { return !d.told.Equal(d.due) }

// early reports whether err is that the connection has timed out before it is due.
func (d *deadline) early(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && d.stale()
}

// tell returns what the connection is to be told.
func (d *deadline) tell() time.Time {
	d.told = d.due
	return d.told
}
