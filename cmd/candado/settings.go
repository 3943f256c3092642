package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/goodjobtech/candado/httpapi"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/proxy"
)

// setting is one thing that an operator may set: by the flag --name, by the
// environment variable CANDADO_NAME, or not at all.
type setting struct {
	name  string
	arg   string // what help calls the value; empty: a switch
	deflt string // as an operator would write it
	help  string

	// store checks the text and puts its value into the Config. Its error is the
	// rest of a sentence that begins with the setting's name.
	store func(c *Config, text string) error
}

// settings is the one table of them. Flags, environment and help are made from
// it, in this order.
func settings() []setting {
	return []setting{
		{"listen", "host:port", "127.0.0.1:6380", "Where RESP clients connect.",
			stored(func(c *Config) *string { return &c.Listen }, address)},
		{"http", "host:port", "127.0.0.1:8080", "Where HTTP clients connect; empty: no HTTP.",
			stored(func(c *Config) *string { return &c.HTTP }, optional(address))},
		{"password", "text", "", "What clients must say to be let in. Every user of this machine sees a flag: the variable, or a file, is better.",
			stored(func(c *Config) *secret { return &c.Password }, password)},
		{"password-file", "path", "", "File whose first line is that password; it is read again at SIGHUP.",
			stored(func(c *Config) *string { return &c.PasswordFile }, path)},
		{"users-file", "path", "", "File of users, with their passwords and rights (candado passwd makes its lines); it is read again at SIGHUP.",
			stored(func(c *Config) *string { return &c.UsersFile }, path)},
		{"insecure", "", "false", "Allow listening beyond loopback though no password is set.",
			stored(func(c *Config) *bool { return &c.Insecure }, boolean)},
		{"public-metrics", "", "false", "Let everybody read /metrics, without a password.",
			stored(func(c *Config) *bool { return &c.PublicMetrics }, boolean)},
		{"upstream", "url", "", "Redis that keeps the locks, redis://[user:pass@]host:port/db (or rediss://, unix://); empty: they are kept in this process.",
			stored(func(c *Config) *string { return &c.Upstream }, optional(upstreamURL))},
		{"tls-cert", "file", "", "Certificate of both listeners, in PEM, with those that lead to its issuer; empty: no TLS. Read again when the file changes, as are the others.",
			stored(func(c *Config) *string { return &c.TLS.Cert }, anyText)},
		{"tls-key", "file", "", "Key of that certificate, in PEM, without a passphrase.",
			stored(func(c *Config) *string { return &c.TLS.Key }, anyText)},
		{"tls-client-ca", "file", "", "Certificates, in PEM, of those who issue clients theirs: then each client has to show one. Empty: none has to.",
			stored(func(c *Config) *string { return &c.TLS.ClientCA }, anyText)},
		{"upstream-ca", "file", "", "Certificates, in PEM, of those who may have issued the upstream's; empty: those that the system trusts.",
			stored(func(c *Config) *string { return &c.TLS.UpstreamCA }, anyText)},
		{"upstream-cert", "file", "", "Certificate to show to the upstream, in PEM; empty: none.",
			stored(func(c *Config) *string { return &c.TLS.UpstreamCert }, anyText)},
		{"upstream-key", "file", "", "Key of that certificate, in PEM, without a passphrase.",
			stored(func(c *Config) *string { return &c.TLS.UpstreamKey }, anyText)},
		{"upstream-password-file", "file", "", "Password of the upstream, in place of one in its URL; read again for each new connection.",
			stored(func(c *Config) *string { return &c.UpstreamPasswordFile }, anyText)},
		{"prefix", "text", "candado:", "How every key in the upstream begins.",
			stored(func(c *Config) *string { return &c.Prefix }, prefix)},
		{"upstream-timeout", "duration", "2s", "How long the upstream may take to answer.",
			stored(func(c *Config) *time.Duration { return &c.UpstreamTimeout }, duration)},
		{"upstream-batch", "number", "128", "How many operations go to the upstream together, at most; 1: each goes alone.",
			stored(func(c *Config) *int { return &c.UpstreamBatch }, positive)},
		{"strict-upstream", "", "false", "Refuse an upstream that is unsafe for locks, such as one that evicts keys; else it is only logged.",
			stored(func(c *Config) *bool { return &c.StrictUpstream }, boolean)},
		{"default-ttl", "duration", shortDuration(locks.DefaultTTL), "How long a lease lasts if its request does not say.",
			stored(func(c *Config) *time.Duration { return &c.Limits.DefaultTTL }, duration)},
		{"max-ttl", "duration", shortDuration(locks.DefaultMax), "The longest lease that may be asked for.",
			stored(func(c *Config) *time.Duration { return &c.Limits.MaxTTL }, duration)},
		{"allow-persist", "", "false", "Allow leases that never expire.",
			stored(func(c *Config) *bool { return &c.Limits.AllowPersist }, boolean)},
		{"max-waiters", "number", "10000", "How many requests may wait for one lock.",
			stored(func(c *Config) *int { return &c.MaxWaiters }, positive)},
		{"max-waiting", "number", "10000", "How many requests may wait in all, in this process.",
			stored(func(c *Config) *int { return &c.Quotas.Waiting }, number(1, mostOfAny))},
		{"max-http-waiting", "number", "5000", "How many of them may have come by HTTP.",
			stored(func(c *Config) *int { return &c.Quotas.HTTPWaiting }, number(1, mostOfAny))},
		{"max-connections", "number", "10000", "How many RESP connections may be open, and how many HTTP connections.",
			stored(func(c *Config) *int { return &c.Quotas.Connections }, number(1, mostOfAny))},
		{"max-session-leases", "number", "100000", "How many session leases a connection may have.",
			stored(func(c *Config) *int { return &c.Quotas.SessionLeases }, number(1, mostOfAny))},
		{"max-command-bytes", "bytes", strconv.Itoa(proxy.DefaultCommandBytes), "How long a RESP command may be.",
			stored(func(c *Config) *int { return &c.Quotas.CommandBytes }, number(proxy.MinCommandBytes, mostBytes))},
		{"max-header-bytes", "bytes", strconv.Itoa(httpapi.DefaultHeaderBytes), "How long an HTTP request line and its headers may be; each connection has a buffer of that size.",
			stored(func(c *Config) *int { return &c.Quotas.HeaderBytes }, number(httpapi.MinHeaderBytes, mostBytes))},
		{"request-timeout", "duration", "10s", "How long a command or an HTTP request may take to arrive, from its first byte on.",
			stored(func(c *Config) *time.Duration { return &c.Quotas.RequestTimeout }, duration)},
		{"idle-timeout", "duration", "0s", "Close a RESP connection on which no command has come for so long, also if it has session leases; 0s: never.",
			stored(func(c *Config) *time.Duration { return &c.Quotas.IdleTimeout }, orNone(duration))},
		{"http-idle-timeout", "duration", "30s", "Close an HTTP connection on which no request has come for so long.",
			stored(func(c *Config) *time.Duration { return &c.Quotas.HTTPIdleTimeout }, duration)},
		{"write-timeout", "duration", "5s", "How long a client may take to accept a reply.",
			stored(func(c *Config) *time.Duration { return &c.Quotas.WriteTimeout }, duration)},
		{"drain-timeout", "duration", "10s", "How long running commands may take to finish when candado stops.",
			stored(func(c *Config) *time.Duration { return &c.DrainTimeout }, duration)},
		{"log-level", "level", "info", "What is logged: debug, info, warn or error (and above).",
			stored(func(c *Config) *string { return &c.LogLevel }, oneOf("debug", "info", "warn", "error"))},
		{"log-format", "format", "text", "How it is logged: text, or json for machines.",
			stored(func(c *Config) *string { return &c.LogFormat }, oneOf("text", "json"))},
	}
}

// env returns the name of the setting's environment variable.
func (s setting) env() string {
	return "CANDADO_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// stored returns a setting's store function: check reads the text, field says
// where its value goes.
func stored[T any](field func(*Config) *T, check func(string) (T, error)) func(*Config, string) error {
	return func(c *Config, text string) error {
		v, err := check(text)
		if err != nil {
			return err
		}
		*field(c) = v
		return nil
	}
}

// shortDuration writes d as people do: 24h, not 24h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if head, cut := strings.CutSuffix(s, zero); cut && head != "" && !isDigit(head[len(head)-1]) {
			s = head
		}
	}
	return s
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
