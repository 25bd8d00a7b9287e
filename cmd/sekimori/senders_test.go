package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"sekimori/internal/ledger"
	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
)

// TestSendersAndReadiness calls the commands while another process would have the store open.
func TestSendersAndReadiness(t *testing.T) {
	conf, store, now := reportWorld(t)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	off := file(t, "off.yaml", string(text)+"history: {what: 'off'}\n")
	empty := file(t, "empty.yaml", "mode: monitor\n")
	x := storetest.Entry("news.shop.example", "shop.example", "192.0.2.1")
	x.Time = now
	y := x
	y.Result, y.DKIM, y.SPF, y.Example, y.Total.DMARC = ledger.Fail, false, false, "ABCD2345", "fail"
	b := report.Batch{ID: "ledger", Current: report.WindowAt(now, 24*time.Hour), Ledger: storetest.Delta("g", 0, ledger.DayOf(now), x, x, y)}
	if err := store.Add(t.Context(), now, b); err != nil {
		t.Fatal(err)
	}
	if err := store.Ledger().SetBreakage(t.Context(), ledger.Breakage{Domain: "shop.example", Kind: ledger.SPFAddressLost, Subject: "192.0.2.0/24", First: now, Last: now, Evidence: "numbers"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		code   int
		stdout []string
		stderr string
	}{
		{"senders", 0, []string{"shop.example  reject  3         66.7 %", "spf_address_lost"}, ""},
		{"senders --domain news.shop.example", 0, []string{"shop.example (DMARC policy: reject): 3 messages on 1 day\n", "d=shop.example s=s1", "192.0.2.0/24"}, ""},
		{"senders --domain none.example", 0, []string{"No mail was counted"}, ""},
		{"senders --broken", 0, []string{"spf_address_lost 192.0.2.0/24", "A mail to postmaster@shop.example", "Example ISP"}, ""},
		{"senders --broken --json", 0, []string{`"to": "postmaster@shop.example"`}, ""},
		{"senders --days 0", 2, nil, "--days must be 1 to 400"},
		{"senders --limit 0", 2, nil, "--limit must be 1 to 1000"},
		{"senders --domain x", 2, nil, `--domain: "x" is not a domain`},
		{"senders --config " + empty, 2, nil, "store.url is empty"},
		{"readiness", 0, []string{"Not yet: 1 day of 14.", "shop.example: 1 of 3 messages hit (p=reject)", "sekimori explain --id ABCD2345", "the history has no decision"}, ""},
		{"readiness --days 1 --json", 0, []string{`"verdict": "wait"`, `"word": "unclear"`}, ""},
		{"readiness --format html --lang ja", 0, []string{"送信ドメイン認証", "隔離", "拒否", "なりすまし", "まだ早すぎます"}, ""},
		{"readiness --format html", 0, []string{"May policies be enforced?", "<svg"}, ""},
		{"readiness --json --config " + off, 0, []string{`"word": "history_off"`}, ""},
		{"readiness --lang ja", 2, nil, "--lang is for --format html"},
		{"readiness --format html --lang fr", 2, nil, "write en or ja"},
		{"readiness --format csv", 2, nil, "write text, json or html"},
		{"readiness --json --format html", 2, nil, "contradict each other"},
		{"readiness --days 401", 2, nil, "--days must be 1 to 400"},
		{"readiness --config " + empty, 2, nil, "store.url is empty"},
	} {
		args := strings.Fields(tt.args)
		if !strings.Contains(tt.args, "--config") {
			args = append(args, "--config", conf)
		}
		code, stdout, stderr := command(t, args...)
		if code != tt.code || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
			t.Errorf("%s: exit code %d, want %d: %s", tt.args, code, tt.code, stderr)
		}
		for _, want := range tt.stdout {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s lacks %q:\n%s", tt.args, want, stdout)
			}
		}
		if strings.Contains(stderr, "reporting:") || strings.Contains(stderr, "sqlite:") || strings.Contains(stdout, "<script") {
			t.Errorf("%s: %s", tt.args, stderr)
		}
	}
}
