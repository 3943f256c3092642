// Package metrics keeps what candado counts and measures, in a registry of its
// own, and writes it as Prometheus text. Names are candado_<area>_<what>; every
// label takes its values from a closed set, so that no client can make series.
package metrics

import (
	"fmt"
	"io"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// other is the label value of everything outside a closed set.
const other = "other"

// Build says what is running, as candado_build_info reports it.
type Build struct {
	Version   string // candado's
	Engine    string // "embedded" or "upstream"
	GoVersion string // default: that of the binary
}

// Metrics is one registry and its metrics. Make one with New. It is safe for
// concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	operations *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	upstream   prometheus.Counter
	refused    *prometheus.CounterVec

	authFailed, authThrottled, usersRead *prometheus.CounterVec

	connections *gauges
	held        *gauges
	unsafe      *gauges
	up          *gauges
	leases      *gauges
	lost        *gauges
	quotas      *quotaMetrics
	expiry      *gauges
}

// New returns metrics that are all zero, besides those of the Go runtime and of
// the process.
func New(b Build) *Metrics {
	if b.GoVersion == "" {
		b.GoVersion = runtime.Version()
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "candado_engine_operations_total",
			Help: "Operations that the engine was asked for, by what they ended in.",
		}, []string{"operation", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "candado_engine_operation_seconds",
			Help:    "Time that the engine took for an operation.",
			Buckets: latencies(),
		}, []string{"operation"}),
		upstream: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "candado_upstream_errors_total",
			Help: "Operations whose outcome is unknown, because the upstream did not answer or could not act.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "candado_listener_refusals_total",
			Help: "Replies that were errors, by listener and error code or HTTP status; TLS: handshakes that failed.",
		}, []string{"listener", "code"}),
		authFailed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "candado_auth_failures_total",
			Help: "Names and passwords that were wrong.",
		}, []string{"protocol"}),
		authThrottled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "candado_auth_throttled_total",
			Help: "Names and passwords that were not looked at, because too many wrong ones had come from the same address.",
		}, []string{"protocol"}),
		usersRead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "candado_auth_reloads_total",
			Help: "How often users and passwords were read again, by result: ok, or failed (those before are in force).",
		}, []string{"result"}),
		connections: newGauges("candado_listener_connections", "Client connections that are open.", "listener"),
		held:        newGauges("candado_engine_held_locks", "Locks that are held.", ""),
		unsafe:      newGauges("candado_upstream_unsafe", "Whether the upstream is unsafe for locks, by reason: 1 or 0, and nothing if that is not known.", "reason"),
		up:          newGauges("candado_upstream_up", "Whether the upstream answered the latest request, 1 or 0; one is sent each minute at least.", ""),
		leases:      newGauges("candado_session_leases", "Leases that are kept for connections (SESSION).", ""),
		lost:        newGauges("candado_session_leases_lost_total", "Leases of connections (SESSION) that could not be renewed in time or were ended by others, and those released because their connection was closed over such a loss.", "").counting(),
		quotas:      newQuotaMetrics(),
		expiry:      newGauges("candado_tls_certificate_expiry_timestamp_seconds", "When a certificate in use expires, as a Unix time, by what it is for.", "certificate"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "candado_build_info",
		Help:        "What is running; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "engine": b.Engine, "goversion": b.GoVersion},
	})
	build.Set(1)
	// The collectors are all different and the registry is new: nothing that a
	// caller does can make this registration fail.
	m.registry.MustRegister(m.operations, m.seconds, m.upstream, m.refused, m.connections, m.held, m.unsafe, m.up, m.leases, m.lost, m.expiry, build,
		m.authFailed, m.authThrottled, m.usersRead, m.quotas.limit, m.quotas.used, m.quotas.refused,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// latencies returns bounds in seconds, from an embedded engine's fastest to an
// upstream's slowest.
func latencies() []float64 {
	return []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, .1, .25, .5, 1, 2.5, 5}
}

// Connections has fn asked, at each scrape, how many connections a listener
// ("resp" or "http") has. A later call for the same listener takes its place.
func (m *Metrics) Connections(listener string, fn func() int) {
	m.connections.set(knownListener(listener), fn)
}

// Held has fn asked, at each scrape, how many locks are held. A later call
// takes its place. Without any, there is no such metric.
func (m *Metrics) Held(fn func() int) { m.held.set("", fn) }

// Unsafe has fn asked, at each scrape, whether the upstream is unsafe for that
// reason: 1 or 0; negative if it is not known. The reasons have to be few. Without
// any, there is no such metric.
func (m *Metrics) Unsafe(reason string, fn func() int) { m.unsafe.set(reason, fn) }

// Up has fn asked, at each scrape, whether the upstream answers: 1 or 0. Without any,
// there is no such metric.
func (m *Metrics) Up(fn func() int) { m.up.set("", fn) }

// SessionLeases has the functions asked, at each scrape, how many leases are kept for
// connections, and how many such leases were lost so far.
// Without any, there are no such metrics.
func (m *Metrics) SessionLeases(kept, lost func() int) {
	m.leases.set("", kept)
	m.lost.set("", lost)
}

// CertificateExpiry has fn asked, at each scrape, when the certificate for that
// ("listeners" or "upstream") expires, as a Unix time. Without any, there is no
// such metric.
func (m *Metrics) CertificateExpiry(certificate string, fn func() int) {
	m.expiry.set(knownCertificate(certificate), fn)
}

// Refused counts a reply that is an error: its code is an HTTP status or the
// first word of a RESP error, or TLS for a handshake that failed. What is not known counts as "other".
func (m *Metrics) Refused(listener, code string) {
	m.refused.WithLabelValues(knownListener(listener), knownCode(code)).Inc()
}

// AuthFailed counts a name and password that were refused on a listener ("resp" or
// "http"): they were wrong, or, throttled, not looked at.
func (m *Metrics) AuthFailed(listener string, throttled bool) {
	if throttled {
		m.authThrottled.WithLabelValues(knownListener(listener)).Inc()
		return
	}
	m.authFailed.WithLabelValues(knownListener(listener)).Inc()
}

// Access makes the metrics of authentication appear, all zero: for a candado that
// authenticates. listeners are "resp" and "http", or one of them.
func (m *Metrics) Access(listeners ...string) {
	for _, l := range listeners {
		m.authFailed.WithLabelValues(knownListener(l))
		m.authThrottled.WithLabelValues(knownListener(l))
	}
	m.usersRead.WithLabelValues("ok")
	m.usersRead.WithLabelValues("failed")
}

// UsersRead counts that users and passwords were read again, or could not be.
func (m *Metrics) UsersRead(ok bool) {
	result := "failed"
	if ok {
		result = "ok"
	}
	m.usersRead.WithLabelValues(result).Inc()
}

// WriteText writes all metrics in Prometheus' text format, version 0.0.4. It
// returns the error of a collector or of w.
func (m *Metrics) WriteText(w io.Writer) error {
	families, err := m.registry.Gather()
	if err != nil {
		return fmt.Errorf("gathering metrics: %w", err)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
			return fmt.Errorf("writing metric %s: %w", family.GetName(), err)
		}
	}
	return nil
}

func knownListener(listener string) string {
	switch listener {
	case "resp", "http":
		return listener
	}
	return other
}

func knownCertificate(certificate string) string {
	switch certificate {
	case "listeners", "upstream":
		return certificate
	}
	return other
}

func knownCode(code string) string {
	switch code {
	case "400", "401", "403", "404", "405", "408", "409", "413", "414", "429", "431", "500", "503",
		"TLS", "ERR", "NOTOWNER", "NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO", "UNAVAILABLE", "BUSY", "SHUTDOWN":
		return code
	}
	return other
}
