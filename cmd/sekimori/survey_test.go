package main

import (
	"encoding/json"
	"strings"
	"testing"

	"sekimori/internal/domaincheck"
	"sekimori/internal/survey"
	"sekimori/internal/testkit/nameserver"
)

// publishedZone has a domain without a fault, one with a broken record, and one whose server fails.
const publishedZone = `
good.example MX 10 mx.good.example
mx.good.example A 192.0.2.1
good.example TXT "v=spf1 mx -all"
_dmarc.good.example TXT "v=DMARC1; p=reject; rua=mailto:rua@good.example"
bad.example MX 10 mx.good.example
bad.example TXT "v=spf1 ipv4:192.0.2.1 -all"
_dmarc.bad.example TXT "v=DMARC1; p=none; rua=mailto:rua@bad.example"
! dead.example * servfail
`

// dnsConfig starts a name server with the zone, and returns the path of a configuration that names it.
func dnsConfig(t *testing.T, zone string) string {
	t.Helper()
	addr := nameserver.Serve(t, zone, nameserver.Options{}).Addr()
	return file(t, "c.yaml", "mode: monitor\ndns: {servers: ['"+addr+"'], timeout: 200ms, cache: {failure_ttl: 10ms}}\n")
}

func TestCheck(t *testing.T) {
	cfg := dnsConfig(t, publishedZone)
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"nothing wrong", []string{"good.example"}, 0, "Nothing is wrong.", ""},
		{"broken", []string{"bad.example"}, 1, "(spf_syntax; RFC 7208 section 4.6)", ""},
		{"a key that is not there", []string{"good.example", "--selector", "s1"}, 1, "there is no key at s1._domainkey.good.example", ""},
		{"a lookup fails", []string{"dead.example"}, 1, "Not known, because a lookup failed", ""},
		{"no domain", []string{}, 2, "", "takes one domain"},
		{"one label", []string{"example"}, 2, "", "is not a domain"},
		{"a bad selector", []string{"good.example", "--selector", "a..b"}, 2, "", "is not a selector"},
		{"no configuration", []string{"good.example", "--config", "/nonexistent.yaml"}, 2, "", "/nonexistent.yaml"},
	} {
		code, stdout, stderr := command(t, append([]string{"check", "--config", cfg}, tt.args...)...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
			t.Errorf("%s: code %d, want %d\n%s\n%s", tt.name, code, tt.code, stdout, stderr)
		}
	}
	code, stdout, _ := command(t, "check", "--config", cfg, "bad.example", "--json")
	var r domaincheck.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 1 || len(r.Faults) != 2 || r.DMARC.Policy != "none" {
		t.Errorf("JSON: %v, code %d\n%s", err, code, stdout)
	}
}

func TestSurvey(t *testing.T) {
	cfg := dnsConfig(t, publishedZone)
	list := file(t, "list", "good.example\nbad.example\ngone.example\nnot a domain\n")
	state := file(t, "state", "")
	other := file(t, "other", "hello\n")
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"text", []string{list}, 0, "spf_syntax", ""},
		{"csv", []string{list, "--format", "csv", "--class", "example"}, 0, "example,spf,1,mx,0.5000", ""},
		{"html", []string{list, "--format", "html", "--lang", "ja"}, 0, "送信ドメイン認証", ""},
		{"with a file", []string{list, "--resume", state}, 0, "spf_syntax", ""},
		{"from the file", []string{list, "--resume", state, "--format", "json"}, 0, `"earlier": 3`, ""},
		{"the file of something else", []string{list, "--resume", other}, 1, "", "is not that of a survey"},
		{"no such list", []string{"/nonexistent"}, 1, "", "/nonexistent"},
		{"an empty list", []string{other}, 1, "", "the list has no domain"},
		{"a bad format", []string{list, "--format", "pdf"}, 2, "", "--format"},
		{"a language for text", []string{list, "--lang", "ja"}, 2, "", "--lang is for --format html"},
		{"a bad language", []string{list, "--lang", "fr"}, 2, "", "--lang"},
		{"no rate", []string{list, "--rate", "0"}, 2, "", "--rate"},
		{"not a rate", []string{list, "--rate", "NaN"}, 2, "", "--rate"},
		{"a class twice", []string{list, "--class", "a.jp,a.jp"}, 2, "", "--class"},
		{"two lists", []string{list, list}, 2, "", "one too many"},
	} {
		args := append([]string{"survey", "--config", cfg}, tt.args...)
		if !strings.Contains(strings.Join(args, " "), "--rate") {
			args = append(args, "--rate", "10000")
		}
		code, stdout, stderr := command(t, args...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
			t.Errorf("%s: code %d, want %d\n%s\n%s", tt.name, code, tt.code, stdout, stderr)
		}
	}
	for _, format := range []string{"text", "csv", "json", "html"} {
		fillDisk(t, 1, []string{"survey", "--config", cfg, list, "--rate", "10000", "--format", format})
	}
	var r survey.Result
	_, stdout, _ := command(t, "survey", "--config", cfg, list, "--format", "json")
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.All.Counts[survey.WithMX] != 2 || len(r.Invalid) != 1 {
		t.Errorf("JSON: %v\n%s", err, stdout)
	}
}
