package pairs

import (
	"bytes"
	"fmt"
)

// reply is one reply in RESP.
type reply struct {
	kind  byte     // what it begins with; '_' for a null of either version
	n     int64    // an integer, or the number of items
	items [8]int64 // the first items of an array; one that is no integer is 0
	text  []byte   // its first line, without kind and line end
}

func (r *reply) String() string {
	if r.kind == '*' {
		return fmt.Sprintf("an array of %d: %d", r.n, r.items[:min(r.n, int64(len(r.items)))])
	}
	return fmt.Sprintf("%c%s", r.kind, r.text)
}

// parse reads the reply at the start of the bytes. It returns its length; 0 if
// its end has not arrived.
func (r *reply) parse(b []byte) (int, error) {
	n := line(b)
	if n == 0 {
		return 0, nil
	}
	r.kind, r.text, r.n = b[0], b[1:n-2], 0
	switch r.kind {
	case '+', '-', '_':
		return n, nil
	case ':', '$', '*':
	default:
		return 0, fmt.Errorf("what came is no reply: %q", b[:min(len(b), 100)])
	}
	var ok bool
	if r.n, ok = integer(r.text); !ok {
		return 0, fmt.Errorf("what came is no reply: %q", b[:n])
	}
	switch {
	case r.kind == ':':
		return n, nil
	case r.n < 0:
		r.kind = '_'
		return n, nil
	case r.kind == '$':
		return whole(b, n+int(r.n)+2), nil
	}
	for i := range r.n {
		size, value, err := item(b[n:])
		if size == 0 || err != nil {
			return 0, err
		}
		if int(i) < len(r.items) {
			r.items[i] = value
		}
		n += size
	}
	return n, nil
}

// item reads one item of an array, and its value if it is an integer.
func item(b []byte) (size int, value int64, err error) {
	if len(b) > 0 && b[0] == ':' {
		n := line(b)
		if n == 0 {
			return 0, 0, nil
		}
		value, ok := integer(b[1 : n-2])
		if !ok {
			return 0, 0, fmt.Errorf("what came is no integer: %q", b[:n])
		}
		return n, value, nil
	}
	var other reply
	size, err = other.parse(b)
	return size, 0, err
}

// line returns the length of the first line with its end; 0 if that is not there.
func line(b []byte) int {
	i := bytes.IndexByte(b, '\n')
	if i < 2 || b[i-1] != '\r' {
		return 0
	}
	return i + 1
}

func whole(b []byte, n int) int {
	if n > len(b) {
		return 0
	}
	return n
}

func integer(b []byte) (n int64, ok bool) {
	negative := len(b) > 1 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
