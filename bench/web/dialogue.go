package web

import (
	"bytes"
	"fmt"
	"strconv"
)

// The bodies of candado for a lock that was acquired, and released.
const (
	held = `{"error":"","state":1,"success":true}`
	free = `{"error":"","state":0,"success":true}`
)

// dialogue acquires and releases one lock after the other, over one keep-alive
// connection.
type dialogue struct {
	requests [][]byte // acquire, release, acquire …
	bodies   [2][]byte
	next     int
	asked    int // what of requests the reply that comes belongs to
}

// newDialogue makes a dialogue about these locks. The second body is that of a
// release.
func newDialogue(host string, ids []string, bodies [2]string) *dialogue {
	d := &dialogue{bodies: [2][]byte{[]byte(bodies[0]), []byte(bodies[1])}}
	for _, id := range ids {
		for _, verb := range []string{"acquire", "release"} {
			d.requests = append(d.requests, fmt.Appendf(nil, "GET /%s/%s HTTP/1.1\r\nHost: %s\r\n\r\n", verb, id, host))
		}
	}
	return d
}

func (d *dialogue) Next() ([]byte, int) {
	d.asked = d.next
	if d.next++; d.next == len(d.requests) {
		d.next = 0
	}
	return d.requests[d.asked], 1
}

func (d *dialogue) AtRest() bool { return d.next%2 == 0 }

func (d *dialogue) Judge(b []byte) (int, error) {
	n, body, err := parse(b)
	if n == 0 || err != nil {
		return 0, err
	}
	if !bytes.Equal(body, d.bodies[d.asked%2]) {
		return 0, fmt.Errorf("the body was %q, want %q", body, d.bodies[d.asked%2])
	}
	return n, nil
}

var (
	success  = []byte("HTTP/1.1 200 ")
	lineEnd  = []byte("\r\n")
	headEnd  = []byte("\r\n\r\n")
	lengthIs = []byte("content-length:")
)

// parse reads the response at the start of the bytes. It returns its length, and
// its body; 0 if its end has not arrived.
func parse(b []byte) (n int, body []byte, err error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return 0, nil, nil
	}
	head := b[:end+len(lineEnd)]
	if !bytes.HasPrefix(head, success) {
		return 0, nil, fmt.Errorf("the response was %q", b[:min(len(b), 300)])
	}
	length := -1
	for len(head) > 0 {
		line := head[:bytes.Index(head, lineEnd)]
		head = head[len(line)+len(lineEnd):]
		if len(line) > len(lengthIs) && bytes.EqualFold(line[:len(lengthIs)], lengthIs) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthIs):]))); err != nil || length < 0 {
				return 0, nil, fmt.Errorf("the response has the head %q", b[:end])
			}
		}
	}
	if length < 0 {
		return 0, nil, fmt.Errorf("the response has no Content-Length: %q", b[:end])
	}
	start := end + len(headEnd)
	if len(b) < start+length {
		return 0, nil, nil
	}
	return start + length, b[start : start+length], nil
}
