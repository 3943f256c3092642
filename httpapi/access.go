package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/access"
	"github.com/goodjobtech/candado/locks/hangup"
)

// This file says whose a request is, and whether he may make it. Where
// Options.Access is not set, everybody may make every one.

var (
	errNoCredentials = &requestError{status: fasthttp.StatusUnauthorized, text: "authentication is required", challenge: true}
	errUnknownScheme = &requestError{status: fasthttp.StatusUnauthorized, text: "the Authorization header is neither Basic nor Bearer", challenge: true}
	errTwice         = &requestError{status: fasthttp.StatusBadRequest, text: "there are several Authorization headers"}
	errBadBasic      = &requestError{status: fasthttp.StatusBadRequest, text: "the Authorization header has no name and password in base64"}
	errNoBearer      = &requestError{status: fasthttp.StatusBadRequest, text: "the Authorization header has no password"}
	errUserGone      = &requestError{status: fasthttp.StatusUnauthorized, text: "this user was removed while the request waited", challenge: true}
)

// enter returns whose request it is: nil if there is no guard, or if the page is
// open to everybody and the client does not say who it is.
func (s *Server) enter(ctx *fasthttp.RequestCtx, e endpoint) (*access.User, error) {
	if s.options.Access == nil || e.open == toAll {
		return nil, nil
	}
	headers := ctx.Request.Header.PeekAll("Authorization")
	switch {
	case len(headers) > 1:
		return nil, errTwice
	case len(headers) == 0 && e.open == inShort:
		return nil, nil
	case len(headers) == 0:
		return nil, errNoCredentials
	}
	name, password, err := credentials(string(headers[0]))
	if err != nil {
		return nil, err
	}
	user, err := s.authenticate(connOf(ctx), name, password)
	if err != nil {
		// The next try of this client counts anew, and that on another connection: a
		// password that this one has brought before is not to be guessed here.
		ctx.SetConnectionClose()
	}
	return user, err
}

// credentials reads an Authorization header: Basic has a name and a password, Bearer
// the default user's password or, if there is a colon in it, both. An empty name is
// that of the default user.
func credentials(header string) (name, password string, err error) {
	scheme, given, _ := strings.Cut(header, " ")
	given = strings.Trim(given, " ")
	both := given
	switch {
	case strings.EqualFold(scheme, "Basic"):
		decoded, err := base64.StdEncoding.DecodeString(given)
		if err != nil || !strings.Contains(string(decoded), ":") {
			return "", "", errBadBasic
		}
		both = string(decoded)
	case !strings.EqualFold(scheme, "Bearer"):
		return "", "", errUnknownScheme
	case given == "":
		return "", "", errNoBearer
	case !strings.Contains(given, ":"):
		return access.Default, given, nil
	}
	name, password, _ = strings.Cut(both, ":")
	if name == "" {
		name = access.Default
	}
	return name, password, nil
}

// authenticate asks the guard. It may wait, for as long as the client is there.
func (s *Server) authenticate(c *conn, name, password string) (*access.User, error) {
	gone := false
	user, err := s.options.Access.Authenticate(access.Attempt{
		Peer: c.RemoteAddr(), Listener: "http", Name: name, Password: password, As: c.user,
		Wait: func(wait func(context.Context)) { gone = hangup.While(s.base, s.waiting, c.watch, wait) },
	})
	c.user = ""
	switch {
	case gone && c.in.Overrun():
		s.exceeded(locks.QuotaAheadBytes)
		return nil, errAhead
	case gone:
		return nil, errGone
	case err == nil:
		c.user = user.Name()
		return user, nil
	case errors.Is(err, access.ErrWrongPass):
		s.countAuthFailure(false)
		return nil, &requestError{status: fasthttp.StatusUnauthorized, text: err.Error(), challenge: true}
	case errors.Is(err, access.ErrTooManyFailures):
		s.countAuthFailure(true)
		return nil, &requestError{status: fasthttp.StatusTooManyRequests, text: err.Error()}
	case errors.Is(err, context.Canceled):
		return nil, locks.ErrShutdown
	}
	return nil, err
}

func (s *Server) countAuthFailure(throttled bool) {
	if s.options.Metrics != nil {
		s.options.Metrics.AuthFailed("http", throttled)
	}
}

// permit returns nil if the request may be made by who makes it.
func (e endpoint) permit(c call) error {
	right := e.right
	switch {
	case c.user == nil || right == 0:
		return nil
	case c.params.has(paramForce):
		right = access.Force
	}
	if e.onID {
		return c.user.May(right, c.id)
	}
	if !c.user.Has(right) {
		return &access.DeniedError{Right: right}
	}
	return nil
}

// mayRead reports whether the client may know of a lock.
func (c call) mayRead(id locks.ID) bool { return c.user == nil || c.user.May(access.Read, id) == nil }

// stay returns a context that ends when the request's user is removed. Done must be
// called in the end.
func (s *Server) stay(c call) (ctx context.Context, done func()) {
	if c.user == nil {
		return c.ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	stop := s.options.Access.Follow(c.user.Name(), func() { cancel(errUserGone) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
