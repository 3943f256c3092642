package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"

	"github.com/goodjobtech/candado/cmd/candado/secure"
	"github.com/goodjobtech/candado/httpapi/metrics"
)

// TLS is what the settings say about certificates: paths of files, empty where there is none.
type TLS struct {
	Cert, Key, ClientCA                   string // of both listeners
	UpstreamCA, UpstreamCert, UpstreamKey string
}

// mode returns what logs call the listeners' security.
func (t TLS) mode() string {
	switch {
	case t.ClientCA != "":
		return "mutual"
	case t.Cert != "":
		return "on"
	}
	return "off"
}

func (t TLS) listeners() secure.Files {
	return secure.Files{
		Cert: secure.File{Setting: "--tls-cert", Path: t.Cert},
		Key:  secure.File{Setting: "--tls-key", Path: t.Key},
		CA:   secure.File{Setting: "--tls-client-ca", Path: t.ClientCA},
	}
}

func (t TLS) upstream() secure.Files {
	return secure.Files{
		Cert: secure.File{Setting: "--upstream-cert", Path: t.UpstreamCert},
		Key:  secure.File{Setting: "--upstream-key", Path: t.UpstreamKey},
		CA:   secure.File{Setting: "--upstream-ca", Path: t.UpstreamCA},
	}
}

// consistent returns which settings of TLS and of the upstream's password need
// others, or exclude them. label names a setting as the operator gave it.
func (c Config) consistent(label func(string) string) error {
	u, _ := url.Parse(c.Upstream) // upstreamURL has
	if u == nil {
		u = new(url.URL)
	}
	_, password := u.User.Password()
	for _, rule := range []struct {
		setting string
		given   bool
		holds   bool
		text    string
	}{
		{"tls-cert", c.TLS.Cert != "", c.TLS.Key != "", "needs --tls-key"},
		{"tls-key", c.TLS.Key != "", c.TLS.Cert != "", "needs --tls-cert"},
		{"tls-client-ca", c.TLS.ClientCA != "", c.TLS.Cert != "", "needs --tls-cert and --tls-key"},
		{"upstream-ca", c.TLS.UpstreamCA != "", u.Scheme == "rediss", "needs an --upstream with rediss://"},
		{"upstream-ca", c.TLS.UpstreamCA != "", !u.Query().Has("skip_verify"), "is of no use with skip_verify in --upstream"},
		{"upstream-cert", c.TLS.UpstreamCert != "", u.Scheme == "rediss", "needs an --upstream with rediss://"},
		{"upstream-cert", c.TLS.UpstreamCert != "", c.TLS.UpstreamKey != "", "needs --upstream-key"},
		{"upstream-key", c.TLS.UpstreamKey != "", c.TLS.UpstreamCert != "", "needs --upstream-cert"},
		{"upstream-password-file", c.UpstreamPasswordFile != "", c.Upstream != "", "needs --upstream"},
		{"upstream-password-file", c.UpstreamPasswordFile != "", !password, "and --upstream both have a password"},
	} {
		if rule.given && !rule.holds {
			return usageError{fmt.Errorf("%s %s", label(rule.setting), rule.text)}
		}
	}
	return nil
}

// certificates are those that a service uses. Each may be nil.
type certificates struct{ listeners, upstream *secure.Source }

// openCertificates reads what the settings name. A usageError says what can't be used.
func openCertificates(t TLS, log *slog.Logger) (c certificates, err error) {
	if t.Cert != "" {
		if c.listeners, err = secure.Open(t.listeners(), log); err != nil {
			return c, usageError{err}
		}
	}
	if t.UpstreamCA != "" || t.UpstreamCert != "" {
		if c.upstream, err = secure.Open(t.upstream(), log); err != nil {
			return c, usageError{err}
		}
	}
	return c, nil
}

// reload reads the files again.
func (c certificates) reload() {
	for _, s := range []*secure.Source{c.listeners, c.upstream} {
		if s != nil {
			s.Reload()
		}
	}
}

// secured returns the listener with TLS, if there is to be any.
func (c certificates) secured(l net.Listener) net.Listener {
	if c.listeners == nil || l == nil {
		return l
	}
	return secure.Listener(l, c.listeners.Server())
}

// client returns the configuration of connections to the upstream, or nil if it is all default.
func (c certificates) client() func() *tls.Config {
	if c.upstream == nil {
		return nil
	}
	return c.upstream.Client
}

func (c certificates) measure(meters *metrics.Metrics) {
	for name, s := range map[string]*secure.Source{"listeners": c.listeners, "upstream": c.upstream} {
		if s == nil || s.Expiry().IsZero() {
			continue
		}
		meters.CertificateExpiry(name, func() int { return int(s.Expiry().Unix()) })
	}
}

// adviseHealthcheck says so if the listeners would not let in the healthcheck, which has no
// certificate but theirs.
func (c certificates) adviseHealthcheck(t TLS, log *slog.Logger) {
	if t.ClientCA == "" {
		return
	}
	if err := c.listeners.Admits(); err != nil {
		log.Info("candado healthcheck can't pass: the certificate of --tls-cert is no client's that --tls-client-ca knows", "error", err)
	}
}

// healthcheckTLS returns how the healthcheck speaks to the listener at --http. It does not ask who
// answers: it tells nothing but that it asks, and a certificate that has just been replaced, or has
// expired, is no reason to call candado dead. If the listener wants to see a certificate, it shows --tls-cert.
func healthcheckTLS(t TLS) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			if err != nil {
				return nil, fmt.Errorf("the listener asks for a certificate, and --tls-cert and --tls-key have none: %w", err)
			}
			return &pair, nil
		},
	}
}
