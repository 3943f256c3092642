package httpapi

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/access/accesstest"
)

// constant is an engine that costs nothing: each request succeeds.
type constant struct{ locks.Engine }

func (constant) Acquire(_ context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	return locks.Lease{Token: 7, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, nil
}

func (constant) Release(context.Context, locks.ReleaseRequest) (locks.Released, error) {
	return locks.Released{Ended: 1}, nil
}

// BenchmarkHandle is the handler alone, without fasthttp's reading and writing.
func BenchmarkHandle(b *testing.B) {
	for _, bench := range []struct{ name, target, password string }{
		{"acquire", "/acquire/orders:4711", ""},
		{"release", "/release/orders:4711", ""},
		{"escaped", "/acquire/orders%2F4711", ""},
		{"extended", "/acquire/orders:4711?owner=worker-17:4242&ttl=30s", ""},
		{"token", "/release/orders:4711?token=1763860000000001", ""},
		{"password", "/acquire/orders:4711", "sesame"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			o := Options{Engine: constant{}, Metrics: metrics.New(build())}
			if bench.password != "" {
				o.Access = accesstest.Guard(b, "default "+bench.password+" all *")
			}
			s := New(o)
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			c, _ := s.conns.add(near)
			var ctx fasthttp.RequestCtx
			ctx.Init2(c, nil, false)
			ctx.Request.Header.SetRequestURI(bench.target)
			ctx.Request.Header.SetHost("candado")
			ctx.Request.Header.Set("Authorization", "Bearer "+bench.password)
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				s.handle(&ctx)
			}
			if ctx.Response.StatusCode() != fasthttp.StatusOK {
				b.Fatal(ctx.Response.String())
			}
		})
	}
}

// BenchmarkServe is pairs of acquire and release through a listener. What the
// clients cost is in it.
func BenchmarkServe(b *testing.B) {
	_, addr := serve(b, Options{Engine: constant{}, Metrics: metrics.New(build())})
	steps := []struct{ request, body []byte }{
		{[]byte("GET /acquire/orders:4711 HTTP/1.1\r\nHost: candado\r\n\r\n"), []byte(bodyHeld)},
		{[]byte("GET /release/orders:4711 HTTP/1.1\r\nHost: candado\r\n\r\n"), []byte(bodyFree)},
	}
	b.SetParallelism(32) // connections per processor
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		reply := make([]byte, 1024)
		for pb.Next() {
			for _, step := range steps {
				_, err := c.Write(step.request)
				n := 0
				if err == nil {
					n, err = c.Read(reply) // a reply is one write, and so one read
				}
				if err != nil || !bytes.HasSuffix(reply[:n], step.body) {
					b.Errorf("%v, %q", err, reply[:n])
					return
				}
			}
		}
	})
}

func BenchmarkParseQuery(b *testing.B) {
	for _, bench := range []struct{ name, query string }{
		{"none", ""},
		{"owner", "owner=worker-17:4242&ttl=30s"},
		{"escaped", "owner=worker%2017&wait=1500ms&limit=3"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			limits := locks.Limits{}.WithDefaults()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parseQuery(bench.query, paramTTL|paramWait|paramOwner|paramLimit, limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
