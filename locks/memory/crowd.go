package memory

import (
	"container/list"
	"iter"

	"github.com/goodjobtech/candado/locks"
)

// crowd is the set of a lock's shared holders. It finds one by token, by
// owner, the oldest anonymous one and the one that expires first in O(log n)
// or better, and it is paid for by shared locks only. The zero value is empty.
type crowd struct {
	byToken   table[locks.Token, *member]
	byOwner   table[locks.Owner, *member] // an owner has one lease at most
	anonymous list.List                   // of *member, oldest first: tokens only increase
	expiries  heap[*member]               // those that expire
}

// member is one shared holder.
type member struct {
	lease
	index     int32         // place in expiries
	confirmed bool          // whether the lease was renewed or acquired again
	queue     *list.Element // in anonymous; nil if owned
}

func (m *member) place() *int32 { return &m.index }

func (c *crowd) len() int { return c.byToken.len() }

// add lets a holder in whose token is above all others'.
func (c *crowd) add(granted lease) {
	m := &member{lease: granted}
	c.byToken.set(m.token, m)
	if m.owner == "" {
		m.queue = c.anonymous.PushBack(m)
	} else {
		c.byOwner.set(m.owner, m)
	}
	c.schedule(m)
}

// remove takes the holder with that lease out.
func (c *crowd) remove(ended *lease) {
	m, ok := c.byToken.get(ended.token)
	if !ok {
		return
	}
	c.byToken.remove(m.token)
	if m.queue != nil {
		c.anonymous.Remove(m.queue)
	} else {
		c.byOwner.remove(m.owner)
	}
	c.expiries.remove(m)
}

// renewed must follow every change of a holder's expiry.
func (c *crowd) renewed(changed *lease) {
	if m, ok := c.byToken.get(changed.token); ok {
		m.confirmed = true
		c.schedule(m)
	}
}

func (c *crowd) confirmed(token locks.Token) bool {
	m, ok := c.byToken.get(token)
	return ok && m.confirmed
}

func (c *crowd) schedule(m *member) {
	if m.expires == never {
		c.expiries.remove(m)
	} else {
		c.expiries.set(m, m.expires)
	}
}

// deadline returns when the first lease expires, or never.
func (c *crowd) deadline() instant {
	if c.expiries.len() == 0 {
		return never
	}
	return c.expiries.first().at
}

// earliest returns the lease that expires first; there must be one that does.
func (c *crowd) earliest() *lease { return &c.expiries.first().x.lease }

// claimed returns the lease that the claim names, or nil.
func (c *crowd) claimed(claim locks.Claim) *lease {
	var m *member
	switch {
	case claim.Token != 0:
		m, _ = c.byToken.get(claim.Token)
	case claim.Owner != "":
		m, _ = c.byOwner.get(claim.Owner)
	default:
		if oldest := c.anonymous.Front(); oldest != nil {
			m = oldest.Value.(*member)
		}
	}
	if m == nil {
		return nil
	}
	return &m.lease
}

// all yields every lease, in no particular order.
func (c *crowd) all() iter.Seq[*lease] {
	return func(yield func(*lease) bool) {
		for _, m := range c.byToken.m {
			if !yield(&m.lease) {
				return
			}
		}
	}
}
