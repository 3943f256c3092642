package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/goodjobtech/candado/locks"
)

// quotaMetrics are the metrics of quotas. Their label takes its values from locks.Quotas.
type quotaMetrics struct {
	limit   *prometheus.GaugeVec
	used    *gauges
	refused *prometheus.CounterVec
	byQuota []prometheus.Counter // of refused, by the quota
}

func newQuotaMetrics() *quotaMetrics {
	q := &quotaMetrics{
		limit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "candado_quota_limit",
			Help: "What a quota allows: a number, bytes or seconds, as its name says. Nothing if there is no limit.",
		}, []string{"quota"}),
		used: newGauges("candado_quota_used", "How much of a quota is in use, where that is a number at a time.", "quota"),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "candado_quota_refused_total",
			Help: "Connections, requests and waits for a client that were ended because a quota was reached.",
		}, []string{"quota"}),
	}
	for _, one := range locks.Quotas() {
		q.byQuota = append(q.byQuota, q.refused.WithLabelValues(one.String()))
	}
	return q
}

// Quota sets what a quota allows: in seconds if it is about time; 0: there is no limit.
// Used, if it is not nil, is asked at each scrape how much of it is in use. A later call
// for the same quota takes its place.
func (m *Metrics) Quota(q locks.Quota, limit float64, used func() int) {
	if limit > 0 {
		m.quotas.limit.WithLabelValues(q.String()).Set(limit)
	}
	if used != nil {
		m.quotas.used.set(q.String(), used)
	}
}

// Exceeded counts something that was refused because of a quota.
func (m *Metrics) Exceeded(q locks.Quota) { m.quotas.byQuota[q].Inc() }
