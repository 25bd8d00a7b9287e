package main

import (
	"encoding/json"
	"strings"
	"testing"

	"sekimori/internal/replay"
)

// TestReplay takes every DNS answer from a snapshot. The DNS server in its configuration does
// not exist.
func TestReplay(t *testing.T) {
	const received = "Return-Path: <a@bank.example>\n" +
		"Received: from h.example (unknown [192.0.2.1]) by mx.here.example (Postfix) with SMTP id Q1; Wed, 1 Jan 2020 12:00:00 +0000\n"
	box := file(t, "box", "From x 1\n"+received+"From: a@bank.example\n\nx\n\n")
	broken := file(t, "broken", "From x 1\nFrom: a@bank.example\n\nx\n\nFrom x 1\n"+received+"From: a@bank.example\n\nx\n\n")
	cfg := file(t, "c.yaml", "authserv_id: mx.here.example\ndns: {servers: ['127.0.0.1:1'], timeout: 100ms, message_budget: 500ms}\n")
	bad := file(t, "bad.yaml", "mode: sleep\n")
	snapshot := file(t, "dns.jsonl", `{"sekimori_dns_snapshot":1,"created":"2026-11-22T00:00:00Z"}
{"name":"_dmarc.bank.example","type":"TXT","records":[{"text":"v=DMARC1; p=reject"}]}
{"name":"bank.example","type":"TXT","records":[{"text":"v=spf1 ip4:192.0.2.1 -all"}]}
{"name":"1.2.0.192.in-addr.arpa","type":"PTR","status":"NXDOMAIN"}
{"name":"h.example","type":"TXT","status":"NXDOMAIN"}
{"name":"_dmarc.example","type":"TXT","status":"NXDOMAIN"}
{"name":"h.example","type":"A","status":"NXDOMAIN"}
`)
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"table", []string{box, "--trusted-host", "MX.here.example", "--dns-snapshot", snapshot}, 0, "No DNS was needed: the snapshot answered all", ""},
		{"a bad message", []string{broken, "--received", "1", "--dns-snapshot", snapshot}, 1, "message 1 at octet 0: the message has 0 received fields", ""},
		{"a candidate", []string{box, "--received", "1", "--dns-snapshot", snapshot, "--candidate", cfg}, 0, "decides otherwise on 0 messages", ""},
		{"a bad candidate", []string{box, "--received", "1", "--candidate", bad}, 2, "", "bad.yaml:1:7"},
		{"no origin", []string{box}, 2, "", "one of --trusted-host, --received, --ip must be given"},
		{"two origins", []string{box, "--received", "1", "--ip", "192.0.2.1"}, 2, "", "cannot be given together"},
		{"no number", []string{box, "--received", "0"}, 2, "", "counts from 1"},
		{"no host", []string{box, "--trusted-host", "a..b"}, 2, "", "not a host name"},
		{"no address", []string{box, "--ip", "here"}, 2, "", "not an IP address"},
		{"HELO twice", []string{box, "--received", "1", "--helo", "x"}, 2, "", "--helo is for --ip"},
		{"no source", []string{"/nonexistent/box", "--received", "1"}, 1, "", "/nonexistent/box"},
		{"no snapshot", []string{box, "--received", "1", "--dns-snapshot", box}, 1, "", "not a DNS snapshot"},
		{"no argument", []string{"--received", "1"}, 2, "", "takes one mbox"},
	} {
		code, stdout, stderr := command(t, append([]string{"replay", "--config", cfg}, tt.args...)...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
			t.Errorf("%s: code %d, want %d\n%s\n%s", tt.name, code, tt.code, stdout, stderr)
		}
	}
	code, stdout, stderr := command(t, "replay", "--config", cfg, box, "--received", "1", "--dns-snapshot", snapshot, "--json")
	var r replay.Summary
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 0 || r.Verdicts["accept"] != 1 || r.DNS.Asked != 0 {
		t.Errorf("JSON: %v, code %d\n%s%s", err, code, stdout, stderr)
	}
}
