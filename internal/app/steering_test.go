package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/web"
)

// steered returns a configuration with a file of rules, and with a candidate configuration (key
// shadow).
func steered(t *testing.T, rules, candidate string) *config.Config {
	t.Helper()
	cfg, dir := testConfig(t), t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg.Policy.Overrides = []config.Override{{File: write("rules.yaml", rules)}}
	cfg.Shadow = write("candidate.yaml", candidate)
	return cfg
}

// TestSteering checks a rule in a file that accepts a spoofed message, and a candidate without
// this rule that would reject it. The metrics and the log show the rule and the candidate's
// different verdict.
func TestSteering(t *testing.T) {
	a, log, stop := running(t, steered(t,
		"- {id: ours, when: {client: [192.0.2.0/24], dmarc: [fail]}, then: accept}\n- {id: old, expires: 2020-01-01, when: {author: [x.example]}, then: reject}\n",
		"mode: monitor\npolicy: {reject: always}\n"))
	if res := send(t, a, "<x@evil.example>"); !res.Action.Delivers() {
		t.Errorf("spoofed message: %+v", res)
	}
	metrics := web.Get(t, "http://"+a.AdminAddr()+"/metrics")
	for _, want := range []string{
		`sekimori_override_rule_hits_total{rule="ours"} 1`, `sekimori_override_rule_hits_total{rule="old"} 0`,
		`sekimori_shadow_total{live="accept",shadow="reject"} 1`, `sekimori_dmarc_override_total{reason="local_policy"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if got := log.Records(t, "evaluated"); len(got) != 1 || got[0]["rule"] != "ours" || got[0]["verdict"] != "accept" {
		t.Errorf("records of messages: %v", got)
	}
	if got := log.Records(t, "shadow differs"); len(got) != 1 || got[0]["shadow_verdict"] != "reject" {
		t.Errorf("records of differences: %v", got)
	}
	if got := log.Records(t, "useless rules"); len(got) != 1 || !strings.Contains(got[0]["error"].(string), "rule old has expired") {
		t.Errorf("warnings: %v", got)
	}
}

// TestReloadedRules checks that a reload reads the files of rules again. If a file has a
// mistake, the rules in effect stay.
func TestReloadedRules(t *testing.T) {
	cfg := steered(t, "- {id: ours, when: {client: [192.0.2.0/24]}, then: accept}\n", "")
	a, log, stop := running(t, cfg)
	file := cfg.Policy.Overrides[0].File
	for _, tt := range []struct {
		why, rules string
		good       bool // the reload succeeds
		delivers   bool // a spoofed message is delivered afterwards
	}{
		{"as it was", "- {id: ours, when: {client: [192.0.2.0/24]}, then: accept}\n", true, true},
		{"broken", "- {id: ours, when: {author: [bank.example]}, then: accept}\n", false, true},
		{"another client", "- {id: other, when: {client: [198.51.100.0/24]}, then: accept}\n", true, false},
		{"empty", "", true, false},
	} {
		if err := os.WriteFile(file, []byte(tt.rules), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.Reload(func() (*config.Config, error) { return cfg, nil }); (err == nil) != tt.good {
			t.Errorf("%s: reload: %v", tt.why, err)
		}
		if res := send(t, a, "<x@evil.example>"); res.Action.Delivers() != tt.delivers {
			t.Errorf("%s: %+v", tt.why, res)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	failed := log.Records(t, "configuration not reloaded, the old one stays")
	if len(failed) != 1 || failed[0]["file"] != file || failed[0]["line"] != 1.0 {
		t.Errorf("records of the failure: %v", failed)
	}
}

// TestBadSteering checks that if a rule or the candidate has a mistake, the daemon does not
// start and Check fails.
func TestBadSteering(t *testing.T) {
	const good = "- {id: a, when: {author: [x.example]}, then: reject}\n"
	for _, tt := range []struct{ why, rules, candidate, want string }{
		{"a rule without evidence", "- {id: a, when: {author: [x.example]}, then: accept}\n", "", "rules.yaml:1:46:"},
		{"a broken candidate", good, "policy: {reject: x}\n", "candidate.yaml:1:18:"},
		{"a broken rule of the candidate", good, "policy: {overrides: [{id: a, when: {traits: [list]}, then: tag}]}\n", "candidate.yaml:1:60:"},
	} {
		cfg := steered(t, tt.rules, tt.candidate)
		_, err := New(cfg, options(&logs.Buffer{}))
		for _, err := range []error{err, Check(cfg)} {
			var ce *config.Error
			if !errors.As(err, &ce) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.why, err)
			}
		}
	}
	cfg := steered(t, good, "")
	if err := Check(cfg); err != nil {
		t.Error(err)
	}
	if err := Warnings(cfg, time.Now()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(cfg.Shadow); err != nil {
		t.Fatal(err)
	}
	if err := Check(cfg); err == nil || !strings.Contains(err.Error(), "shadow: open "+cfg.Shadow) {
		t.Errorf("no candidate: %v", err)
	}
}
