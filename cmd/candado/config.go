package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/spf13/pflag"

	"github.com/goodjobtech/candado/locks"
)

// Config is what the settings say, checked. Its fields have no defaults of
// their own: those are in the table of settings, and load applies them.
type Config struct {
	Listen string // host:port
	HTTP   string // host:port; empty: no HTTP listener

	Password      secret
	PasswordFile  string
	UsersFile     string
	Insecure      bool
	PublicMetrics bool

	Upstream        string // URL; empty: the embedded engine
	Prefix          string
	UpstreamTimeout time.Duration
	UpstreamBatch   int
	StrictUpstream  bool

	TLS                  TLS
	UpstreamPasswordFile string

	Limits       locks.Limits
	MaxWaiters   int
	Quotas       Quotas
	DrainTimeout time.Duration

	LogLevel  string
	LogFormat string
}

// define makes a flag of each setting. The flags only carry text: load checks
// it, together with the environment's. (pflag's own message about a refused
// value would quote the value, and with it an upstream's password.)
func define(flags *pflag.FlagSet, all []setting) {
	for _, s := range all {
		flags.String(s.name, s.deflt, s.help)
		if s.arg == "" {
			flags.Lookup(s.name).NoOptDefVal = "true"
		}
	}
}

// load returns what flags and environment say: for each setting the flag if it
// was given, else the variable if it is set (though it be empty), else the
// default. The first bad value ends in a usageError that names the flag, and
// the variable if the value came from there.
//
// Variables that start with CANDADO_ and belong to no setting are not looked
// at: Kubernetes makes some (CANDADO_PORT, …) for a service of that name.
func load(all []setting, flags *pflag.FlagSet, lookupEnv func(string) (string, bool)) (Config, error) {
	var c Config
	labels := map[string]string{}
	for _, s := range all {
		text, label, given := s.deflt, "--"+s.name, s.deflt != ""
		if v, set := lookupEnv(s.env()); set {
			given = true
			text, label = v, fmt.Sprintf("--%s (from %s)", s.name, s.env())
		}
		if f := flags.Lookup(s.name); f != nil && f.Changed {
			given = true
			text, label = f.Value.String(), "--"+s.name
		}
		if !given {
			continue
		}
		if err := s.store(&c, text); err != nil {
			return Config{}, usageError{fmt.Errorf("%s %w", label, err)}
		}
		labels[s.name] = label
	}
	if l := c.Limits; l.DefaultTTL > l.MaxTTL {
		return Config{}, usageError{fmt.Errorf("%s %s is above %s %s", labels["default-ttl"],
			shortDuration(l.DefaultTTL), labels["max-ttl"], shortDuration(l.MaxTTL))}
	}
	if c.Password != "" && c.PasswordFile != "" {
		return Config{}, usageError{fmt.Errorf("%s and %s are both set, but there is one password", labels["password"], labels["password-file"])}
	}
	return c, c.consistent(func(name string) string { return labels[name] })
}

// engineName returns what logs, metrics and INFO call the engine.
func (c Config) engineName() string {
	if c.Upstream == "" {
		return "embedded"
	}
	return "upstream"
}

// upstreamPlace returns where the upstream is, without the user, password and
// options of its URL: fit to be logged.
func (c Config) upstreamPlace() string {
	u, err := url.Parse(c.Upstream)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// logger returns a logger of the level and format asked for.
func (c Config) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of its four names
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
