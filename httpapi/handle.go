package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/access"
)

// endpoint is one route: what may be said to it and what it does.
type endpoint struct {
	action bool  // changes locks: GET and POST; otherwise GET and HEAD
	onID   bool  // the rest of the path is a lock ID
	params param // that apply
	right  access.Right
	open   openness
	serve  func(*Server, call) (outcome, error)
}

// openness says what a page is to those who do not say who they are.
type openness uint8

const (
	closed  openness = iota
	inShort          // they are told less
	toAll
)

// call is a request that has passed all checks. It holds nothing of fasthttp's,
// which uses a request's memory again as soon as the handler has returned.
type call struct {
	ctx    context.Context
	conn   *conn
	id     locks.ID
	params params
	user   *access.User // whose it is; nil: anybody's
}

// route finds the endpoint of a path, and the rest of the path where that is an
// ID. The path is compared as it came: escapes in the fixed part do not match.
func (s *Server) route(path string) (e endpoint, rest string, err error) {
	if after, ok := strings.CutPrefix(path, "/acquire/"); ok {
		return endpoint{action: true, onID: true, serve: (*Server).acquire, right: access.Acquire,
			params: paramTTL | paramPersist | paramWait | paramOwner | paramShared | paramLimit}, after, nil
	}
	if after, ok := strings.CutPrefix(path, "/release/"); ok {
		return endpoint{action: true, onID: true, serve: (*Server).release, right: access.Release,
			params: paramOwner | paramToken | paramForce}, after, nil
	}
	if after, ok := strings.CutPrefix(path, "/heartbeat/"); ok {
		return endpoint{action: true, onID: true, serve: (*Server).heartbeat, right: access.Heartbeat,
			params: paramOwner | paramToken | paramTTL | paramPersist}, after, nil
	}
	if after, ok := strings.CutPrefix(path, "/locks/"); ok {
		return endpoint{onID: true, serve: (*Server).info, right: access.Read}, after, nil
	}
	switch {
	case path == "/locks":
		return endpoint{serve: (*Server).scan, right: access.Read, params: paramMatch | paramCursor | paramCount}, "", nil
	case path == "/healthz":
		return endpoint{serve: (*Server).healthz, open: toAll}, "", nil
	case path == "/readyz":
		return endpoint{serve: (*Server).readyz, open: inShort}, "", nil
	case path == "/metrics" && s.options.Metrics != nil:
		e := endpoint{serve: (*Server).metrics, right: access.Read}
		if s.options.PublicMetrics {
			e.open = toAll
		}
		return e, "", nil
	}
	return endpoint{}, "", &requestError{status: fasthttp.StatusNotFound, text: "there is nothing at " + quote(path)}
}

// handle answers one request. A panic ends the request, not the process.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c := connOf(ctx)
	c.serving.Store(true)
	defer c.serving.Store(false)
	c.untold = nil // the reply before is written
	c.serveExtra(ctx)
	defer func() {
		if p := recover(); p != nil {
			s.options.Log.Error("panic at an HTTP request", "panic", p, "stack", string(debug.Stack()))
			s.send(ctx, refusal(fmt.Errorf("panic: %v", p)))
			ctx.SetConnectionClose()
		}
	}()
	o, err := s.answer(ctx)
	if err != nil {
		o = s.refusal(err)
		if o.status == fasthttp.StatusInternalServerError {
			s.options.Log.Error("an HTTP request failed", "error", err)
		}
	}
	s.send(ctx, o)
}

// connOf returns the connection of a request. The listener hands out no others.
func connOf(ctx *fasthttp.RequestCtx) *conn { return ctx.Conn().(*conn) }

// answer checks the request from the outside in, and serves it.
func (s *Server) answer(ctx *fasthttp.RequestCtx) (outcome, error) {
	if err := checkHeaders(&ctx.Request.Header); err != nil {
		return outcome{}, err
	}
	if err := checkFraming(ctx.Request.Header.RawHeaders()); err != nil {
		ctx.SetConnectionClose() // where the next request begins is in doubt
		return outcome{}, err
	}
	path, query, err := splitTarget(string(ctx.Request.Header.RequestURI()))
	if err != nil {
		return outcome{}, err
	}
	if err := connOf(ctx).checkRoom(path); err != nil {
		return outcome{}, err
	}
	e, rest, err := s.route(path)
	if err != nil {
		return outcome{}, err
	}
	user, err := s.enter(ctx, e)
	if err != nil {
		return outcome{}, err
	}
	if err := e.checkMethod(string(ctx.Method())); err != nil {
		return outcome{}, err
	}
	if len(ctx.Request.Body()) > 0 {
		return outcome{}, badRequest("the request has a body, but parameters go in the query")
	}
	c := call{ctx: s.base, conn: connOf(ctx), user: user}
	if e.onID {
		if query != "" {
			rest = strings.Clone(rest) // an engine keeps the ID, and would keep the query with it
		}
		if c.id, err = lockID(rest); err != nil {
			return outcome{}, err
		}
	}
	if c.params, err = parseQuery(query, e.params, s.options.Limits); err != nil {
		return outcome{}, err
	}
	if err := e.permit(c); err != nil {
		return outcome{}, err
	}
	if e.action {
		if err := s.stopping(); err != nil {
			return outcome{}, err
		}
	}
	return e.serve(s, c)
}

func (e endpoint) checkMethod(method string) error {
	other, allow := fasthttp.MethodHead, "GET, HEAD"
	if e.action {
		// No HEAD: who asks only about a page must not take a lock.
		other, allow = fasthttp.MethodPost, "GET, POST"
	}
	if method == fasthttp.MethodGet || method == other {
		return nil
	}
	return &requestError{
		status: fasthttp.StatusMethodNotAllowed,
		text:   "the method " + quote(method) + " is not one of " + allow,
		allow:  allow,
	}
}

// checkHeaders refuses what a browser sends for another site's page. Browsers
// mark their requests by Sec-Fetch-Site, but only to hosts that they trust;
// Origin they send everywhere, but not with each GET.
func checkHeaders(h *fasthttp.RequestHeader) error {
	for _, site := range h.PeekAll("Sec-Fetch-Site") {
		if strings.EqualFold(strings.TrimSpace(string(site)), "cross-site") {
			return &requestError{status: fasthttp.StatusForbidden, text: "a page of another site may not do this"}
		}
	}
	if origin := h.PeekCanonical([]byte("Origin")); len(origin) > 0 {
		_, host, _ := strings.Cut(string(origin), "://")
		if !strings.EqualFold(host, string(h.Host())) {
			return &requestError{status: fasthttp.StatusForbidden, text: "a page of another origin may not do this"}
		}
	}
	return nil
}

// checkFraming refuses a request whose end a proxy before candado may see
// elsewhere than fasthttp does (RFC 9112, sections 2.2, 5.2 and 6.3).
func checkFraming(raw []byte) error {
	for line := range bytes.Lines(raw) {
		switch {
		case !bytes.HasSuffix(line, []byte("\r\n")):
			return badRequest("a header does not end in CR and LF")
		case line[0] == ' ' || line[0] == '\t':
			return badRequest("a header goes on in a second line")
		}
	}
	encodings := fieldValues(raw, "Transfer-Encoding")
	switch {
	case len(encodings) == 0:
		return nil
	case len(encodings) > 1 || !strings.EqualFold(string(encodings[0]), "chunked"):
		return badRequest("the request has a Transfer-Encoding other than chunked")
	case len(fieldValues(raw, "Content-Length")) > 0:
		return badRequest("the request has both Content-Length and Transfer-Encoding")
	}
	return nil
}

func fieldValues(raw []byte, name string) (values [][]byte) {
	for line := range bytes.Lines(raw) {
		if n := len(name); len(line) > n && line[n] == ':' && strings.EqualFold(string(line[:n]), name) {
			values = append(values, bytes.TrimSpace(line[n+1:]))
		}
	}
	return values
}

// unreadable answers what is not a request that fasthttp can read. fasthttp
// closes the connection afterwards.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	c := connOf(ctx)
	c.lingers = true
	if c.isExtra() {
		s.send(ctx, s.refusal(errCrowded()))
		return
	}
	e := requestError{status: fasthttp.StatusBadRequest, text: "this is not an HTTP request"}
	_, tooLong := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	netErr, ofNet := errors.AsType[net.Error](err)
	switch {
	case tooLong:
		s.exceeded(locks.QuotaHeaderBytes)
		e = requestError{status: fasthttp.StatusRequestHeaderFieldsTooLarge,
			text: fmt.Sprintf("the request line and headers are longer than %d bytes (%s)", s.options.MaxHeaderBytes, locks.QuotaHeaderBytes.Flag())}
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		s.exceeded(locks.QuotaBodyBytes)
		e = requestError{status: fasthttp.StatusRequestEntityTooLarge,
			text: fmt.Sprintf("the body is longer than %d bytes", MaxBodyBytes)}
	case ofNet && netErr.Timeout():
		s.exceeded(locks.QuotaRequestTime)
		e = requestError{status: fasthttp.StatusRequestTimeout,
			text: fmt.Sprintf("the request did not arrive within %v (%s)", s.options.ReadTimeout, locks.QuotaRequestTime.Flag())}
	case ofNet || errors.Is(err, io.ErrUnexpectedEOF):
		e.text = "the connection ended within the request"
	}
	s.send(ctx, refusal(&e))
}

// refusal is what a request is told that has failed.
func (s *Server) refusal(err error) outcome {
	if over, ok := errors.AsType[*locks.QuotaError](err); ok {
		s.exceeded(over.Quota)
	}
	return refusal(err)
}

// send puts a reply in its place. While the server drains, or where the client
// has left, it is the connection's last.
func (s *Server) send(ctx *fasthttp.RequestCtx, o outcome) {
	if o.page != nil && !connOf(ctx).sends(len(o.page.body)) {
		o = s.refusal(&locks.QuotaError{Quota: locks.QuotaReplyBytes})
	}
	h := &ctx.Response.Header
	if o.page != nil {
		h.SetContentType(o.page.kind)
		ctx.Response.SetBodyRaw(o.page.body) // SetBody would keep a copy for as long as the connection
	} else {
		var room [256]byte // enough for most; SetBody copies
		h.SetContentType(kindJSON)
		ctx.SetBody(o.appendTo(room[:0]))
	}
	h.SetCanonical([]byte("Cache-Control"), []byte("no-store"))
	h.SetCanonical([]byte("X-Content-Type-Options"), []byte("nosniff"))
	if o.allow != "" {
		h.Set("Allow", o.allow)
	}
	if o.challenge {
		h.Add("WWW-Authenticate", `Basic realm="candado"`)
		h.Add("WWW-Authenticate", `Bearer realm="candado"`)
	}
	if s.conns.draining.Load() || o.gone {
		ctx.SetConnectionClose()
	}
	if o.status != 0 {
		ctx.SetStatusCode(o.status)
		if !o.gone {
			s.countRefusal(o.status)
		}
	}
	// Setting the deadline here rather than leaving it to fasthttp has two effects.
	// The reply is written at once, also where another request is in fasthttp's
	// buffer: that one may wait for long. And no deadline is left behind, which
	// would have passed when fasthttp refuses what it can't read.
	_ = ctx.SetWriteDeadline(time.Now().Add(s.options.WriteTimeout)) // fails if the write will
}
