package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges is a gauge, or a counter, whose values are asked for at each scrape: one
// function for each value of its label, or a single one if it has no label. A negative
// value is not known, and left out.
type gauges struct {
	desc    *prometheus.Desc
	labeled bool
	kind    prometheus.ValueType

	mu  sync.Mutex
	fns map[string]func() int
}

func newGauges(name, help, label string) *gauges {
	g := &gauges{labeled: label != "", kind: prometheus.GaugeValue, fns: make(map[string]func() int)}
	var names []string
	if g.labeled {
		names = []string{label}
	}
	g.desc = prometheus.NewDesc(name, help, names, nil)
	return g
}

// counting makes it a counter: its values never fall.
func (g *gauges) counting() *gauges {
	g.kind = prometheus.CounterValue
	return g
}

func (g *gauges) set(value string, fn func() int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fns[value] = fn
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	for value, fn := range g.copied() {
		var values []string
		if g.labeled {
			values = []string{value}
		}
		n := fn()
		if n < 0 {
			continue
		}
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, float64(n), values...)
	}
}

// copied returns the functions, for calling without the mutex: they take
// others.
func (g *gauges) copied() map[string]func() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	fns := make(map[string]func() int, len(g.fns))
	for value, fn := range g.fns {
		fns[value] = fn
	}
	return fns
}
