package validate_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// past is an hour of scrapes, every 30 s, that Prometheus's own engine evaluates
// expressions over. No time passes meanwhile.
type past struct {
	series []storage.Series
	engine *promql.Engine
}

const (
	scrapes  = 121
	interval = 30 * time.Second
)

// now is the moment of the last scrape.
func now() time.Time { return time.Unix(1_800_000_000, 0).Add((scrapes - 1) * interval) }

// turn says what became of a series: its value at each scrape, given what was
// measured; or that it was never there.
type turn struct {
	match *labels.Matcher // on the name, in all instances
	also  []*labels.Matcher
	value func(measured float64, scrape int) float64 // nil: it is not there
}

// remember makes an hour of what was measured once. What no turn matches stays as it
// was. It returns how many series each turn matched.
func remember(t *testing.T, measured model.Vector, turns ...turn) (past, []int) {
	t.Helper()
	p := past{engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 10_000_000, Timeout: patience, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{})})}
	t.Cleanup(func() { p.engine.Close() })
	matched := make([]int, len(turns))
	for _, m := range measured {
		ls := labelsOf(m.Metric)
		value := func(measured float64, _ int) float64 { return measured }
		for i, turn := range turns {
			if turn.matches(ls) {
				matched[i]++
				value = turn.value
			}
		}
		if value == nil {
			continue
		}
		var samples []chunks.Sample
		for n := range scrapes {
			at := now().Add(-time.Duration(scrapes-1-n) * interval)
			samples = append(samples, sample{at.UnixMilli(), value(float64(m.Value), n)})
		}
		p.series = append(p.series, storage.NewListSeries(ls, samples))
	}
	return p, matched
}

func (t turn) matches(ls labels.Labels) bool {
	return !slices.ContainsFunc(append([]*labels.Matcher{t.match}, t.also...), func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
}

func labelsOf(m model.Metric) labels.Labels {
	pairs := map[string]string{}
	for name, value := range m {
		pairs[string(name)] = string(value)
	}
	return labels.FromMap(pairs)
}

// ask evaluates an expression at a moment.
func (p past) ask(t *testing.T, expr string, at time.Time) promql.Vector {
	t.Helper()
	query, err := p.engine.NewInstantQuery(t.Context(), p, nil, expr, at)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer query.Close()
	result := query.Exec(t.Context())
	if result.Err != nil {
		t.Fatalf("%s: %v", expr, result.Err)
	}
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return slices.Clone(vector) // the query's own goes back with Close
}

// Querier makes past a storage.Queryable.
func (p past) Querier(int64, int64) (storage.Querier, error) { return querier{past: p}, nil }

type querier struct {
	storage.Querier // what the engine does not use
	past
}

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, s := range q.series {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels().Get(m.Name)) }) {
			found = append(found, s)
		}
	}
	return &seriesSet{rest: found}
}

func (querier) Close() error { return nil }

type seriesSet struct {
	rest    []storage.Series
	current storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.current, s.rest = s.rest[0], s.rest[1:]
	return true
}
func (s *seriesSet) At() storage.Series              { return s.current }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// sample is one of a series.
type sample struct {
	ms    int64
	value float64
}

func (s sample) T() int64                    { return s.ms }
func (s sample) ST() int64                   { return 0 }
func (s sample) F() float64                  { return s.value }
func (sample) H() *histogram.Histogram       { return nil }
func (sample) FH() *histogram.FloatHistogram { return nil }
func (sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample         { return s }
