package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestRunningDaemon checks that a running daemon works as its systemd units expect, and that it has
// every series that the alerts and the dashboard use.
func TestRunningDaemon(t *testing.T) {
	need(t, "go", "golang-go")
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	binary := build(t)
	d, key := startMX(t, ctx, binary, everything(t))

	d.traffic(t, key)
	logged := d.expectLog(t, ctx, "evaluated")
	live := d.scrape(t, ctx)
	t.Run("alerts name live metrics", func(t *testing.T) {
		for _, r := range alerts(t) {
			for _, p := range live.check(r.Alert, r.Expr) {
				// The command "held" writes these metrics for node_exporter.
				if _, name, found := strings.Cut(p, "no metric sekimori_hold_queue_"); !found ||
					!strings.Contains(readFile(t, "../internal/holdqueue/metrics.go"), "TYPE sekimori_hold_queue_"+name+" ") {
					t.Error(p)
				}
			}
		}
	})
	t.Run("dashboard names live metrics", func(t *testing.T) {
		for where, expr := range loadDashboard(t).queries() {
			for _, p := range live.check(where, expr) {
				t.Error(p)
			}
		}
	})
	t.Run("dashboard shows what is live", func(t *testing.T) { checkShown(t, live) })
	t.Run("dashboard names keys of the log", func(t *testing.T) { checkLogKeys(t, logged) })
	t.Run("the check finds what is wrong", func(t *testing.T) { checkTheCheck(t, live) })
	t.Run("reload", func(t *testing.T) { d.reload(t, ctx) })
	t.Run("watchdog", func(t *testing.T) { d.expectNotify(t, ctx, "WATCHDOG=1") })
	t.Run("stop", func(t *testing.T) { d.stop(t, ctx) })
}

// everything returns configuration that makes more series exist: a list of recipients, an override
// rule and a candidate configuration. None of them changes what happens to the messages of the
// tests.
func everything(t *testing.T) string {
	dir := t.TempDir()
	list, candidate := filepath.Join(dir, "opted-out"), filepath.Join(dir, "candidate.yaml")
	writeFile(t, list, "somebody@elsewhere.example\n", 0o644)
	writeFile(t, candidate, "policy: {reject: quarantine}\n", 0o644)
	return fmt.Sprintf(`
shadow: %s
watch: [{name: banks, domains: [bank.example], lookalikes: true}]
policy:
  recipients: {file: %s}
  overrides: [{id: partner, when: {client: [203.0.113.0/24], dmarc: [fail]}, then: accept}]
`, candidate, list)
}

// checkLogKeys checks that a log record has all keys that the jq commands on the dashboard use.
func checkLogKeys(t *testing.T, logged record) {
	keys := regexp.MustCompile(`[ (\[]\.([a-z_]+)`)
	seen := 0
	for _, p := range loadDashboard(t).Panels {
		for _, m := range keys.FindAllStringSubmatch(p.Options.Content, -1) {
			seen++
			if _, ok := logged[m[1]]; !ok {
				t.Errorf("panel %q: the log has no key %s: %v", p.Title, m[1], logged)
			}
		}
	}
	if seen == 0 {
		t.Error("no panel explains the log")
	}
}

// checkTheCheck checks that series.check finds wrong names.
func checkTheCheck(t *testing.T, live series) {
	for _, c := range []struct{ expr, want string }{
		{`rate(sekimori_message_total[5m])`, "no metric sekimori_message_total"},
		{`sekimori_messages_total{verdict="rejected"}`, "no series for"},
		{`sekimori_messages_total{action="reject"}`, "no label action"},
		{`sum by (verdicts) (sekimori_messages_total)`, "no metric has the label verdicts"},
		{`sekimori_message_wait_seconds`, "no metric sekimori_message_wait_seconds"}, // only sekimori_message_wait_seconds_bucket and the like exist
		{`vector(0)`, "no metric in"},
		{`sum by (verdict) (rate(sekimori_messages_total{job="sekimori"}[5m]))`, ""},
	} {
		got := strings.Join(live.check("", c.expr), "; ")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.expr, got, c.want)
		}
	}
}

// stop stops the daemon as systemd does, with SIGTERM. The daemon must send STOPPING=1, exit with 0
// and leave the socket in place.
func (d *daemon) stop(t *testing.T, ctx context.Context) {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.expectNotify(t, ctx, "STOPPING=1")
	d.expectLog(t, ctx, "stopped")
	for range d.log { // read the rest of the log, because Wait may be called only after its end
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the daemon did not exit with 0: %v", err)
	}
	if _, err := os.Stat(d.socket); err != nil {
		t.Errorf("systemd's socket is gone: %v", err)
	}
}
