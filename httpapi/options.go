package httpapi

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/access"
)

// MaxBodyBytes is what is read of a body before it is refused: no request needs one.
const MaxBodyBytes = 4 << 10

const (
	// DefaultHeaderBytes is the default of Options.MaxHeaderBytes. Each open connection
	// has a buffer of that size.
	DefaultHeaderBytes = 8 << 10

	// MinHeaderBytes is the least that a request line and headers may be allowed: an ID of
	// 1024 bytes and an owner of 256, each byte percent-encoded, make almost 4 KiB of
	// request line, and half as much is left for headers.
	MinHeaderBytes = 6 << 10
)

// Options says what a Server serves, and within which limits. Engine is
// required; the zero value of every other field works.
type Options struct {
	Engine  locks.Engine
	Limits  locks.Limits     // default: see locks.Limits
	Metrics *metrics.Metrics // default: none are kept, and /metrics is 404
	Log     *slog.Logger     // default: nothing is logged

	// Access says who may do what, but for /healthz and /readyz. Default: everybody
	// may do everything.
	Access        *access.Guard
	PublicMetrics bool // /metrics is for everybody; default: for users who may read

	ReadTimeout  time.Duration // for a whole request to arrive, the first one with the handshake of TLS; default 10 s
	WriteTimeout time.Duration // for a reply to be taken; default 5 s
	IdleTimeout  time.Duration // between two requests of a connection; default 30 s
	MaxConns     int           // above it only probes are answered; default 10 000

	// MaxHeaderBytes bounds a request line and headers; above it: 431. Default:
	// DefaultHeaderBytes. At least MinHeaderBytes.
	MaxHeaderBytes int

	// NoDate leaves out the Date header; default: it is sent. The goroutine that
	// keeps the date lives as long as the process, which virtual-time tests
	// can't have.
	NoDate bool
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.WithDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 10 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 5 * time.Second
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 30 * time.Second
	}
	if o.MaxConns == 0 {
		o.MaxConns = 10_000
	}
	o.MaxHeaderBytes = max(cmp.Or(o.MaxHeaderBytes, DefaultHeaderBytes), MinHeaderBytes)
	return o
}
