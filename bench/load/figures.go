package load

import (
	"fmt"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/server"
)

// The figures of a measurement. Times are in microseconds; an operation is one
// reply.
const (
	Rate         cells.Figure = "operations_per_s"
	P50          cells.Figure = "latency_p50_us"
	P90          cells.Figure = "latency_p90_us"
	P99          cells.Figure = "latency_p99_us"
	P999         cells.Figure = "latency_p99.9_us"
	Longest      cells.Figure = "latency_max_us"
	CPUService   cells.Figure = "cpu_service_us_per_operation"
	CPURedis     cells.Figure = "cpu_redis_us_per_operation"
	CPUGenerator cells.Figure = "cpu_generator_us_per_operation"
)

// Percentiles are the figures of latency, and PercentileNames what they are
// called below a picture.
var (
	Percentiles     = []cells.Figure{P50, P90, P99, P999, Longest}
	PercentileNames = []string{"p50", "p90", "p99", "p99.9", "max"}
)

// Figures works out what a measurement says of a contender that has these
// servers.
func (r *Result) Figures(of server.Team) cells.Figures {
	n := float64(r.Operations)
	f := cells.Figures{
		Rate:         n / r.Length.Seconds(),
		P50:          micros(r.Latency.Quantile(0.5)),
		P90:          micros(r.Latency.Quantile(0.9)),
		P99:          micros(r.Latency.Quantile(0.99)),
		P999:         micros(r.Latency.Quantile(0.999)),
		Longest:      micros(r.Latency.Max()),
		CPUGenerator: micros(r.Used.Generator) / n,
	}
	if of.Service != nil {
		f[CPUService] = micros(r.Used.Service) / n
	}
	if of.Redis != nil {
		f[CPURedis] = micros(r.Used.Redis) / n
	}
	return f
}

// Columns returns the columns that every such measurement has: latency and
// processor time.
func Columns() []cells.Column {
	columns := make([]cells.Column, 0, len(Percentiles)+3)
	for i, name := range Percentiles {
		columns = append(columns, cells.Times(PercentileNames[i], name))
	}
	return append(columns,
		cells.Median("CPU µs/op service", CPUService, "%.1f"),
		cells.Median("Redis", CPURedis, "%.1f"),
		cells.Median("generator", CPUGenerator, "%.1f"))
}

// Outcome says in a few words what a measurement has brought.
func Outcome(f cells.Figures) string {
	return fmt.Sprintf("%.1f k/s, p99 %s", f[Rate]/1000, report.Micros(f[P99]))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
