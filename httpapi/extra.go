package httpapi

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
)

// Connections above the limit. Each may ask one thing, at once: whether candado lives, is
// ready, or how it fares. So those who watch it can, also when it is full; and nobody takes a
// full candado for a dead one and kills it. Whatever else is asked is refused.

const (
	// maxExtra is how many connections above the limit there may be at one time. Beyond
	// them, connections are closed without a word.
	maxExtra = 64

	// extraTime is how long the request of such a connection may take to arrive.
	extraTime = time.Second

	// What is read of a client after the last reply.
	lingerBytes = 64 << 10
)

// isExtra reports whether the connection is one above the limit.
func (c *conn) isExtra() bool { return !c.extra.IsZero() }

// serveExtra makes the reply the connection's last, if it is one above the limit.
func (c *conn) serveExtra(ctx *fasthttp.RequestCtx) {
	if c.isExtra() {
		c.lingers = true
		ctx.SetConnectionClose()
	}
}

// checkRoom refuses what may not be asked on a connection above the limit.
func (c *conn) checkRoom(path string) error {
	if !c.isExtra() || path == "/healthz" || path == "/readyz" || path == "/metrics" {
		return nil
	}
	return errCrowded()
}

func errCrowded() error { return &locks.QuotaError{Quota: locks.QuotaHTTPConnections} }
