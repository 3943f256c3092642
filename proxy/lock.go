package proxy

// This file holds the LOCK commands. Those that are one operation only say which
// (group.go asks the engine and replies). The handlers of the others have three beats:
// options into a local struct, the engine, the reply.

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// maxScanCount bounds how much one LOCK.SCAN looks at. COUNT is a hint, here as
// in Redis, and a reply has to fit in memory.
const maxScanCount = 1000

// acquireOp is LOCK.ACQUIRE that neither waits nor is for a session.
func (c *call) acquireOp(op *locks.Op) error {
	given, err := c.acquireRequest(&op.Acquire)
	if err == nil && given&(optBlock|optSession) != 0 {
		return errAlone
	}
	op.Kind = locks.OpAcquire
	return err
}

// acquire is LOCK.ACQUIRE that waits, or is for a session.
func (c *call) acquire() error {
	var req locks.AcquireRequest
	given, err := c.acquireRequest(&req)
	if err != nil {
		return err
	}
	session := given&optSession != 0
	if given&optBlock == 0 {
		lease, err := c.ask(c.ctx, req, session)
		if err == nil {
			c.int(int64(lease.Token))
		}
		return err
	}
	lease, err := c.wait(req, session)
	if err == nil {
		c.grant(req.ID, lease, session)
	}
	return err
}

// acquireRequest takes a request from the arguments, and says which options were given.
func (c *call) acquireRequest(req *locks.AcquireRequest) (given option, err error) {
	if req.ID, err = lockIDOf(c.args); err != nil {
		return 0, err
	}
	o, err := parseOptions(c.cmd.name, c.args[1:], ttlOptions|modeOptions|optOwner|optBlock|optSession)
	if err != nil {
		return 0, err
	}
	req.Owner, req.Mode, req.Limit = o.claim.Owner, o.mode, o.limit
	limits := &c.srv.opts.Limits
	req.TTL = cmp.Or(o.ttl, limits.DefaultTTL)
	if o.given&optBlock != 0 {
		req.Wait = cmp.Or(o.block, locks.Forever)
	}
	return o.given, limits.CheckTTL(req.TTL)
}

func (c *call) releaseOp(op *locks.Op) (err error) {
	op.Kind = locks.OpRelease
	if op.Release.ID, err = lockIDOf(c.args); err != nil {
		return err
	}
	o, err := parseOptions(c.cmd.name, c.args[1:], leaseOptions)
	op.Release.Claim, op.Release.Force = o.claim, o.given&optForce != 0
	return err
}

func (c *call) heartbeatOp(op *locks.Op) (err error) {
	op.Kind = locks.OpHeartbeat
	if op.Heartbeat.ID, err = lockIDOf(c.args); err != nil {
		return err
	}
	o, err := parseOptions(c.cmd.name, c.args[1:], optToken|optOwner|ttlOptions)
	if err != nil {
		return err
	}
	op.Heartbeat.Claim, op.Heartbeat.TTL = o.claim, o.ttl
	if o.ttl == 0 {
		return nil
	}
	return c.srv.opts.Limits.CheckTTL(o.ttl)
}

func (c *call) checkOp(op *locks.Op) (err error) {
	op.Kind = locks.OpCheck
	if op.Check.ID, err = lockIDOf(c.args); err != nil {
		return err
	}
	op.Check.Token, err = parseToken(c.args[1])
	return err
}

func (c *call) lockInfo() error {
	id, err := lockIDOf(c.args)
	if err != nil {
		return err
	}
	info, err := c.srv.opts.Engine.Info(c.ctx, id)
	if err != nil {
		return err
	}
	c.mapping(6)
	c.bulk("id")
	c.bulk(string(info.ID))
	c.bulk("state")
	c.flag(info.Held())
	c.bulk("mode")
	c.bulk(info.Mode.String())
	c.bulk("holders")
	c.array(len(info.Holders))
	for _, h := range info.Holders {
		c.holder(h)
	}
	c.bulk("waiters")
	c.int(int64(info.Waiters))
	c.bulk("last_token")
	c.int(int64(info.LastToken))
	return nil
}

func (c *call) holder(h locks.Holder) {
	c.mapping(5)
	c.bulk("token")
	c.int(int64(h.Token))
	c.bulk("owner")
	c.bulk(string(h.Owner))
	c.bulk("mode")
	c.bulk(h.Mode.String())
	c.bulk("ttl_ms")
	c.int(milliseconds(h.TTL))
	c.bulk("held_ms")
	c.int(h.Held.Milliseconds())
}

func (c *call) scan() error {
	cursor, err := strconv.ParseUint(string(c.args[0]), 10, 64)
	if err != nil {
		return errCursor
	}
	o, err := parseOptions(c.cmd.name, c.args[1:], optMatch|optCount)
	if err != nil {
		return err
	}
	var page locks.Scanned
	// To the engine an empty pattern means all; a client that sends one asks
	// for the lock with the empty ID, and there is none.
	if o.given&optMatch == 0 || o.match != "" {
		page, err = c.srv.opts.Engine.Scan(c.ctx, locks.ScanRequest{Cursor: cursor, Match: o.match, Count: min(o.count, maxScanCount)})
		if err != nil {
			return err
		}
	}
	page.IDs = slices.DeleteFunc(page.IDs, func(id locks.ID) bool { return !c.readable(id) })
	c.array(2)
	c.bulk(strconv.FormatUint(page.Cursor, 10))
	c.array(len(page.IDs))
	for _, id := range page.IDs {
		c.bulk(string(id))
	}
	return nil
}

func (c *call) lockHelp() error {
	var lines []string
	for _, cmd := range c.srv.commands.all {
		if cmd.group == "lock" {
			lines = append(lines, cmd.syntax()+" - "+cmd.summary)
		}
	}
	c.lines(lines)
	return nil
}

func lockIDOf(args [][]byte) (locks.ID, error) {
	id := locks.ID(args[0])
	return id, id.Validate()
}

func (r *reply) flag(b bool) {
	if b {
		r.int(1)
		return
	}
	r.int(0)
}

// milliseconds returns a TTL as replies give it: -1 if there is no expiry, and
// never 0 for a lease that is live.
func milliseconds(ttl time.Duration) int64 {
	if ttl == locks.NoExpiry {
		return -1
	}
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}
