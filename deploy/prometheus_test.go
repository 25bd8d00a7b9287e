package deploy

import (
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sekimori/internal/config"
)

// job is the name of the scrape job in prometheus.yml. The rules and the dashboard use this name.
const job = "sekimori"

var ruleTests = []string{"sekimori.rules.test.yml", "sekimori.rules.week.test.yml"}

type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(readFile(t, "prometheus/sekimori.rules.yml")), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

func TestPromtool(t *testing.T) {
	need(t, "promtool", "prometheus")
	run(t, "prometheus", "promtool", "check", "config", "prometheus.yml") // this command also checks the rule files
	run(t, "prometheus", "promtool", append([]string{"test", "rules", "sekimori.monthly.test.yml"}, ruleTests...)...)
}

func TestEveryAlertIsTested(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, name := range ruleTests {
		var file struct {
			Tests []struct {
				Cases []struct {
					Alert string `yaml:"alertname"`
					Fires []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal([]byte(readFile(t, "prometheus/"+name)), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			for _, c := range test.Cases {
				fires[c.Alert] = fires[c.Alert] || len(c.Fires) > 0
				silent[c.Alert] = silent[c.Alert] || len(c.Fires) == 0
			}
		}
	}
	for _, r := range alerts(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s: tested firing %v, silent %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a severity, a summary or what to do", r.Alert)
		}
	}
}

// handbook is the place of the handbook in the runbook_url of the alerts. The packages install it
// there.
const handbook = "file:///usr/share/doc/sekimori/"

// TestRunbooks checks that the runbook_url of each alert leads to a heading of a page in docs that
// has the alert's name.
func TestRunbooks(t *testing.T) {
	if !strings.Contains(readFile(t, "packages/nfpm.yaml"), "dst: "+strings.TrimPrefix(handbook, "file://")+"}") {
		t.Errorf("the packages do not install the handbook in %s", handbook)
	}
	for _, r := range alerts(t) {
		place, found := strings.CutPrefix(r.Annotations["runbook_url"], handbook)
		page, anchor, _ := strings.Cut(place, "#")
		if !found || !isFile("docs/"+page) || !anchors(readFile(t, "docs/"+page))[anchor] || anchor != strings.ToLower(r.Alert) {
			t.Errorf("%s: the runbook_url %q leads to no heading", r.Alert, r.Annotations["runbook_url"])
		}
	}
}

// TestEveryAlertIsDocumented checks the section "Alerts" of docs/operate.md. For every alert it
// must say when the alert fires and what to do. It must not have alerts that do not exist.
func TestEveryAlertIsDocumented(t *testing.T) {
	_, section, _ := strings.Cut(readFile(t, "docs/operate.md"), "\n## Alerts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	parts := map[string][2]string{} // when the alert fires, and what to do, by the name of the alert
	for _, part := range strings.Split(section, "\n### ")[1:] {
		name, text, _ := strings.Cut(part, "\n\n")
		when, what, _ := strings.Cut(text, "\n\n")
		parts[name] = [2]string{when, what}
	}
	for _, r := range alerts(t) {
		if part := parts[r.Alert]; !strings.HasPrefix(part[0], "It fires when ") || len(part[1]) < 40 {
			t.Errorf("docs/operate.md does not say of %s when it fires and what to do: %q", r.Alert, part)
		}
		delete(parts, r.Alert)
	}
	if len(parts) > 0 {
		t.Errorf("docs/operate.md explains alerts that do not exist: %v", parts)
	}
	for _, name := range regexp.MustCompile(`sekimori_\w+`).FindAllString(section, -1) {
		if !strings.Contains(readFile(t, "docs/metrics.md"), "`"+name) {
			t.Errorf("docs/operate.md sends people to %s, which there is not", name)
		}
	}
}

// TestPrometheusAgreesWithDaemon checks that prometheus.yml has the job name and the default
// address of the daemon's admin server.
func TestPrometheusAgreesWithDaemon(t *testing.T) {
	scrape := readFile(t, "prometheus/prometheus.yml")
	for _, want := range []string{"job_name: " + job + "\n", `["` + config.Default().Admin.Listen + `"]`} {
		if !strings.Contains(scrape, want) {
			t.Errorf("prometheus.yml lacks %s", want)
		}
	}
}
