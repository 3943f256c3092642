package proxy

// This file holds what a Server can be told, and the defaults.

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/goodjobtech/candado/locks"
	users "github.com/goodjobtech/candado/locks/access"
)

const (
	// DefaultCommandBytes is the default of Options.MaxCommandBytes.
	DefaultCommandBytes = 64 << 10

	// MinCommandBytes is the least that a command may be allowed: the longest ID and the
	// longest owner, with all that can stand beside them, and a pattern in which each byte
	// of an ID is escaped.
	MinCommandBytes = 4 << 10

	// DefaultArguments is the default of Options.MaxArguments.
	DefaultArguments = 1024

	// MaxAhead is how many bytes a client may send behind a command that waits.
	MaxAhead = maxAhead
)

// Options configures a Server. Only Engine must be set; the zero value of every
// other field means its default.
type Options struct {
	Engine locks.Engine // answers the LOCK commands; required

	Limits     locks.Limits // bounds on TTLs; default: those of package locks
	Version    string       // candado's version, for HELLO and INFO; default: "devel"
	EngineName string       // "embedded" or "upstream", for INFO; default: "embedded"

	Log *slog.Logger     // faults, not clients' mistakes; default: slog.Default()
	Now func() time.Time // the clock of TIME, of INFO and of connections' ages; default: time.Now

	// Refused, if set, is called with the code (the first word) of each error
	// reply, such as "ERR" or "NOTOWNER", and with "TLS" for a handshake that failed. It may be called from many
	// goroutines at once and must not block.
	Refused func(code string)

	// Exceeded, if set, is called with the quota for each thing that is refused
	// because of one: a connection, a command, or the wait for a client. It may be
	// called from many goroutines at once and must not block.
	Exceeded func(locks.Quota)

	// Access says who may do what. A client then has CommandTimeout to authenticate.
	// Default: everybody may do everything.
	Access *users.Guard

	// AuthFailed, if set, is called when a name and password were not let in: they were
	// wrong, or, throttled, too many before them were. As Refused, it must not block.
	AuthFailed func(throttled bool)

	// MaxCommandBytes bounds one whole command as it is on the wire; a longer
	// one ends its connection with an error. Default: 64 KiB. At least MinCommandBytes.
	MaxCommandBytes int

	// MaxArguments bounds the arguments of one command, its name included; more
	// end the connection with an error. Default: 1024.
	MaxArguments int

	// MaxConnections bounds the connections open at the same time; a
	// connection beyond it gets an error and is closed. Default: 10000.
	MaxConnections int

	// MaxSessionLeases bounds the session leases of one connection. Default: that of
	// package session.
	MaxSessionLeases int

	// CommandTimeout is how long a command may take to arrive, from its first
	// byte to its last; a later one ends its connection with an error.
	// A handshake of TLS has as much. Default: 10 s.
	CommandTimeout time.Duration

	// IdleTimeout closes a connection on which no command has arrived for so
	// long, also if it has session leases. A command that waits is none. Default:
	// never, as in Redis: a holder may be silent for as long as its lease lasts.
	IdleTimeout time.Duration

	// WriteTimeout is how long a client may take to accept the replies of one
	// batch; it may be up to a quarter less. Default: 5 s.
	WriteTimeout time.Duration
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.WithDefaults()
	o.Version = cmp.Or(o.Version, "devel")
	o.EngineName = cmp.Or(o.EngineName, "embedded")
	o.Log = cmp.Or(o.Log, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	if o.Exceeded == nil {
		o.Exceeded = func(locks.Quota) {}
	}
	if o.AuthFailed == nil {
		o.AuthFailed = func(bool) {}
	}
	o.MaxCommandBytes = max(cmp.Or(o.MaxCommandBytes, DefaultCommandBytes), MinCommandBytes)
	o.MaxArguments = cmp.Or(o.MaxArguments, DefaultArguments)
	o.MaxConnections = cmp.Or(o.MaxConnections, 10_000)
	o.CommandTimeout = cmp.Or(o.CommandTimeout, 10*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 5*time.Second)
	return o
}
