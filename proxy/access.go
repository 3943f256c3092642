package proxy

// This file says who may send which command. Where Options.Access is not set,
// everybody may send every one.

import (
	"context"
	"errors"
	"time"

	"github.com/goodjobtech/candado/locks"
	users "github.com/goodjobtech/candado/locks/access"
	"github.com/goodjobtech/candado/locks/hangup"
)

// What a client that has not authenticated may send, as in Redis.
const (
	maxStrangerArgs  = 10
	maxStrangerBulk  = 16 << 10
	maxStrangerAhead = 32 << 10 // behind an AUTH that waits

	errStrangerCount protocolError = "unauthenticated multibulk length"
	errStrangerBulk  protocolError = "unauthenticated bulk length"
	errStrangerAhead protocolError = "more than 32 KiB sent behind an AUTH that waits"
)

const (
	errNoAuth      replyError = "NOAUTH Authentication required."
	errNoAuthHello replyError = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	errNoKeyPerm   replyError = "NOPERM this user has no permissions to access one of the keys used as arguments"
)

func errNoPerm(command string) replyError {
	return replyError("NOPERM this user has no permissions to run the '" + command + "' command")
}

// login is who a session has authenticated as. It belongs to the goroutine that serves
// the connection.
type login struct {
	name string // empty: nobody
	stop func() // ends the following of that user

	// former has the same for those it was before, and who may have left it session
	// leases: these end with their user, whoever goes on with the connection.
	former map[string]func()

	list *users.List // in which who was looked up
	who  *users.User // nil if he is not there
}

// user returns who the session is now, nil if he is no user any more.
func (l *login) user(guard *users.Guard) *users.User {
	if list := guard.List(); list != l.list {
		l.list, l.who = list, list.User(l.name)
	}
	return l.who
}

// admit returns nil if the client may send the command.
func (c *call) admit() error {
	l := &c.sess.login
	if l.name == "" {
		if c.cmd.open {
			return nil
		}
		return errNoAuth
	}
	u := l.user(c.srv.opts.Access)
	if u == nil { // the connection is about to be closed
		c.sess.guard.hangUp()
		return errNoAuth
	}
	return c.permit(u)
}

// permit returns nil if the user has the right that the command needs.
func (c *call) permit(u *users.User) error {
	right, name := c.cmd.right, c.cmd.name
	switch {
	case right == 0:
		return nil
	case right == users.Release && len(c.args) > 1 && keyword(c.args[1]) == optForce: // FORCE stands alone
		right, name = users.Force, name+"|force"
	}
	if c.cmd.access == noKey {
		if !u.Has(right) {
			return errNoPerm(name)
		}
		return nil
	}
	err := u.May(right, locks.ID(c.args[0]))
	if err == nil {
		return nil
	}
	if denied, ok := errors.AsType[*users.DeniedError](err); ok && !denied.ID {
		return errNoPerm(name)
	}
	return errNoKeyPerm
}

// readable reports whether the client may know of a lock.
func (c *call) readable(id locks.ID) bool {
	if c.srv.opts.Access == nil {
		return true
	}
	u := c.sess.login.user(c.srv.opts.Access)
	return u != nil && u.May(users.Read, id) == nil
}

// readsAll reports whether the client may know of everything.
func (c *call) readsAll() bool {
	if c.srv.opts.Access == nil {
		return true
	}
	u := c.sess.login.user(c.srv.opts.Access)
	return u != nil && u.ReadsAll()
}

// stranger reports whether the client still has to authenticate.
func (c *call) stranger() bool { return c.srv.opts.Access != nil && c.sess.login.name == "" }

// authenticate lets a user in. Where there is no guard, it lets the default user in with
// any password, as a Redis without passwords does.
func (c *call) authenticate(name, password []byte) error {
	guard := c.srv.opts.Access
	if guard == nil {
		if string(name) != users.Default {
			return errWrongPass
		}
		return nil
	}
	gone := false
	u, err := guard.Authenticate(users.Attempt{
		Peer:     c.sess.guard.RemoteAddr(),
		Listener: "resp",
		Name:     string(name),
		Password: string(password),
		Wait:     func(wait func(context.Context)) { gone = c.whileWatched(wait) },
	})
	switch {
	case gone:
		return c.giveUp(errLeft)
	case err == nil:
		c.login(u)
		return nil
	case errors.Is(err, users.ErrWrongPass):
		c.srv.opts.AuthFailed(false)
		return errWrongPass
	case errors.Is(err, users.ErrTooManyFailures):
		c.srv.opts.AuthFailed(true)
		return replyError("BUSY " + err.Error())
	case errors.Is(err, context.Canceled) && c.srv.serving.Err() != nil:
		return locks.ErrShutdown
	case errors.Is(err, context.Canceled):
		return errGone
	}
	return err
}

// whileWatched lets something take its time for as long as the client is there, which
// it reports. Replies that are due go out first.
func (c *call) whileWatched(do func(context.Context)) (gone bool) {
	if !c.flush() {
		return true
	}
	return hangup.While(c.ctx, c.srv.serving, c.sess.guard.watch, do)
}

// login makes the session a user's.
func (c *call) login(u *users.User) {
	s := c.sess
	if s.login.name != u.Name() {
		former := s.login.former
		if s.login.name != "" && s.leases.Holds() {
			if former == nil {
				former = make(map[string]func())
			}
			former[s.login.name] = s.login.stop
		} else {
			s.login.unfollow()
			former = nil
		}
		stop := former[u.Name()]
		if delete(former, u.Name()); stop == nil {
			stop = c.srv.opts.Access.Follow(u.Name(), func() { c.srv.expel(s) })
		}
		s.login = login{name: u.Name(), stop: stop, former: former}
		s.update(func(i *identity) { i.user = u.Name() })
	}
	s.guard.setStranger(time.Time{})
}

// logout makes the session nobody's. It has no leases any more.
func (s *session) logout() {
	s.login.unfollow()
	s.login = login{}
	s.update(func(i *identity) { i.user = "" })
}

func (l *login) unfollow() {
	if l.stop != nil {
		l.stop()
	}
	for _, stop := range l.former {
		stop()
	}
}

// expel closes the connection of a user who is gone. A command that waits ends with it.
func (s *Server) expel(sess *session) {
	_ = sess.guard.Close() // fails if it is closed already
}

// setStranger says until when the client has to authenticate; zero: it has, or need not.
func (g *guard) setStranger(until time.Time) {
	g.authBy, g.frames.stranger = until, !until.IsZero()
	if g.frames.stranger {
		g.in.Limit(maxStrangerAhead)
	} else {
		g.in.Limit(maxAhead)
	}
}

// userOf returns what CLIENT LIST calls the user of a connection.
func (c *call) userOf(i identity) string {
	switch {
	case c.srv.opts.Access == nil:
		return users.Default
	case i.user == "":
		return "(none)"
	}
	return i.user
}

func (c *call) aclWhoAmI() error {
	c.bulk(c.userOf(c.sess.identity()))
	return nil
}
