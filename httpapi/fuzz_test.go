package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
)

// once has the server answer one request, without fasthttp's server. It
// returns false if fasthttp can't read the request.
func once(s *Server, target string) (status int, body string, readable bool) {
	near, far := net.Pipe()
	defer far.Close()
	c, _ := s.conns.add(near)
	defer c.Close()
	var ctx fasthttp.RequestCtx
	ctx.Init2(c, nil, false)
	raw := "GET " + target + " HTTP/1.1\r\nHost: candado\r\n\r\n"
	if err := ctx.Request.Read(bufio.NewReaderSize(strings.NewReader(raw), DefaultHeaderBytes)); err != nil {
		s.unreadable(&ctx, err)
		return ctx.Response.StatusCode(), string(ctx.Response.Body()), false
	}
	s.handle(&ctx)
	return ctx.Response.StatusCode(), string(ctx.Response.Body()), true
}

// FuzzPathAndQuery: no target makes the server fail, every body is JSON, and an
// ID that was accepted is accepted again, as the same, in its escaped form.
func FuzzPathAndQuery(f *testing.F) {
	for _, target := range []string{
		"/acquire/a", "/acquire/a%2Fb?ttl=30s&owner=x", "/release/%00?token=9", "/heartbeat/../x?ttl=1s&token=1",
		"http://h/locks/%ff", "/locks?match=*&cursor=0&count=5", "/acquire/%", "/acquire/a?%&&=", "/acquire/a?ttl=-1ns",
		"/acquire/é+?limit=2&shared=1", "https://h?x", "*", "/acquire/\"\\?owner=%22", "/readyz", "/acquire/a#b", "/acquire/a?wait=1s",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		engine := agreeable()
		s := New(Options{Engine: engine})
		status, body, readable := once(s, target)
		if status >= 500 || !json.Valid([]byte(body)) {
			t.Fatalf("%q: %d %s", target, status, body)
		}
		req, acquired := engine.taken().(locks.AcquireRequest)
		switch {
		case !acquired:
			return
		case status != 200 || !readable:
			t.Fatalf("%q: the engine was asked, but the reply is %d %s", target, status, body)
		}
		if err := req.ID.Validate(); err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		if err := s.options.Limits.CheckTTL(req.TTL); err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		again := "/acquire/" + escape(string(req.ID))
		if status, body, _ := once(s, again); status != 200 {
			t.Fatalf("%q: %d %s", again, status, body)
		}
		if got := engine.taken().(locks.AcquireRequest); got.ID != req.ID {
			t.Fatalf("%q: the ID is %q, want %q", again, got.ID, req.ID)
		}
	})
}

// FuzzStrings: whatever bytes an owner has, the body is JSON that holds what
// encoding/json makes of them.
func FuzzStrings(f *testing.F) {
	f.Add("a\"\\\x00\x7f\xff\xed\xa0\x80\u2028é")
	f.Fuzz(func(t *testing.T, owner string) {
		engine := agreeable()
		engine.acquire = func(context.Context, locks.AcquireRequest) (locks.Lease, error) {
			return locks.Lease{Token: 1, TTL: 1, Owner: locks.Owner(owner)}, nil
		}
		_, body, _ := once(New(Options{Engine: engine}), "/acquire/a?ttl=1s")
		var got struct{ Owner string }
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		raw, err := json.Marshal(owner)
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if got.Owner != want {
			t.Errorf("got %q, want %q", got.Owner, want)
		}
	})
}
