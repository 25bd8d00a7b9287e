package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/loopback"
)

// TestPrometheusScrapes runs Debian's Prometheus with the configuration of this directory against a
// running daemon. The target must be up, all rules must be evaluated without error, and the
// recorded series must exist.
func TestPrometheusScrapes(t *testing.T) {
	need(t, "go", "golang-go")
	need(t, "prometheus", "prometheus")
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	d, key := startMX(t, ctx, build(t), "")
	p := startPrometheus(t, ctx, d.admin)
	// increase() works only if there is a sample from before the messages.
	p.until(t, ctx, `sekimori_spf_total{identity="mailfrom", result="pass"}`, func(v map[string]string) bool { return v["pass"] == "0" })
	d.traffic(t, key)
	p.until(t, ctx, "sum(sekimori_messages_total)", func(v map[string]string) bool { return v[""] == "6" })
	p.until(t, ctx, `up{job="sekimori"}`, func(v map[string]string) bool { return v[""] == "1" })
	p.until(t, ctx, "job_result:sekimori_spf_mailfrom:ratio30d > 0", func(v map[string]string) bool {
		return v["pass"] != "" && v["fail"] != ""
	})
	p.until(t, ctx, "job_policy:sekimori_dmarc_published:ratio30d", func(v map[string]string) bool {
		return v["reject"] != "" && v["quarantine"] != "" && v["none"] != "" && v["absent"] != ""
	})
	// Three of the four author domains have a DMARC record, each with another policy. The fourth
	// domain has no such record and is not counted.
	p.until(t, ctx, "job_policy:sekimori_author_domains:max30d", func(v map[string]string) bool {
		return v["reject"] == "1" && v["quarantine"] == "1" && v["none"] == "1" && v["absent"] == "0"
	})
	p.until(t, ctx, "job_policy:sekimori_author_domains:ratio30d > 0", func(v map[string]string) bool {
		return strings.HasPrefix(v["reject"], "0.333") && strings.HasPrefix(v["quarantine"], "0.333") && strings.HasPrefix(v["none"], "0.333")
	})
	p.rules(t, ctx)
	p.exemplars(t, ctx)
	p.dashboard(t, ctx)
}

// exemplars checks that Prometheus asks for OpenMetrics and keeps the queue ids that the daemon then
// writes beside the buckets of the wait.
func (p *prom) exemplars(t *testing.T, ctx context.Context) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	query := "/api/v1/query_exemplars?query=sekimori_message_wait_seconds_bucket&start=" +
		fmt.Sprint(time.Now().Add(-time.Hour).Unix()) + "&end=" + fmt.Sprint(time.Now().Add(time.Hour).Unix())
	for {
		var data []struct {
			SeriesLabels map[string]string
			Exemplars    []struct {
				Labels map[string]string
				Value  string
			}
		}
		if p.get(t, ctx, query, &data) {
			for _, s := range data {
				for _, e := range s.Exemplars {
					if strings.HasPrefix(e.Labels["queue_id"], "4Q") && e.Value != "" && s.SeriesLabels["le"] != "" {
						return
					}
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("Prometheus has no exemplar with a queue id of ours: %+v", data)
		}
	}
}

// dashboard checks that Prometheus evaluates every query of the dashboard. This is not a Grafana: it
// shows nothing of how the panels look.
func (p *prom) dashboard(t *testing.T, ctx context.Context) {
	t.Helper()
	queries := loadDashboard(t).queries()
	for where, expr := range queries {
		var data struct{ Result []any }
		if !p.get(t, ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data) {
			t.Errorf("%s: Prometheus does not evaluate %s", where, expr)
		}
	}
	if len(queries) < 100 {
		t.Errorf("only %d queries", len(queries))
	}
}

// prom is a running Prometheus.
type prom struct{ url string }

// startPrometheus runs Prometheus on loopback with the configuration of this directory, but it
// scrapes and evaluates rules every second.
func startPrometheus(t *testing.T, ctx context.Context, target string) *prom {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"sekimori.rules.yml", "sekimori.monthly.yml"} {
		writeFile(t, filepath.Join(dir, name), strings.ReplaceAll(readFile(t, "prometheus/"+name), "interval: 30m", "interval: 1s"), 0o600)
	}
	const default8892 = `["127.0.0.1:8892"]`
	conf := readFile(t, "prometheus/prometheus.yml")
	if !strings.Contains(conf, default8892) {
		t.Fatal("prometheus.yml has another target")
	}
	conf = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + strings.ReplaceAll(conf, default8892, `["`+target+`"]`)
	writeFile(t, filepath.Join(dir, "prometheus.yml"), conf, 0o600)
	address := loopback.Address(t) // chosen here, because Prometheus does not report which port it uses
	var out strings.Builder
	cmd := exec.CommandContext(ctx, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn", "--enable-feature=exemplar-storage")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return &prom{url: "http://" + address}
}

// get requests a path of Prometheus's API and decodes the data in the response. It returns false if
// there is no successful response yet.
func (p *prom) get(t *testing.T, ctx context.Context, path string, data any) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var answer struct {
		Status string
		Data   json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		return false
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		t.Fatal(err)
	}
	return true
}

// until repeats a query until wanted returns true for its values. Each value has as its key the
// label "result" of its series, or else the label "policy".
func (p *prom) until(t *testing.T, ctx context.Context, query string, wanted func(map[string]string) bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	values := map[string]string{}
	for {
		var data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
		if p.get(t, ctx, "/api/v1/query?query="+url.QueryEscape(query), &data) {
			clear(values)
			for _, r := range data.Result {
				values[r.Metric["result"]+r.Metric["policy"]] = fmt.Sprint(r.Value[1])
			}
			if wanted(values) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v at the end", query, values)
		}
	}
}

// rules checks that there are as many rules as expected and that Prometheus has evaluated each of
// them without error.
func (p *prom) rules(t *testing.T, ctx context.Context) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if !p.get(t, ctx, "/api/v1/rules", &data) {
		t.Fatal("Prometheus does not tell its rules")
	}
	n := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if want := len(alerts(t)) + strings.Count(readFile(t, "prometheus/sekimori.monthly.yml"), "- record:"); n != want {
		t.Errorf("%d rules, want %d", n, want)
	}
}
