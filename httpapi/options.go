package httpapi

import (
	"log/slog"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
)

// What a request may weigh. An ID of 1024 bytes and an owner of 256, each byte
// percent-encoded, make less than 4 KiB of request line.
const (
	maxHeaderBytes = 16 << 10 // request line and headers
	maxBodyBytes   = 4 << 10  // read before being refused: no request needs a body
)

// Options says what a Server serves, and within which limits. Engine is
// required; the zero value of every other field works.
type Options struct {
	Engine  locks.Engine
	Limits  locks.Limits     // default: see locks.Limits
	Metrics *metrics.Metrics // default: none are kept, and /metrics is 404
	Log     *slog.Logger     // default: nothing is logged

	ReadTimeout  time.Duration // for a whole request to arrive; default 5 s
	WriteTimeout time.Duration // for a reply to be taken; default 5 s
	IdleTimeout  time.Duration // between two requests of a connection; default 30 s
	MaxConns     int           // connections above it get 503; default 10 000

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
		o.ReadTimeout = 5 * time.Second
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
	return o
}
