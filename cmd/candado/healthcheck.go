package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// healthcheckTimeout bounds the whole question. It is above the time that
// /readyz takes to find an upstream silent, so that the answer says so.
const healthcheckTimeout = 5 * time.Second

// healthcheck asks the candado at --http whether it is ready, and returns nil
// if it is, otherwise why not.
func (p program) healthcheck(cmd *cobra.Command, _ []string) error {
	config, err := load(healthcheckSettings(), cmd.Flags(), p.lookupEnv)
	if err != nil {
		return err
	}
	if config.HTTP == "" {
		return errors.New("no health check: --http is empty, so there is nothing to ask")
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthcheckTimeout)
	defer cancel()
	var secure *tls.Config
	if config.TLS.Cert != "" {
		secure = healthcheckTLS(config.TLS)
	}
	return askReady(ctx, dialable(config.HTTP), secure)
}

// askReady returns nil if GET /readyz at addr answers 200 before ctx ends. It asks
// with TLS, if secure says how.
func askReady(ctx context.Context, addr string, secure *tls.Config) error {
	scheme := "http"
	if secure != nil {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", addr, err)
	}
	// A transport of its own: no proxy from the environment between the two,
	// and no connection that outlives the answer.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking whether candado is ready: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // the status says enough without it
	return fmt.Errorf("not ready: %s answered %s: %s", addr, resp.Status, body)
}

// dialable returns where to reach a listener of that address from its own
// machine: one that listens on every interface is asked on the loopback.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip := net.ParseIP(host)
	switch {
	case host == "" || ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6unspecified):
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
