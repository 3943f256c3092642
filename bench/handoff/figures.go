// Package handoff is the section that measures one hot lock: how fast, how
// evenly and at what cost it goes from one holder to the next, by candado, by
// other libraries on the same Redis, and by a mutex.
package handoff

import (
	"errors"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/stats"
)

// Figure and Figures are those of all sections.
type (
	Figure  = cells.Figure
	Figures = cells.Figures
)

const (
	rate           Figure = "acquisitions_per_s"
	ofMutex        Figure = "rate_to_mutex"
	ofRedsync      Figure = "rate_to_redsync"
	handoffMedian  Figure = "handoff_p50_us"
	handoffP99     Figure = "handoff_p99_us"
	handoffLongest Figure = "handoff_max_us"
	changeMedian   Figure = "handoff_to_another_p50_us"
	changeP99      Figure = "handoff_to_another_p99_us"
	waitMedian     Figure = "wait_p50_us"
	waitP99        Figure = "wait_p99_us"
	waitLongest    Figure = "wait_max_us"              // of those that had not ended, what had passed
	unfairness     Figure = "wait_max_to_p50"          // longest wait over median wait
	takenAgain     Figure = "taken_again_share"        // acquisitions by the one who had just released
	without        Figure = "workers_without"          // workers that never got the lock in the time measured
	shorter        Figure = "redsync_wait_max_to_this" // how many times longer redsync's longest wait was
	commands       Figure = "redis_commands_per_acquisition"
	inside         Figure = "redis_commands_in_scripts_per_acquisition"
	scripts        Figure = "redis_scripts_per_acquisition"
	beside         Figure = "redis_commands_beside_scripts_per_acquisition"
	cpuCandado     Figure = "cpu_candado_s_per_1000"
	cpuRedis       Figure = "cpu_redis_s_per_1000"
	cpuGenerator   Figure = "cpu_generator_s_per_1000"
)

var errNone = errors.New("nobody got the lock in the time measured")

// figures works out what one measurement says.
func (m measurement) figures(e *entrant) (Figures, error) {
	var waits, handoffs, changes stats.Histogram
	none := 0
	for _, w := range m.runners {
		waits.Merge(&w.waits)
		handoffs.Merge(&w.again)
		changes.Merge(&w.changes)
		if w.waits.Count() == 0 {
			none++
		}
	}
	if waits.Count() == 0 {
		return nil, errNone
	}
	again, n := handoffs.Count(), float64(waits.Count())
	handoffs.Merge(&changes)
	longest := max(waits.Max(), m.unfinished)
	f := Figures{
		rate:           n / m.length.Seconds(),
		handoffMedian:  micros(handoffs.Quantile(0.5)),
		handoffP99:     micros(handoffs.Quantile(0.99)),
		handoffLongest: micros(handoffs.Max()),
		waitMedian:     micros(waits.Quantile(0.5)),
		waitP99:        micros(waits.Quantile(0.99)),
		waitLongest:    micros(longest),
		takenAgain:     float64(again) / n,
		without:        float64(none),
		cpuGenerator:   (m.after.generator - m.before.generator).Seconds() / n * 1000,
	}
	if changes.Count() > 0 {
		f[changeMedian], f[changeP99] = micros(changes.Quantile(0.5)), micros(changes.Quantile(0.99))
	}
	f.Set(unfairness, stats.Ratio(micros(longest), f[waitMedian]))
	if e.redis != nil {
		calls := m.after.calls.Since(m.before.calls)
		f[commands] = float64(calls.Total()) / n
		f[scripts] = float64(calls.Scripts()) / n
		f[beside] = min(float64(calls[e.Beside])/n, 1)
		f[inside] = f[commands] - f[scripts] - f[beside]
		f[cpuRedis] = (m.after.redis - m.before.redis).Seconds() / n * 1000
	}
	if len(e.candados) > 0 {
		f[cpuCandado] = (m.after.candado - m.before.candado).Seconds() / n * 1000
	}
	return f, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
