package proxy

// This file holds the handlers of the commands about the connection itself, as
// Redis answers them.

import (
	"strings"
	"time"

	users "github.com/goodjobtech/candado/locks/access"
)

func (c *call) ping() error {
	switch len(c.args) {
	case 0:
		c.simple("PONG")
	case 1:
		c.bytes(c.args[0])
	default:
		return errArity(c.cmd.name)
	}
	return nil
}

func (c *call) echo() error {
	c.bytes(c.args[0])
	return nil
}

func (c *call) quit() error {
	c.simple("OK")
	c.sess.guard.hangUp()
	return nil
}

func (c *call) reset() error {
	if c.sess.replyOff { // what was to be skipped still is
		c.muted = false
	}
	c.sess.reset()
	if c.srv.opts.Access != nil && !c.stranger() { // who is one has no more time by this
		c.sess.logout()
		c.sess.guard.setStranger(time.Now().Add(c.srv.opts.CommandTimeout))
	}
	c.reply.proto = c.sess.proto
	c.simple("RESET")
	return nil
}

// hello takes its options first and acts when all are understood: an error
// leaves the connection as it was, but for who it is.
func (c *call) hello() error {
	proto := c.sess.proto
	var name []byte
	named := false
	args := c.args
	if len(args) > 0 {
		n, ok := parseInt(args[0])
		switch {
		case !ok:
			return errProtoVersion
		case n != 2 && n != 3:
			return errNoProto
		}
		proto, args = int(n), args[1:]
	}
	for len(args) > 0 {
		switch {
		case is(args[0], "AUTH") && len(args) > 2:
			if err := c.authenticate(args[1], args[2]); err != nil {
				return err
			}
			args = args[3:]
		case is(args[0], "SETNAME") && len(args) > 1:
			if err := checkName(args[1], errClientName); err != nil {
				return err
			}
			name, named, args = args[1], true, args[2:]
		default:
			return replyError("ERR Syntax error in HELLO option '" + printable(args[0]) + "'")
		}
	}
	if c.stranger() {
		return errNoAuthHello
	}
	if named {
		c.sess.update(func(i *identity) { i.name = string(name) })
	}
	c.sess.setProto(proto)
	c.reply.proto = proto
	c.greeting()
	return nil
}

func (c *call) greeting() {
	c.mapping(7)
	c.bulk("server")
	c.bulk("candado")
	c.bulk("version")
	c.bulk(c.srv.opts.Version)
	c.bulk("proto")
	c.int(int64(c.sess.proto))
	c.bulk("id")
	c.int(c.sess.id)
	c.bulk("mode")
	c.bulk("standalone")
	c.bulk("role")
	c.bulk("master")
	c.bulk("modules")
	c.array(0)
}

func (c *call) auth() error {
	name := []byte(users.Default)
	switch {
	case len(c.args) == 1 && c.srv.opts.Access == nil:
		return errNoPassword
	case len(c.args) > 2:
		return errSyntax
	case len(c.args) == 2:
		name = c.args[0]
	}
	if err := c.authenticate(name, c.args[len(c.args)-1]); err != nil {
		return err
	}
	c.simple("OK")
	return nil
}

func (c *call) selectDB() error {
	n, ok := parseInt(c.args[0])
	switch {
	case !ok:
		return errNotInteger
	case n != 0:
		return errDBIndex
	}
	c.simple("OK")
	return nil
}

func is(arg []byte, keyword string) bool { return strings.EqualFold(string(arg), keyword) }

// maxName bounds, in bytes, each name that a client gives itself: names are
// kept for as long as the connection, and CLIENT LIST shows them all.
const maxName = 256

// checkName returns nil if a name can stand in the lines of CLIENT LIST, and
// invalid if it has bytes that can't.
func checkName(name []byte, invalid replyError) error {
	if len(name) > maxName {
		return errLongName
	}
	for _, b := range name {
		if b < '!' || b > '~' {
			return invalid
		}
	}
	return nil
}
