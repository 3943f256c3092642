package proxy

// This file takes commands from a connection to their handlers, and the outcomes back.

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"

	"github.com/goodjobtech/candado/locks"
)

// call is the command of a connection that is on its way, and the replies that are not
// written yet. A handler checks c.args, acts, and either appends its reply to c and
// returns nil, or returns an error and has appended nothing. What c.args points to is
// valid for as long as the handler runs.
type call struct {
	reply

	ctx  context.Context // ends when the connection is closed
	srv  *Server
	sess *session
	cmd  *command // a subcommand, if one was named; nil if there is none of that name
	args [][]byte // what follows the command's name and the subcommand's

	muted bool   // the client asked for no reply to this command
	begin int    // where this command's reply begins
	group *group // commands whose operations wait to be done together; nil: none

	untold []untold // leases that were waited for, of which the replies that are due tell
}

const (
	// Replies that wait for the end of a batch are written earlier once they are this
	// large. So much, and one reply, is kept for a client that does not read.
	flushAt = 16 << 10

	// A buffer that grew above this is not kept.
	keptReply = 8 << 10
)

// MaxSending is how many bytes may be kept, for all clients, of replies above 16 KiB that
// are being written. Such a reply is to a command that changes nothing, so it can be
// refused.
const MaxSending = 64 << 20

// serve serves a connection until its end.
func (s *Server) serve(sess *session) {
	defer s.end(sess)
	defer sess.guard.spare()
	defer sess.guard.Close()
	c := &call{reply: reply{proto: sess.proto}, ctx: sess.ctx, srv: s, sess: sess}
	for sess.guard.more() == nil {
		sess.arrived()
		c.takeAll()
		if !c.deliver() {
			return
		}
	}
}

// takeAll serves the commands that have arrived.
func (c *call) takeAll() {
	g := c.sess.guard
	for args := g.arguments(); args != nil && !g.hungUp; args = g.arguments() {
		c.take(args)
	}
}

// take serves a command, or lets its operation wait for others. After the connection's end
// it does nothing.
func (c *call) take(args [][]byte) {
	if c.sess.guard.hungUp {
		return
	}
	c.muted = c.sess.mute()
	c.sess.skipNext = false
	grouped, err := c.attempt(args)
	switch {
	case grouped: // what there is to say comes with the others
	case err != nil:
		c.refuse(err)
	case c.muted:
		c.b = c.b[:c.begin]
	}
	if len(c.b) > flushAt && !c.send(!grouped && err == nil) {
		c.sess.guard.hangUp()
	}
}

// send writes the replies that are due. If the latest is that of a command that was run
// alone, and large, and too many such are being written, then that one is refused.
func (c *call) send(alone bool) bool {
	size := int64(len(c.b) - c.begin)
	if size <= flushAt || !alone {
		return c.flush()
	}
	if all := c.srv.sending.Add(size); all <= MaxSending || all == size {
		defer c.srv.sending.Add(-size)
	} else {
		c.srv.sending.Add(-size)
		c.b = slices.Clone(c.b[:c.begin])
		c.fail(c.cmd, c.muted, &locks.QuotaError{Quota: locks.QuotaReplyBytes})
	}
	return c.flush()
}

// attempt executes the command, or reports that what there is to say of it is said
// with the group. A panic becomes an error and the connection's end: one command must
// not take everybody's locks down.
func (c *call) attempt(args [][]byte) (grouped bool, err error) {
	c.begin = len(c.b)
	defer func() {
		if p := recover(); p != nil {
			c.b = c.b[:c.begin]
			grouped, err = false, c.panicked(p, c.cmd)
		}
	}()
	c.cmd = nil
	if c.srv.stopping.Load() {
		return false, locks.ErrShutdown
	}
	if err := c.resolve(args); err != nil {
		return false, err
	}
	c.sess.latest.Store(c.cmd)
	if c.srv.opts.Access != nil {
		if err := c.admit(); err != nil {
			return false, err
		}
	}
	if c.cmd.op != nil {
		if grouped, err = c.enter(); grouped || err != nil {
			return grouped, err
		}
	}
	if c.settle(); c.sess.guard.hungUp {
		return true, nil // the group has ended the connection
	}
	c.begin = len(c.b)
	// A command that passes here before the flag is set runs to its end: the
	// drain waits until this connection reads again. A group that has passed above, too.
	if c.srv.stopping.Load() {
		return false, locks.ErrShutdown
	}
	return false, c.cmd.run(c)
}

// panicked makes an error and the connection's end of a panic.
func (c *call) panicked(p any, cmd *command) error {
	c.srv.opts.Log.Error("a command panicked", "command", cmd.title(), "panic", p, "stack", string(debug.Stack()))
	c.sess.guard.hangUp()
	return errUnexpected
}

// resolve finds the command, or its subcommand, and checks the arity.
func (c *call) resolve(args [][]byte) error {
	cmd := c.srv.commands.find(args[0])
	switch {
	case cmd == nil:
		return errUnknownCommand(args)
	case cmd.hidden():
		// Words of HTTP. A browser talks to any port that a page tells it to, and
		// the body of its request could be commands. Redis hangs up, too.
		c.sess.guard.hangUp()
		c.muted = true
		return errSyntax
	}
	c.cmd, c.args = cmd, args[1:]
	if len(cmd.subs) > 0 && len(args) > 1 {
		if c.cmd = cmd.sub(args[1]); c.cmd == nil {
			return errUnknownSubcommand(cmd.name, args[1])
		}
		c.args = args[2:]
	}
	if !c.cmd.accepts(len(args)) {
		return errArity(c.cmd.name)
	}
	return nil
}

// refuse says why a command has failed, behind what the commands before it have to say.
func (c *call) refuse(err error) {
	if c.group == nil {
		c.fail(c.cmd, c.muted, err)
		return
	}
	c.join(item{cmd: c.cmd, muted: c.muted, op: none, err: err})
}

// fail appends what a client is told of an error.
func (c *call) fail(cmd *command, muted bool, err error) {
	line, expected := errorReply(err)
	if !expected {
		c.srv.opts.Log.Error("a command failed in an unforeseen way", "command", cmd.title(), "error", err)
	}
	if line != "" {
		c.srv.opts.Refused(errorCode(line))
		if over, ok := errors.AsType[*locks.QuotaError](err); ok {
			c.srv.opts.Exceeded(over.Quota)
		}
	}
	switch {
	case muted:
	case line == "":
		c.null()
	default:
		c.error(line)
	}
}

// deliver does what waits to be done, and writes the replies to a batch. It reports
// whether the client still takes them.
func (c *call) deliver() bool {
	c.settle()
	return c.flush()
}

// flush writes the replies that are due.
func (c *call) flush() bool {
	n, err := c.sess.guard.Write(c.b)
	if len(c.untold) > 0 {
		c.told(n)
	}
	c.b, c.begin = c.b[:0], 0
	if cap(c.b) > keptReply {
		c.b = nil
	}
	return err == nil
}
