package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/goodjobtech/candado/httpapi"
	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/access"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/quota"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/proxy"
)

// closeTime is what Close keeps of the drain time-out for closing an engine with an
// upstream.
const closeTime = 3 * time.Second

// Main is the running service: an engine and the front ends before it. Set the
// exported fields, Open it, then let it Run, or Close it yourself.
type Main struct {
	Config  Config       // required, as load returns it
	Version string       // default: empty
	Log     *slog.Logger // default: nothing is logged

	// Notify is told when the service is ready, and when it begins to stop.
	// Default: nobody is told.
	Notify func(state string)

	// Reload brings the wish that files are read again. Default: they are not.
	Reload <-chan os.Signal

	certs   certificates
	engine  locks.Engine
	guard   *access.Guard // nil: everybody may do everything
	meters  *metrics.Metrics
	fronts  []front
	failed  chan error // brings the error of a front end that ended by itself
	serving sync.WaitGroup
}

// front is one front end on its listener.
type front struct {
	name     string // of the protocol, as logs and metrics call it
	listener net.Listener
	server   server
}

// server is what the front ends have in common.
type server interface {
	// Serve answers connections of the listener until Shutdown.
	Serve(net.Listener) error

	// Shutdown lets running commands finish, and returns when they have or ctx
	// has ended.
	Shutdown(ctx context.Context) error

	Connections() int
	Sending() int // bytes of large replies that clients have yet to take
}

// Open binds every listener and starts serving. If one can't be bound, it gives
// back what it had opened and returns why; a usageError if the upstream's URL, prefix or password,
// a certificate, or who may come in, is at fault. An upstream that is down is no error; one that is unsafe
// is, if the configuration is strict.
func (m *Main) Open() error {
	if m.Log == nil {
		m.Log = slog.New(slog.DiscardHandler)
	}
	users, err := m.Config.users(m.Log)
	if err != nil {
		return usageError{err}
	}
	if users != nil {
		m.guard = access.NewGuard(users, m.Log)
	}
	if m.certs, err = openCertificates(m.Config.TLS, m.Log); err != nil {
		return err
	}
	engine, err := m.openEngine()
	if err != nil {
		return err
	}
	resp, err := listen("--listen", m.Config.Listen)
	if err != nil {
		return errors.Join(err, engine.Close())
	}
	var web net.Listener
	if m.Config.HTTP != "" {
		if web, err = listen("--http", m.Config.HTTP); err != nil {
			return errors.Join(err, resp.Close(), engine.Close())
		}
	}
	if err := m.Config.checkExposure(resp, web); err != nil {
		if web != nil {
			err = errors.Join(err, web.Close())
		}
		return errors.Join(err, resp.Close(), engine.Close())
	}
	m.assemble(engine, resp, web)
	m.start()
	return nil
}

func (m *Main) openEngine() (locks.Engine, error) {
	if m.Config.Upstream == "" {
		return memory.New(memory.Options{MaxWaiters: m.Config.MaxWaiters}), nil
	}
	password, err := upstreamPassword(m.Config.UpstreamPasswordFile, m.Log)
	if err != nil {
		return nil, usageError{fmt.Errorf("--upstream-password-file: %w", err)}
	}
	engine, err := upstream.Open(upstream.Options{
		URL:        m.Config.Upstream,
		TLS:        m.certs.client(),
		Password:   password,
		Prefix:     m.Config.Prefix,
		Timeout:    m.Config.UpstreamTimeout,
		MaxWaiters: m.Config.MaxWaiters,
		Batch:      m.Config.UpstreamBatch,
		Strict:     m.Config.StrictUpstream,
		Log:        m.Log,
	})
	switch {
	case errors.As(err, new(*locks.UnsafeError)):
		return nil, fmt.Errorf("--strict-upstream: %w", err)
	case err != nil:
		return nil, usageError{fmt.Errorf("--upstream or --prefix: %w", err)}
	}
	return engine, nil
}

// assemble puts the front ends before the engine. web is nil if there is to be
// no HTTP.
func (m *Main) assemble(engine locks.Engine, resp, web net.Listener) {
	name := m.Config.engineName()
	meters := metrics.New(metrics.Build{Version: m.Version, Engine: name})
	if holding, ok := engine.(interface{ Held() int }); ok {
		meters.Held(holding.Held)
	}
	if remote, ok := engine.(*upstream.Engine); ok {
		measureUpstream(meters, remote)
	}
	waiting := quota.NewWaiting(engine, locks.QuotaWaiting, m.Config.Quotas.Waiting)
	m.engine, m.meters = meters.Instrument(waiting), meters
	redis := proxy.New(proxy.Options{
		Engine:     m.engine,
		Limits:     m.Config.Limits,
		Version:    m.Version,
		EngineName: name,
		Log:        m.Log,
		Refused:    func(code string) { meters.Refused("resp", code) },
		Access:     m.guard,
		AuthFailed: func(throttled bool) { meters.AuthFailed("resp", throttled) },
		Exceeded:   meters.Exceeded,

		MaxConnections:   m.Config.respConnections(openFiles()),
		MaxSessionLeases: m.Config.Quotas.SessionLeases,
		MaxCommandBytes:  m.Config.Quotas.CommandBytes,
		CommandTimeout:   m.Config.Quotas.RequestTimeout,
		IdleTimeout:      m.Config.Quotas.IdleTimeout,
		WriteTimeout:     m.Config.Quotas.WriteTimeout,
	})
	m.certs.measure(meters)
	meters.SessionLeases(redis.SessionLeases, redis.LostLeases)
	webWaiting := quota.NewWaiting(redis.Engine(), locks.QuotaHTTPWaiting, m.Config.Quotas.HTTPWaiting)
	m.fronts = []front{{"resp", m.certs.secured(resp), redis}}
	if web != nil {
		m.fronts = append(m.fronts, front{"http", m.certs.secured(web), httpapi.New(httpapi.Options{
			Engine:  webWaiting,
			Limits:  m.Config.Limits,
			Metrics: meters,
			Log:     m.Log,

			Access:        m.guard,
			PublicMetrics: m.Config.PublicMetrics,

			MaxConns:       m.Config.Quotas.Connections,
			MaxHeaderBytes: m.Config.Quotas.HeaderBytes,
			ReadTimeout:    m.Config.Quotas.RequestTimeout,
			IdleTimeout:    m.Config.Quotas.HTTPIdleTimeout,
			WriteTimeout:   m.Config.Quotas.WriteTimeout,
		})})
	}
	for _, f := range m.fronts {
		meters.Connections(f.name, f.server.Connections)
		if m.guard != nil {
			meters.Access(f.name)
		}
	}
	m.measureQuotas(meters, engine, waiting, webWaiting)
}

func measureUpstream(meters *metrics.Metrics, e *upstream.Engine) {
	meters.Up(func() int {
		if e.Answers() {
			return 1
		}
		return 0
	})
	for _, r := range upstream.Reasons() {
		meters.Unsafe(r.String(), func() int {
			switch e.Finding(r).State {
			case upstream.Unsafe:
				return 1
			case upstream.Safe:
				return 0
			}
			return -1
		})
	}
}

func (m *Main) start() {
	m.warnOfFewFiles(openFiles())
	m.failed = make(chan error, len(m.fronts))
	for _, f := range m.fronts {
		m.Log.Info("listening", "protocol", f.name, "addr", f.listener.Addr().String(),
			"engine", m.Config.engineName(), "version", m.Version, "tls", m.Config.TLS.mode())
		m.serving.Go(func() {
			err := f.server.Serve(f.listener)
			if err == nil {
				err = errors.New("it stopped by itself") // a failure too, if Close has not asked for it
			}
			m.failed <- fmt.Errorf("serving %s on %s: %w", f.name, f.listener.Addr(), err)
		})
	}
	m.certs.adviseHealthcheck(m.Config.TLS, m.Log)
	if m.Config.Upstream != "" {
		m.Log.Info("keeping locks upstream", "upstream", m.Config.upstreamPlace(), "prefix", m.Config.Prefix)
	}
}

// Run waits until stop brings a signal or a front end fails, then closes the
// service. It returns nil after a signal if all went well. A second signal ends
// the wait for running commands: then it returns at once, with an error, and
// the process is expected to end.
func (m *Main) Run(stop <-chan os.Signal) error {
	defer m.reloadOn(m.Reload)()
	m.tell(notifyReady)
	var failure error
	select {
	case s := <-stop:
		m.Log.Info("stopping", "signal", s.String(), "drain_timeout", m.Config.DrainTimeout.String())
	case failure = <-m.failed:
		m.Log.Info("stopping", "failed", failure.Error())
	}
	m.tell(notifyStopping)
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	select {
	case err := <-closed:
		return errors.Join(failure, err)
	case s := <-stop:
		return errors.Join(failure, fmt.Errorf("signal %v ended the wait for running commands", s))
	}
}

func (m *Main) tell(state string) {
	if m.Notify != nil {
		m.Notify(state)
	}
}

// Close stops accepting, lets running commands finish for up to the drain
// timeout, and then closes the engine, in this order: a running command still
// needs its engine. It does each step though the one before failed, and returns
// their errors joined.
func (m *Main) Close() error {
	drain := m.Config.DrainTimeout
	if m.Config.Upstream != "" {
		drain -= min(drain/3, closeTime) // one that does not answer keeps the engine from closing at once
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	began := time.Now()

	errs := make([]error, len(m.fronts), len(m.fronts)+1)
	var draining sync.WaitGroup
	for i, f := range m.fronts {
		draining.Go(func() {
			if err := f.server.Shutdown(ctx); err != nil {
				errs[i] = fmt.Errorf("draining %s: %w", f.name, err)
			}
		})
	}
	draining.Wait()
	m.serving.Wait()
	if err := m.engine.Close(); err != nil {
		errs = append(errs, fmt.Errorf("closing the engine: %w", err))
	}
	if m.guard != nil {
		m.guard.Flush()
	}
	m.Log.Info("stopped", "after", time.Since(began).Round(time.Millisecond).String())
	return errors.Join(errs...)
}

// Addr returns the address that a protocol, "resp" or "http", is served on, or
// empty if it is not.
func (m *Main) Addr(protocol string) string {
	for _, f := range m.fronts {
		if f.name == protocol {
			return f.listener.Addr().String()
		}
	}
	return ""
}
