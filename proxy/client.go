package proxy

// This file holds the handlers of CLIENT, as Redis answers them.

import (
	"fmt"
	"strings"
)

func (c *call) clientID() error {
	c.int(c.sess.id)
	return nil
}

func (c *call) clientGetName() error {
	name := c.sess.identity().name
	if name == "" {
		c.null()
		return nil
	}
	c.bulk(name)
	return nil
}

func (c *call) clientSetName() error {
	if err := checkName(c.args[0], errClientName); err != nil {
		return err
	}
	name := string(c.args[0])
	c.sess.update(func(i *identity) { i.name = name })
	c.simple("OK")
	return nil
}

func (c *call) clientSetInfo() error {
	attribute, value := strings.ToLower(string(c.args[0])), string(c.args[1])
	if attribute != "lib-name" && attribute != "lib-ver" {
		return replyError("ERR Unrecognized option '" + printable(c.args[0]) + "'")
	}
	invalid := replyError("ERR " + attribute + " cannot contain spaces, newlines or special characters.")
	if err := checkName(c.args[1], invalid); err != nil {
		return err
	}
	c.sess.update(func(i *identity) {
		if attribute == "lib-name" {
			i.libName = value
		} else {
			i.libVer = value
		}
	})
	c.simple("OK")
	return nil
}

func (c *call) clientInfo() error {
	c.text(c.describe(c.sess))
	return nil
}

func (c *call) clientList() error {
	selected, err := clientFilter(c.args)
	if err != nil {
		return err
	}
	c.srv.listing.Lock()
	defer c.srv.listing.Unlock()
	all := c.readsAll()
	var b strings.Builder
	for _, sess := range c.srv.list() {
		if selected(sess) && (all || sess == c.sess) {
			b.WriteString(c.describe(sess))
		}
	}
	c.text(b.String())
	return nil
}

// clientFilter parses the arguments of CLIENT LIST.
func clientFilter(args [][]byte) (func(*session) bool, error) {
	switch {
	case len(args) == 0:
		return func(*session) bool { return true }, nil
	case is(args[0], "TYPE") && len(args) == 2:
		switch strings.ToLower(string(args[1])) {
		case "normal":
			return func(*session) bool { return true }, nil
		case "master", "replica", "slave", "pubsub":
			return func(*session) bool { return false }, nil
		}
		return nil, replyError("ERR Unknown client type '" + printable(args[1]) + "'")
	case is(args[0], "ID") && len(args) > 1:
		ids := make(map[int64]bool)
		for _, arg := range args[1:] {
			id, ok := parseInt(arg)
			if !ok {
				return nil, errClientID
			}
			ids[id] = true
		}
		return func(s *session) bool { return ids[s.id] }, nil
	}
	return nil, errSyntax
}

// describe returns a session's line in CLIENT LIST.
func (c *call) describe(s *session) string {
	i, now := s.identity(), c.srv.opts.Now()
	return fmt.Sprintf("id=%d addr=%s laddr=%s name=%s age=%d idle=%d flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 cmd=%s user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		s.id, s.guard.RemoteAddr(), s.guard.LocalAddr(), i.name,
		int64(now.Sub(s.opened).Seconds()), int64(s.idle().Seconds()),
		s.latest.Load().title(), c.userOf(i), i.proto, i.libName, i.libVer)
}

// clientSwitch answers settings that mean nothing here.
func (c *call) clientSwitch() error {
	if !is(c.args[0], "ON") && !is(c.args[0], "OFF") {
		return errSyntax
	}
	c.simple("OK")
	return nil
}

func (c *call) clientReply() error {
	switch {
	case is(c.args[0], "ON"):
		c.sess.replyOff = false
		c.muted = false
		c.simple("OK")
	case is(c.args[0], "OFF"):
		c.sess.replyOff = true
		c.muted = true
	case is(c.args[0], "SKIP"):
		c.sess.skipNext = !c.sess.replyOff
		c.muted = true
	default:
		return errSyntax
	}
	return nil
}
