package deploy

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const dashboardFile = "grafana/sekimori.json"

type dashboard struct {
	UID        string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ UID string }
	Targets                  []struct{ Expr, RefID, LegendFormat string }
	Options                  struct{ Content string }
	FieldConfig              struct {
		Defaults struct {
			Unit     string
			Decimals *int
			NoValue  string
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
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: no title, or an id used twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		switch p.Type {
		case "row":
			rows = append(rows, p.Title)
			continue
		case "text":
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q: wants a description, a query and the chosen data source", p.Title)
		}
	}
	if want := "Is it well? What is it deciding? Who is being spoofed?"; strings.Join(rows, " ") != want {
		t.Errorf("rows %q, want %q", rows, want)
	}
}

// notShown has the metrics that need no panel, with the reasons.
var notShown = map[string]string{
	"sekimori_config_last_reload_success_timestamp_seconds": "whether the configuration is the one on disk says sekimori_config_last_reload_successful",
	"sekimori_messages_held_total":                          "the alert SekimoriHoldingMany watches it, and the panels of the verdicts show what is quarantined",
	"sekimori_probe_messages_total":                         "who runs sekimori probe sees its outcome",
	"sekimori_dns_upstream_info":                            "the description of \"DNS servers\" says that it names the addresses",
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
		promtoolEvaluates(t, input, variables.Replace(p.Targets[0].Expr), "{"+labels+"}")
	}
	if tables == 0 {
		t.Error("no table")
	}
}

// promtoolEvaluates checks that the result of expr is exactly one series, with these labels and the
// value 1.
func promtoolEvaluates(t *testing.T, input []any, expr, labels string) {
	t.Helper()
	file, err := yaml.Marshal(map[string]any{"tests": []any{map[string]any{
		"interval": "1m", "input_series": input,
		"promql_expr_test": []any{map[string]any{
			"expr": expr, "eval_time": "1m", "exp_samples": []any{map[string]any{"labels": labels, "value": 1}},
		}},
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
