package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/traffic"
	"sekimori/internal/config"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/loopback"
)

// start starts sekimori with the DNS server at the address dns, and returns its milter address.
func start(t *testing.T, dns string) string {
	t.Helper()
	cfg := daemon.Config(dns)
	cfg.DNS.Cache = config.Default().DNS.Cache
	cfg.DNS.MessageBudget = config.Duration(2 * time.Second)
	return "inet:" + daemon.Start(t, cfg).Addr
}

// freeAddr returns a local address that is free for a DNS server.
func freeAddr(t *testing.T) string {
	t.Helper()
	o := traffic.Default()
	o.Messages, o.Domains, o.Signatures = 1, 1, traffic.Mix{{Kind: "none", Weight: 1}}
	o.Sizes = traffic.Mix{{Kind: "2KB", Weight: 1}}
	c, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := traffic.Serve(c.Zone, traffic.DNSOptions{Addr: loopback.Address(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Addr()
}

func TestRun(t *testing.T) {
	dns := freeAddr(t)
	milter := start(t, dns)
	small := []string{"--dns", dns, "--corpus", "20", "--domains", "5", "--sizes", "2KB", "--connections", "2"}
	for _, tc := range []struct {
		why    string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"a good run", append([]string{"--milter", milter}, small...), exitDone, "unexpected", ""},
		{"results that are not there", append([]string{"--milter", milter, "--dns-loss", "1", "--seed", "3", "--corpus", "1"}, small[:2]...), exitFailed,
			"UNEXPECTED", "not every message"},
		{"no milter there", append([]string{"--milter", "inet:127.0.0.1:1"}, small...), exitFailed, "", "refused"},
		{"another host", []string{"--milter", "inet:192.0.2.1:8891"}, exitUsage, "", "not a loopback address"},
		{"DNS for everybody", []string{"--dns", "0.0.0.0:5354"}, exitUsage, "", "not a loopback address"},
		{"an unknown flag", []string{"--fast"}, exitUsage, "", "unknown flag"},
		{"an argument", []string{"now"}, exitUsage, "", "unknown command"},
		{"an unknown kind", []string{"--signatures", "dsa"}, exitUsage, "", `"dsa" is none of`},
		{"a bad mix", []string{"--sizes", "a=b"}, exitUsage, "", "not a weight"},
		{"idle connections without a process", []string{"--idle", "10"}, exitUsage, "", "its processes"},
		{"idle connections", append([]string{"--milter", milter, "--idle", "10", "--pid", strconv.Itoa(os.Getpid())}, small...), exitDone, "per connection", ""},
		{"a rate", append([]string{"--milter", milter, "--rate", "500"}, small...), exitDone, "0 not sent", ""},
		{"a negative rate", append([]string{"--milter", milter, "--rate", "-1"}, small...), exitUsage, "", "messages a second"},
		{"no MTA there", append([]string{"--mta", "127.0.0.1:1"}, small...), exitFailed, "", "refused"},
		{"an MTA elsewhere", []string{"--mta", "192.0.2.1:25"}, exitUsage, "", "not a loopback address"},
		{"an unknown check", []string{"--check", "most"}, exitUsage, "", "none of all"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), tc.args, &stdout, &stderr)
		if code != tc.code || !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
			t.Errorf("%s: code %d\n%s%s", tc.why, code, &stdout, &stderr)
		}
	}
}

func TestJSON(t *testing.T) {
	dns := freeAddr(t)
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"--milter", start(t, dns), "--dns", dns, "--corpus", "10", "--domains", "5", "--sizes", "2KB", "--json"}, &stdout, &stderr)
	var r load.Summary
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || code != exitDone || r.Messages != 10 || r.EndOfMessage.P50 <= 0 {
		t.Errorf("code %d, %v: %s%s", code, err, &stdout, &stderr)
	}
}

func TestHelpDocumentsEveryFlag(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &stdout, &stderr); code != exitDone {
		t.Fatalf("code %d: %s", code, &stderr)
	}
	for _, want := range []string{"--dns-delay", "--dns-loss", "--allow-remote", "--pid", "--json", "--zipf", "--seed", "--smtp-rtt", "--idle", "--rate", "--syscalls", "--mta", "Exit codes"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %s", want)
		}
	}
}
