package validate_test

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// rules returns the alerts, as Prometheus reads them.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse([]byte(read(t, "../prometheus/rules.yaml")), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// scenes are what each alert is for: what became of what was measured.
func scenes() map[string][]turn {
	return map[string][]turn{
		"CandadoAbsent":              {of1("candado_build_info", nil)},
		"CandadoRestarts":            {of1("process_start_time_seconds", grows(1))},
		"CandadoDown":                {of1("up", is(0))},
		"CandadoUpstreamUnavailable": {of1("candado_upstream_errors_total", grows(1))},
		"CandadoUpstreamUnavailable, where nobody asks for anything": {of1("candado_upstream_up", is(0))},
		"CandadoUpstreamUnsafe": {of1("candado_upstream_unsafe", is(1), `reason=eviction`)},
		"CandadoSlow": {
			of1("candado_engine_operation_seconds_bucket", grows(100), `le=+Inf`, `operation=acquire`),
			of1("candado_engine_operation_seconds_bucket", grows(98), `le=0.1`, `operation=acquire`),
		},
		"CandadoQuotaNearlyUsed":              {of1("candado_quota_used", is(9000), `quota=waiting`)},
		"CandadoQuotaRefuses":                 {of1("candado_quota_refused_total", grows(1), `quota=waiting`)},
		"CandadoAuthFailures":                 {of1("candado_auth_failures_total", grows(6))},
		"CandadoAuthFailures, most throttled": {of1("candado_auth_throttled_total", grows(60))},
		"CandadoReloadFailed":                 {of1("candado_auth_reloads_total", grows(1), `result=failed`)},
		"CandadoCertificateExpires":           {of1("candado_tls_certificate_expiry_timestamp_seconds", is(float64(now().Unix()+6*86400)))},
		"CandadoLeasesRunOut": {
			of1("candado_engine_operations_total", grows(10), `operation=heartbeat`, `result=free`),
			of1("candado_engine_operations_total", grows(100), `operation=heartbeat`, `result=ok`),
		},
		"CandadoSessionLeasesLost": {of1("candado_session_leases", is(3)), of1("candado_session_leases_lost_total", step(1))},
		"CandadoErrors":            {of1("candado_engine_operations_total", grows(1), `operation=release`, `result=error`)},
		"CandadoFilesNearlyUsed":   {of1("process_open_fds", is(1e9))},
	}
}

// of1 is a turn of one metric, of its series with these labels.
func of1(name string, value func(float64, int) float64, with ...string) turn {
	t := turn{match: labels.MustNewMatcher(labels.MatchEqual, "__name__", name), value: value}
	for _, pair := range with {
		label, value, _ := strings.Cut(pair, "=")
		t.also = append(t.also, labels.MustNewMatcher(labels.MatchEqual, label, value))
	}
	return t
}

func is(value float64) func(float64, int) float64 {
	return func(float64, int) float64 { return value }
}

// grows is a counter that grows at each scrape.
func grows(by float64) func(float64, int) float64 {
	return func(measured float64, scrape int) float64 { return measured + by*float64(scrape) }
}

// step is a counter that grows once, 8 minutes ago.
func step(by float64) func(float64, int) float64 {
	return func(measured float64, scrape int) float64 {
		if scrape >= scrapes-16 {
			return measured + by
		}
		return measured
	}
}

// TestNobodyIsCalledForWhatEndsByItself: what an idle cluster, a rollout, or a short
// disturbance looks like.
func TestNobodyIsCalledForWhatEndsByItself(t *testing.T) {
	measured := measured(t)
	short := func(during, otherwise float64) func(float64, int) float64 {
		return func(_ float64, scrape int) float64 {
			if scrape >= scrapes-16 && scrape < scrapes-13 {
				return during
			}
			return otherwise
		}
	}
	anew := func(_ float64, scrape int) float64 { return step(3600)(1_000_000, scrape) }
	for name, turns := range map[string][]turn{
		"Redis is restarted, and 50 operations fail": {of1("candado_upstream_errors_total", step(50)), of1("candado_upstream_up", short(0, 1))},
		"candado is restarted":                       {of1("process_start_time_seconds", anew), of1("up", short(0, 1)), of1("candado_engine_operations_total", short(100, 0))},
		"a password is mistyped":                     {of1("candado_auth_failures_total", step(5))},
		"one heartbeat is late":                      {of1("candado_engine_operations_total", step(1), `operation=heartbeat`, `result=free`)},
		"one of many session leases is ended":        {of1("candado_session_leases", is(100)), of1("candado_session_leases_lost_total", step(1))},
		"a quota refuses once":                       {of1("candado_quota_refused_total", step(100), `quota=waiting`)},
	} {
		scene, matched := remember(t, measured, turns...)
		if i := slices.Index(matched, 0); i >= 0 {
			t.Errorf("%s: candado measures nothing like %v %v", name, turns[i].match, turns[i].also)
		}
		for _, rule := range rules(t) {
			since := time.Duration(-1) // for how long it has been so
			for at := now().Add(-20 * time.Minute); !at.After(now()); at = at.Add(interval) {
				switch {
				case len(scene.ask(t, rule.Expr, at)) == 0:
					since = -1
				case since < 0:
					since = 0
				default:
					since += interval
				}
				if since >= time.Duration(rule.For) {
					t.Errorf("%s calls because %s", rule.Alert, name)
					break
				}
			}
		}
	}
}

// labelName is a label in a template of an alert, or in a legend.
var labelName = regexp.MustCompile(`\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}`)

// TestEachAlertFiresForWhatItIsForAlone evaluates the rules, by Prometheus's own engine,
// over what candado measures: as it is, and as it would be in the scene of each alert.
func TestEachAlertFiresForWhatItIsForAlone(t *testing.T) {
	measured := measured(t)
	calm, _ := remember(t, measured)
	all := rules(t)
	for _, rule := range all {
		if found := calm.ask(t, rule.Expr, now()); len(found) > 0 {
			t.Errorf("%s fires though all is well: %v", rule.Alert, found)
		}
		if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s lacks a severity, summary or description", rule.Alert)
		}
		if !strings.Contains(read(t, "../README.md"), rule.Alert) {
			t.Errorf("the README does not tell what to do about %s", rule.Alert)
		}
	}
	stages := scenes()
	called := map[string]bool{}
	for scene, turns := range stages {
		name, _, _ := strings.Cut(scene, ",")
		called[name] = true
		past, matched := remember(t, measured, turns...)
		if i := slices.Index(matched, 0); i >= 0 {
			t.Errorf("%s: candado measures nothing like %v %v", scene, turns[i].match, turns[i].also)
		}
		var fired []string
		for _, rule := range all {
			// For as long as it has to be so, and no more.
			if len(past.ask(t, rule.Expr, now().Add(-time.Duration(rule.For)))) == 0 {
				continue
			}
			found := past.ask(t, rule.Expr, now())
			if len(found) == 0 {
				continue
			}
			fired = append(fired, rule.Alert)
			for _, text := range rule.Annotations {
				for _, m := range labelName.FindAllStringSubmatch(text, -1) {
					if !found[0].Metric.Has(m[1]) {
						t.Errorf("%s speaks of the label %s, and has %v", rule.Alert, m[1], found[0].Metric)
					}
				}
			}
		}
		if !slices.Equal(fired, []string{name}) {
			t.Errorf("the scene of %s fires %q", scene, fired)
		}
	}
	if len(called) != len(all) {
		t.Errorf("%d alerts, scenes of %d", len(all), len(called))
	}
	for _, rule := range all {
		checkSelectors(t, rule.Alert, rule.Expr, measured)
	}
}

// checkSelectors looks for what each selector of an expression asks for: the metric,
// and a series for each value that a label may have in it.
func checkSelectors(t *testing.T, where, expr string, measured model.Vector) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, m := range selector.LabelMatchers {
			values := []string{m.Value}
			if m.Type == labels.MatchRegexp && m.Value != ".*" {
				values = strings.Split(m.Value, "|")
			}
			for _, value := range values {
				if m.Value != ".*" && !slices.ContainsFunc(measured, func(s *model.Sample) bool {
					return string(s.Metric["__name__"]) == selector.Name && string(s.Metric[model.LabelName(m.Name)]) == value
				}) {
					t.Errorf("%s: candado has no %s{%s=%q}", where, selector.Name, m.Name, value)
				}
			}
		}
		return nil
	})
}
