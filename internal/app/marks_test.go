package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/bimi"
	"sekimori/internal/config"
	"sekimori/internal/testkit/web"
)

// TestMarks turns marks on and off by reloads, and looks at them in the status, the metrics and the console.
func TestMarks(t *testing.T) {
	cfg, _ := storeConfig(t)
	cfg.BIMI.Enabled = true
	a, log, stop := running(t, cfg)
	waitFor(t, log, "serving", 1)
	base := "http://" + a.AdminAddr()
	if text := web.Get(t, base+StatusPath); !strings.Contains(text, "DigiCert Verified Mark Root CA") {
		t.Errorf("the status lacks the roots: %s", text)
	}
	if text := web.Get(t, base+"/metrics"); strings.Contains(text, "sekimori_bimi_root_end_timestamp_seconds 0\n") ||
		!strings.Contains(text, `sekimori_webfetch_total{kind="crl",result="ok"} 0`) {
		t.Error("the metrics lack the end of the roots, or the fetches")
	}
	if text := web.Get(t, base+"/marks"); !strings.Contains(text, "No mark was fetched yet") || !strings.Contains(text, "DigiCert Verified Mark Root CA") {
		t.Error("the page of marks lacks the roots")
	}
	first := a.generation().marks
	q := bimi.Query{Domain: "shop.example", Organization: "shop.example", Selector: "default", Evidence: "https://shop.example/vmc.pem"}
	if answer := first.Find(t.Context(), q); answer.Result != bimi.Skipped {
		t.Errorf("%+v", answer)
	}
	reload := func(change func(*config.Config)) {
		t.Helper()
		if err := a.Reload(with(cfg, change)); err != nil {
			t.Fatal(err)
		}
	}
	reload(func(c *config.Config) { c.BIMI.Pilot = true })
	if g := a.generation(); g.marks == nil || g.marks == first {
		t.Error("the reload did not take the new rules")
	}
	reload(func(c *config.Config) { c.BIMI.Enabled = false })
	if a.generation().marks != nil || a.markStanding() != nil || a.mark(q) != nil {
		t.Error("marks are not off")
	}
	if text := web.Get(t, base+"/marks"); !strings.Contains(text, "Marks are off") {
		t.Error("the page of marks does not say that they are off")
	}
	reload(func(c *config.Config) { c.BIMI.Enabled = true })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestMarkFiles reads the files of bimi.roots and bimi.ct_logs.
func TestMarkFiles(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "x.pem")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root, err := os.ReadFile("../bimi/mark/roots/digicert-verified-mark-root-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	const key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbEiWluJDIqWi8JbeCSfR3V2k/a5s\n" +
		"9XtZv+HU5u/gU9NSYnWGwEoEW6IK7n6LehfrJL3znCUAC0ayEaeiFQuibA==\n-----END PUBLIC KEY-----\n"
	cfg := config.Default()
	rules, err := MarkRules(cfg)
	if err != nil || len(rules.Roots) < 4 || len(rules.Types) == 0 || len(rules.Logs) != 1 { // the built-in log
		t.Errorf("%d roots, %d types, %v", len(rules.Roots), len(rules.Types), err)
	}
	cfg.BIMI.Roots, cfg.BIMI.CTLogs = []string{file(string(root))}, []string{file(key)}
	rules, err = MarkRules(cfg)
	if err != nil || len(rules.Roots) != 1 || len(rules.Logs) != 2 {
		t.Errorf("%d roots, %d logs, %v", len(rules.Roots), len(rules.Logs), err)
	}
	for _, c := range []struct{ roots, logs, want string }{
		{"none.pem", "", "bimi.roots[0]"}, {file("x"), "", "bimi.roots[0]"}, {file(key), "", "bimi.roots[0]"},
		{"", file(string(root)), "bimi.ct_logs[0]"}, {"", file("x"), "bimi.ct_logs[0]"}, {file(strings.Repeat("x", maxMarkFile+1)), "", "more than"},
	} {
		cfg := config.Default()
		if c.roots != "" {
			cfg.BIMI.Roots = []string{c.roots}
		}
		if c.logs != "" {
			cfg.BIMI.CTLogs = []string{c.logs}
		}
		if _, err := MarkRules(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: %v", c.roots, c.logs, err)
		}
		if err := Check(cfg); err == nil {
			t.Errorf("%q %q: config check says nothing", c.roots, c.logs)
		}
	}
}
