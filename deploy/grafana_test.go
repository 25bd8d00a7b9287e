package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const dashboardFile = "grafana/sekimori.json"

type dashboard struct {
	UID         string
	Panels      []panel // loadDashboard puts the panels of a closed row behind the row
	Annotations struct{ List []annotation }
	Templating  struct {
		List []struct{ Name, Definition string }
	}
}

type annotation struct {
	Name, Expr      string
	Datasource      struct{ UID string }
	UseValueForTime bool
}

type panel struct {
	ID                       int
	Collapsed                bool    // of a row
	Panels                   []panel // of a row that is closed
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ UID string }
	Targets                  []struct {
		Expr, RefID, LegendFormat string
		Exemplar                  bool
	}
	Options     struct{ Content string }
	FieldConfig struct {
		Defaults struct {
			Unit     string
			Decimals *int
			NoValue  string
			Custom   struct{ ThresholdsStyle struct{ Mode string } }

			Thresholds struct{ Steps []struct{ Value *float64 } }
		}
	}
	Transformations []struct {
		Options struct{ IndexByName map[string]int }
	}
}

func loadDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(readFile(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	var all []panel
	for _, p := range d.Panels {
		all = append(append(all, p), p.Panels...)
	}
	d.Panels = all
	return d
}

// variables replaces each variable of the dashboard with a value. With these values the dashboard
// shows all hosts.
var variables = strings.NewReplacer("$job", job, "$instance", ".*", "$__rate_interval", "1m", "$__range", "6h")

// queries returns the PromQL expressions in the dashboard. The keys say where an expression is.
func (d dashboard) queries() map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all[fmt.Sprintf("panel %q, query %s", p.Title, q.RefID)] = variables.Replace(q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			all["annotation "+a.Name] = variables.Replace(a.Expr)
		}
	}
	for _, v := range d.Templating.List {
		if values, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			all["variable "+v.Name] = variables.Replace(values[:strings.LastIndex(values, ",")])
		}
	}
	return all
}

func TestDashboardIsWhole(t *testing.T) {
	d := loadDashboard(t)
	ids, cells := map[int]bool{}, map[[2]int]string{}
	var rows []string
	line := 0 // where the row of the panel is
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: no title, or an id used twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			// A closed row takes one line. Its panels have the places that they get when it is open.
			rows, cells = append(rows, p.Title), map[[2]int]string{}
			if open := len(rows) == 1; p.Collapsed == open || len(p.Panels) == 0 != open {
				t.Errorf("row %q: closed %v, with %d panels; only the first row is to be open", p.Title, p.Collapsed, len(p.Panels))
			}
			line = p.GridPos.Y
		}
		if p.Type != "row" && p.GridPos.Y <= line {
			t.Errorf("panel %q lies above its row", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" || p.Type == "text" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q: wants a description, a query and the chosen data source", p.Title)
		}
	}
	if want := "Is it well? What is it deciding? Who is being spoofed? Do reports go out? Are marks shown? What is remembered?"; strings.Join(rows, " ") != want {
		t.Errorf("rows %q, want %q", rows, want)
	}
}

// notShown has the metrics that need no panel, with the reasons.
var notShown = map[string]string{
	"sekimori_message_duration_seconds": "it is the old name of sekimori_message_wait_seconds",
	"sekimori_probe_messages_total":     "who runs sekimori probe sees its outcome",
	"sekimori_failure_reports_total":    "failure reports are off by default, and the panel about report mails counts them, too",
	"sekimori_dns_upstream_info":        "the description of \"DNS servers\" says that it names the addresses",
}

// checkShown checks that every metric of the daemon is either on the dashboard or in notShown, but
// not both.
func checkShown(t *testing.T, live series) {
	shown := map[string]bool{}
	histogram := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, expr := range loadDashboard(t).queries() {
		for _, s := range parseExpression(expr).selectors {
			shown[histogram.ReplaceAllString(s.name, "")] = true
		}
	}
	for name := range live {
		name = histogram.ReplaceAllString(name, "")
		if strings.HasPrefix(name, "sekimori_") && shown[name] == (notShown[name] != "") {
			t.Errorf("%s: shown %v, needed not to be for %q", name, shown[name], notShown[name])
		}
	}
}

// TestDashboardLegends checks that each label in a legend is among the labels that the query keeps.
func TestDashboardLegends(t *testing.T) {
	used := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range loadDashboard(t).Panels {
		for _, q := range p.Targets {
			for _, m := range used.FindAllStringSubmatch(q.LegendFormat, -1) {
				kept := regexp.MustCompile(`by \([^)]*\b` + m[1] + `\b`).MatchString(q.Expr)
				if !kept && (m[1] != "instance" || strings.Contains(q.Expr, "sum")) {
					t.Errorf("panel %q: {{%s}} is not left by %s", p.Title, m[1], q.Expr)
				}
			}
		}
	}
}

// TestDashboardQueriesAreWellFormed writes the queries as recording rules and lets promtool check
// their syntax.
func TestDashboardQueriesAreWellFormed(t *testing.T) {
	need(t, "promtool", "prometheus")
	type record struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []record
	for where, expr := range loadDashboard(t).queries() {
		rules = append(rules, record{fmt.Sprintf("query:%d", len(rules)), expr + " # " + where})
	}
	file, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "rules.yml"), string(file), 0o644)
	out, _ := run(t, dir, "promtool", "check", "rules", "rules.yml")
	if want := fmt.Sprintf("%d rules found", len(rules)); !strings.Contains(out, want) {
		t.Errorf("want %q in %q", want, out)
	}
}

// TestDashboardTableColumns checks that every column of a table is a label in the result of its
// query. promtool evaluates the query for that: when PromQL combines two metrics, it drops labels
// that the query does not explicitly keep.
func TestDashboardTableColumns(t *testing.T) {
	need(t, "promtool", "prometheus")
	const daemon = `job="sekimori", instance="mx1"`
	series := []string{
		`sekimori_build_info{` + daemon + `, version="1.2.3", revision="abc", goversion="go1"}`,
		`sekimori_enforcement_mode_info{` + daemon + `, mode="enforce"}`,
		`sekimori_config_hash_info{` + daemon + `, hash="f00"}`,
		`sekimori_config_last_reload_successful{` + daemon + `}`,
	}
	values := map[string]string{
		"instance": "mx1", "version": "1.2.3", "revision": "abc", "goversion": "go1", "mode": "enforce", "hash": "f00",
	}
	var input []any
	for _, s := range series {
		input = append(input, map[string]any{"series": s, "values": "1 1"})
	}
	tables := 0
	for _, p := range loadDashboard(t).Panels {
		if p.Type != "table" {
			continue
		}
		tables++
		labels := `job="sekimori"`
		for column := range p.Transformations[0].Options.IndexByName {
			if column != "Value" {
				labels += fmt.Sprintf(", %s=%q", column, values[column])
			}
		}
		promtoolEvaluates(t, input, variables.Replace(p.Targets[0].Expr), "{"+labels+"}", 1)
	}
	if tables == 0 {
		t.Error("no table")
	}
}

// promtoolEvaluates checks that the result of expr is exactly one series, with these labels and this
// value. If labels is "", it checks that there is no series.
func promtoolEvaluates(t *testing.T, input []any, expr, labels string, value float64) {
	t.Helper()
	want := []any{}
	if labels != "" {
		want = append(want, map[string]any{"labels": labels, "value": value})
	}
	file, err := yaml.Marshal(map[string]any{"tests": []any{map[string]any{
		"interval": "1m", "input_series": input,
		"promql_expr_test": []any{map[string]any{"expr": expr, "eval_time": "1m", "exp_samples": want}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "test.yml"), string(file), 0o644)
	run(t, dir, "promtool", "test", "rules", "test.yml")
}

// TestDashboardCountsAreWhole checks that no panel uses Grafana's unit "short" with 0 decimals,
// which would show 1646 messages as "2 K".
func TestDashboardCountsAreWhole(t *testing.T) {
	for _, p := range loadDashboard(t).Panels {
		if d := p.FieldConfig.Defaults; d.Unit == "short" && d.Decimals != nil && *d.Decimals == 0 {
			t.Errorf("panel %q: unit short with 0 decimals; use locale", p.Title)
		}
	}
}

// TestDashboardSaysWhenThereIsNothing checks the stat panels that show a share or a quantile.
// Without messages, their query gives NaN and the panel would be empty, so they must have a text
// for this case.
func TestDashboardSaysWhenThereIsNothing(t *testing.T) {
	checked := 0
	for _, p := range loadDashboard(t).Panels {
		if p.Type != "stat" || !strings.Contains(p.Targets[0].Expr, " / ") && !strings.Contains(p.Targets[0].Expr, "histogram_quantile") {
			continue
		}
		checked++
		if p.FieldConfig.Defaults.NoValue == "" {
			t.Errorf("panel %q: wants a noValue, its query is NaN without traffic", p.Title)
		}
	}
	if checked == 0 {
		t.Error("no share and no quantile found")
	}
}

// drawn has the panels that draw the threshold of an alert.
var drawn = map[string]string{
	"SekimoriTempfail":          "Shares with an alert",
	"SekimoriDNSFailing":        "Shares with an alert",
	"SekimoriUndecided":         "Shares with an alert",
	"SekimoriSlow":              "Wait at the end of message",
	"SekimoriSessionsNearLimit": "How near the limits",
	"SekimoriMemoryNearLimit":   "How near the limits",
	"SekimoriHoldingMany":       "Put on hold within an hour",
	"SekimoriRejectsRising":     "Rejects, and a week before",

	"SekimoriReportsPending":     "The report that waits longest",
	"SekimoriReportSpoolFilling": "How full the spool is",
	"SekimoriReportBounces":      "Bounces of a day",
}

// TestDashboardDrawsThresholds checks that each panel in drawn has a line at the threshold of the
// alert, and that its description names the alert. No panel may have any other line.
func TestDashboardDrawsThresholds(t *testing.T) {
	wanted := map[string]map[string]bool{} // the thresholds of a panel, by its title
	descriptions := map[string]string{}
	for _, p := range loadDashboard(t).Panels {
		descriptions[p.Title] = p.Description
	}
	for _, r := range alerts(t) {
		title := drawn[r.Alert]
		if title == "" {
			continue
		}
		threshold := regexp.MustCompile(`> ([0-9.]+)\s*(?:and\b|$)`).FindStringSubmatch(r.Expr)
		if threshold == nil || !strings.Contains(descriptions[title], r.Alert) {
			t.Fatalf("%s: threshold %q, or panel %q does not name the alert", r.Alert, threshold, title)
		}
		if wanted[title] == nil {
			wanted[title] = map[string]bool{}
		}
		wanted[title][threshold[1]] = true
	}
	for _, p := range loadDashboard(t).Panels {
		lines := map[string]bool{}
		for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
			if p.FieldConfig.Defaults.Custom.ThresholdsStyle.Mode != "" && s.Value != nil {
				lines[strconv.FormatFloat(*s.Value, 'f', -1, 64)] = true
			}
		}
		if !maps.Equal(lines, wanted[p.Title]) {
			t.Errorf("panel %q has lines at %v, want %v", p.Title, lines, wanted[p.Title])
		}
	}
}

// TestDashboardMarks checks that the annotations mark restarts, reloads and refused reloads. A start
// also loads the configuration, which must not be marked as a reload.
func TestDashboardMarks(t *testing.T) {
	need(t, "promtool", "prometheus")
	exprs := map[string]string{}
	for _, a := range loadDashboard(t).Annotations.List {
		exprs[a.Name] = variables.Replace(a.Expr)
		if times := a.Name == "Restarts" || a.Name == "Reloads"; a.Expr != "" && (a.Datasource.UID != "${datasource}" || a.UseValueForTime != times) {
			t.Errorf("annotation %s: %+v", a.Name, a)
		}
	}
	const daemon = `job="sekimori", instance="mx1"`
	for _, tt := range []struct {
		reason, name           string
		started, loaded, whole string
		labels                 string
		value                  float64
	}{
		{"a start", "Restarts", "1000.5", "1001", "1", "{" + daemon + "}", 1000500},
		{"a start", "Reloads", "1000.5", "1001", "1", "", 0},
		{"a reload", "Reloads", "1000.5", "1500", "1", "{" + daemon + "}", 1500000},
		{"a good configuration", "Refused reloads", "1000.5", "1500", "1", "{" + daemon + "}", 0},
		{"a refused reload", "Refused reloads", "1000.5", "1500", "0", "{" + daemon + "}", 1},
	} {
		promtoolEvaluates(t, []any{
			map[string]any{"series": "process_start_time_seconds{" + daemon + "}", "values": tt.started + "x1"},
			map[string]any{"series": "sekimori_config_last_reload_success_timestamp_seconds{" + daemon + "}", "values": tt.loaded + "x1"},
			map[string]any{"series": "sekimori_config_last_reload_successful{" + daemon + "}", "values": tt.whole + "x1"},
		}, exprs[tt.name], tt.labels, tt.value)
	}
}

// TestDashboardShowsExemplars checks that the panel of the wait asks for exemplars, once and not with
// each of its queries.
func TestDashboardShowsExemplars(t *testing.T) {
	asking := 0
	for _, p := range loadDashboard(t).Panels {
		for _, q := range p.Targets {
			if q.Exemplar {
				asking++
				if !strings.Contains(q.Expr, "sekimori_message_wait_seconds_bucket") {
					t.Errorf("panel %q asks for exemplars of %s", p.Title, q.Expr)
				}
			}
		}
	}
	if asking != 1 {
		t.Errorf("%d queries ask for exemplars, want 1", asking)
	}
}
