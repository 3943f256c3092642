package scale

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// patience is how long any reply may take.
const patience = 60 * time.Second

// conn is a connection that sends some commands in one write and judges their
// replies. It is used by one goroutine at a time.
type conn struct {
	net net.Conn
	in  *bufio.Reader
	out []byte
	n   int // commands in out
}

// judge judges one reply by its line, which has no line end.
type judge func(line []byte) error

// dial connects. A connection that is one of many is small.
func dial(ctx context.Context, addr string, small bool) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// Closed by a reset, so that no port is kept: there are thousands.
	_ = c.(*net.TCPConn).SetLinger(0) // else it takes longer until a port is free
	size := 4096
	if small {
		size = 256
	}
	return &conn{net: c, in: bufio.NewReaderSize(c, size)}, nil
}

func (c *conn) close() { _ = c.net.Close() } // nothing can be done about it

// put adds a command to those that are to be sent.
func (c *conn) put(words ...string) {
	c.out = append(strconv.AppendInt(append(c.out, '*'), int64(len(words)), 10), "\r\n"...)
	for _, w := range words {
		c.out = append(strconv.AppendInt(append(c.out, '$'), int64(len(w)), 10), "\r\n"...)
		c.out = append(append(c.out, w...), "\r\n"...)
	}
	c.n++
}

// send sends what was put, and returns how many replies will come.
func (c *conn) send() (replies int, err error) {
	if err := c.net.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	_, err = c.net.Write(c.out)
	replies, c.out, c.n = c.n, c.out[:0], 0
	return replies, err
}

// line returns the next line of what comes. It is good until the next call.
func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("awaiting a reply: %w", err)
	}
	return bytes.TrimSuffix(line, []byte("\r\n")), nil
}

// ask sends what was put and judges each reply.
func (c *conn) ask(right judge) error {
	replies, err := c.send()
	if err != nil {
		return err
	}
	for range replies {
		line, err := c.line()
		if err != nil {
			return err
		}
		if err := right(line); err != nil {
			return err
		}
	}
	return nil
}

// do sends one command and judges its reply.
func (c *conn) do(right judge, words ...string) error {
	c.put(words...)
	return c.ask(right)
}

// info returns the text that INFO answers.
func (c *conn) info(section string) (string, error) {
	c.put("INFO", section)
	if _, err := c.send(); err != nil {
		return "", err
	}
	line, err := c.line()
	if err != nil {
		return "", err
	}
	if len(line) == 0 || line[0] != '$' {
		return "", fmt.Errorf("INFO answered %q", line)
	}
	size, err := strconv.Atoi(string(line[1:]))
	if err != nil {
		return "", fmt.Errorf("INFO answered %q", line)
	}
	var text []byte
	for len(text) < size+len("\r\n") {
		b, err := c.in.ReadByte()
		if err != nil {
			return "", err
		}
		text = append(text, b)
	}
	return string(text), nil
}

// waiters returns how many wait for a lock, as LOCK.INFO says.
func (c *conn) waiters(id string) (int, error) {
	c.put("LOCK.INFO", id)
	if _, err := c.send(); err != nil {
		return 0, err
	}
	n := -1
	for name := ""; ; {
		line, err := c.line()
		switch {
		case err != nil:
			return 0, err
		case len(line) > 0 && line[0] == '-':
			return 0, fmt.Errorf("LOCK.INFO answered %q", line)
		case name == "waiters":
			if n, err = integer(line); err != nil {
				return 0, err
			}
		case name == "last_token": // the end of the reply
			if n < 0 {
				return 0, errors.New("LOCK.INFO says nothing of waiters")
			}
			return n, nil
		}
		name = string(line)
	}
}

func integer(line []byte) (int, error) {
	if len(line) > 1 && line[0] == ':' {
		if n, err := strconv.Atoi(string(line[1:])); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("the reply is %q, want an integer", line)
}

// is judges a reply that is always the same.
func is(want string) judge {
	return func(line []byte) error {
		if string(line) != want {
			return fmt.Errorf("the reply is %q, want %q", line, want)
		}
		return nil
	}
}

// isToken judges what has to be a token.
func isToken(line []byte) error {
	token, err := integer(line)
	if err == nil && token <= 0 {
		err = fmt.Errorf("the token is %d", token)
	}
	return err
}
