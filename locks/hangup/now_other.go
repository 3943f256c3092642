//go:build !unix

package hangup

// readNow reads nothing here: it takes a socket that can be read at once.
func (r *Reader) readNow() {}
