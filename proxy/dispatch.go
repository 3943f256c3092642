package proxy

// This file takes a command from redcon to its handler, and the outcome back.

import (
	"context"
	"runtime/debug"

	"github.com/tidwall/redcon"

	"github.com/goodjobtech/candado/locks"
)

// call is one command on its way. A handler checks c.args, acts, and either
// appends its reply to c and returns nil, or returns an error and has appended nothing.
type call struct {
	reply

	ctx  context.Context // ends when the connection is closed
	srv  *Server
	sess *session
	conn redcon.Conn
	cmd  *command // a subcommand, if one was named
	args [][]byte // what follows the command's name and the subcommand's

	muted bool // the client asked for no reply to this command
}

// handle serves one command of a batch.
func (s *Server) handle(conn redcon.Conn, cmd redcon.Command) {
	sess, ok := conn.Context().(*session)
	if !ok || sess.guard.hungUp {
		conn.ReadPipeline() // redcon would run the rest of the batch on a connection that is over
		return
	}
	c := &call{
		reply: reply{b: sess.out[:0], proto: sess.proto},
		ctx:   sess.ctx,
		srv:   s,
		sess:  sess,
		conn:  conn,
		muted: sess.replyOff || sess.skipNext,
	}
	sess.skipNext = false
	c.run(cmd.Args)
	if !c.muted && !sess.deliver(conn, c.b) {
		sess.guard.hangUp()
	}
	if sess.guard.hungUp {
		conn.ReadPipeline()
	}
}

// run executes the command and appends its outcome.
func (c *call) run(args [][]byte) {
	err := c.guarded(args)
	if err == nil {
		return
	}
	line, expected := errorReply(err)
	if !expected {
		c.srv.opts.Log.Error("a command failed in an unforeseen way", "command", c.name(), "err", err)
	}
	if line == "" {
		c.null()
		return
	}
	c.srv.opts.Refused(errorCode(line))
	c.error(line)
}

// guarded turns a panic into an error and the connection's end: one command
// must not take everybody's locks down.
func (c *call) guarded(args [][]byte) (err error) {
	begin := len(c.b)
	defer func() {
		if p := recover(); p != nil {
			c.srv.opts.Log.Error("a command panicked", "command", c.name(), "panic", p, "stack", string(debug.Stack()))
			c.b = c.b[:begin]
			c.sess.guard.hangUp()
			err = errUnexpected
		}
	}()
	// A command that passes here before the flag is set runs to its end: the
	// drain waits until this connection reads again.
	if c.srv.stopping.Load() {
		return locks.ErrShutdown
	}
	if err := c.resolve(args); err != nil {
		return err
	}
	c.sess.note(c.cmd.name, c.srv.opts.Now())
	return c.cmd.run(c)
}

// resolve finds the command, or its subcommand, and checks the arity.
func (c *call) resolve(args [][]byte) error {
	cmd := c.srv.commands.find(args[0])
	switch {
	case cmd == nil:
		return errUnknownCommand(args)
	case cmd.run == nil && len(cmd.subs) == 0:
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

func (c *call) name() string {
	if c.cmd == nil {
		return ""
	}
	return c.cmd.name
}
