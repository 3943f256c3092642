package proxy

// This file takes the operations of commands that a client sends together to the engine
// together: then an engine that is far away is asked once.

import (
	"cmp"
	"errors"
	"runtime"

	"github.com/goodjobtech/candado/locks"
)

const (
	// maxGroup is how many commands are taken together at most. Others that share an
	// upstream with the client do not wait for more at a time.
	maxGroup = 128

	none = -1
)

// errAlone says that a command is not one operation that can be done with others.
var errAlone = errors.New("it is to be done alone")

// group is consecutive commands of which each is an operation, or was refused.
type group struct {
	ops   []locks.Op
	items []item
}

// item is a command of a group.
type item struct {
	cmd   *command
	muted bool
	op    int   // which operation it is; none if it was refused
	err   error // then: why
}

// enter lets the command's operation wait for those of the commands behind it. grouped is
// false if the command is to be run.
func (c *call) enter() (grouped bool, err error) {
	if c.group == nil {
		c.group = c.srv.newGroup()
	}
	g, n := c.group, len(c.group.ops)
	g.ops = append(g.ops, locks.Op{})
	op := &g.ops[n]
	g.ops = g.ops[:n] // should the next line panic, it is not there
	if err := c.cmd.op(c, op); err != nil {
		*op = locks.Op{}
		if err == errAlone {
			err = nil
		}
		return false, err
	}
	g.ops = g.ops[:n+1]
	c.join(item{cmd: c.cmd, muted: c.muted, op: n})
	return true, nil
}

// join takes a command into the group, and has the group done if it is full: what was
// refused counts, too, for it takes memory until it is told.
func (c *call) join(it item) {
	c.group.items = append(c.group.items, it)
	if len(c.group.items) >= maxGroup {
		c.settle()
	}
}

// settle has the operations that wait done, and appends what they came to.
func (c *call) settle() {
	g := c.group
	if g == nil {
		return
	}
	c.group = nil
	failure := c.do(g)
	for i := range g.items {
		it := &g.items[i]
		if it.op == none {
			c.fail(it.cmd, it.muted, it.err)
			continue
		}
		op := &g.ops[it.op]
		if err := cmp.Or(failure, op.Err); err != nil {
			c.fail(it.cmd, it.muted, err)
		} else if !it.muted {
			c.came(op)
		}
	}
	c.srv.keepGroup(g)
}

// do asks the engine. If that panics, nobody knows what became of any operation.
func (c *call) do(g *group) (err error) {
	if len(g.ops) == 0 {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(p, g.items[0].cmd)
		}
	}()
	c.sess.leases.Do(c.ctx, g.ops)
	for i := range g.ops {
		if r := &g.ops[i].Released; r.Ended > 0 && r.Held {
			// Who was handed the lock goes first: everybody behind it waits for its answer. Else
			// this client's would be written before.
			runtime.Gosched()
			break
		}
	}
	return nil
}

// came appends what an operation came to that has not failed.
func (c *call) came(op *locks.Op) {
	switch op.Kind {
	case locks.OpAcquire:
		c.int(int64(op.Lease.Token))
	case locks.OpRelease:
		c.int(int64(op.Released.Ended))
	case locks.OpHeartbeat:
		if op.Lease.Token == 0 {
			c.int(0)
			return
		}
		c.int(milliseconds(op.Lease.TTL))
	case locks.OpCheck:
		c.flag(op.Live)
	}
}

func (s *Server) newGroup() *group {
	if g, ok := s.groups.Get().(*group); ok {
		return g
	}
	return &group{}
}

// keepGroup keeps a group for the next one. It lets go of what it names.
func (s *Server) keepGroup(g *group) {
	clear(g.ops)
	clear(g.items)
	g.ops, g.items = g.ops[:0], g.items[:0]
	s.groups.Put(g)
}
