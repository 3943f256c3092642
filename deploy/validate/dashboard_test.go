package validate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// dashboard is what of Grafana's model our dashboard uses. A key that is not here
// fails the test.
type dashboard struct {
	Title, UID, Refresh, Timezone string
	Tags                          []string
	SchemaVersion, Version        int
	Editable                      bool
	Time                          struct{ From, To string }
	Templating                    struct{ List []variable }
	Annotations                   struct{ List []any }
	Panels                        []panel
}

type source struct{ Type, UID string }

type variable struct {
	Name, Label, Type, AllValue string
	Datasource                  *source
	Query                       any
	Refresh, Sort               int
	IncludeAll, Multi           bool
	Current                     map[string]string
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Collapsed                bool
	GridPos                  struct{ H, W, X, Y int }
	Panels                   []any
	Datasource               source
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Min, Max   *float64
			Custom     map[string]any
			Thresholds map[string]any
		}
		Overrides []any
	}
	Targets []struct {
		RefID, Expr, LegendFormat string
		Datasource                source
	}
	Options map[string]any
}

// inGrafana stands for what Grafana puts into an expression.
var inGrafana = strings.NewReplacer("$__rate_interval", "2m", "$job", ".*", "$instance", ".*")

func TestDashboardShowsWhatCandadoMeasures(t *testing.T) {
	text := read(t, "../grafana/dashboard.json")
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	var d dashboard
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	measured := measured(t)
	calm, _ := remember(t, measured)
	ids := map[int]bool{}
	shown := 0
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d, %q: the number is taken, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if p.FieldConfig.Defaults.Unit == "" || p.Description == "" || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: unit %q, description %q, source %q", p.Title, p.FieldConfig.Defaults.Unit, p.Description, p.Datasource.UID)
		}
		for _, target := range p.Targets {
			shown++
			where := fmt.Sprintf("%s %s", p.Title, target.RefID)
			expr := inGrafana.Replace(target.Expr)
			if target.Datasource.UID != "${datasource}" || strings.Contains(expr, "$") {
				t.Errorf("%s: source %q, %s", where, target.Datasource.UID, expr)
			}
			checkSelectors(t, where, expr, measured)
			found := calm.ask(t, expr, now())
			if len(found) == 0 {
				t.Errorf("%s shows nothing: %s", where, expr)
				continue
			}
			for _, m := range labelName.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !found[0].Metric.Has(m[1]) {
					t.Errorf("%s: its legend has %s, its series %v", where, m[1], found[0].Metric)
				}
			}
		}
	}
	if shown < 20 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
		t.Errorf("%d expressions, first variable %+v", shown, d.Templating.List[0])
	}
}
