//go:build !linux

package hangup

// closing reports whether the other end is known to have closed the connection,
// which only Linux tells.
func (r *Reader) closing() bool { return false }
