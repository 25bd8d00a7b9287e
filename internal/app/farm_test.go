package app

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/explain"
	"sekimori/internal/farm"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/resolver"
	"sekimori/internal/resolver/upstream"
)

// TestMinute: a heartbeat counts what happened in the last minute.
func TestMinute(t *testing.T) {
	var m minute
	start := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	reading := func(at time.Duration, n int64) reading {
		return reading{at: start.Add(at), messages: map[string]int64{"accept": n, "reject": 5}, dns: resolver.Counts{Counts: upstream.Counts{
			Queries: map[upstream.Result]int64{upstream.ResultNoError: 2 * n, upstream.ResultTimeout: n},
		}}}
	}
	for i := range 20 {
		m.add(reading(time.Duration(i)*farm.Every, int64(i)*100))
		var b farm.Beat
		m.fill(&b)
		want := int64(min(i, 6)) * 100
		if b.Messages["accept"] != want || b.Messages["reject"] != 0 || b.DNS.Queries != 3*want || b.DNS.Failed != want {
			t.Errorf("after %d readings: %+v, want %d messages", i+1, b, want)
		}
	}
	for range 20 { // the clock was set back
		m.add(reading(0, 5000))
	}
	if len(m.readings) != maxReadings {
		t.Errorf("%d readings", len(m.readings))
	}
}

func TestTryOff(t *testing.T) {
	for listen, off := range map[string]bool{
		"127.0.0.1:8892": false, "127.3.4.5:1": false, "[::1]:8892": false, "localhost:8892": false, "0.0.0.0:8892": true, ":8892": true, "192.0.2.1:1": true,
		"[::]:1": true, "mx.example:8892": true, "": true, "[::ffff:127.0.0.1]:1": false,
	} {
		c := config.Admin{Listen: listen, Try: true}
		if got := TryOff(c) != ""; got != off {
			t.Errorf("%s: off %t, want %t", listen, got, off)
		}
		c.WebConfig = "/etc/web.yaml"
		if got := TryOff(c); got != "" {
			t.Errorf("%s with web_config: %s", listen, got)
		}
		c.Try = false
		if TryOff(c) == "" {
			t.Errorf("%s: on, although admin.try is false", listen)
		}
	}
}

// TestTry: a message that is tried in the console is judged by the policy and the DNS of the daemon, and is neither counted nor kept.
func TestTry(t *testing.T) {
	cfg := testConfig(t)
	a, _ := opened(t, cfg)
	before := *a.generation().options.Judge
	for client, want := range map[string]policy.Action{"192.0.2.1": policy.Accept, "192.0.2.2": policy.Reject} {
		from := "a@bank.example"
		x, err := a.try(t.Context(), &explain.Stored{
			Message: []byte("From: a@bank.example\r\nSubject: s\r\n\r\nbody\r\n"), Client: netip.MustParseAddr(client), HELO: "mail.bank.example",
			MailFrom: &from, Recipients: []string{"r@here.example"},
		})
		if err != nil || x.Verdict.Action != want || x.Mode != cfg.Mode || len(x.Lookups) == 0 {
			t.Errorf("%s: %+v, %v", client, x, err)
		}
	}
	if found, _ := a.decisions().Search(recent.Query{Limit: 9}); len(found) > 0 {
		t.Errorf("the messages are kept: %v", found)
	}
	for verdict, n := range a.metrics.Counts().Messages {
		if n != 0 {
			t.Errorf("%s is counted", verdict)
		}
	}
	if after := *a.generation().options.Judge; !reflect.DeepEqual(after.Label, before.Label) || after.Verifier != before.Verifier || after.Split != before.Split {
		t.Error("trying a message changed how others are judged")
	}
	lost := *cfg
	lost.DMARC.OrganizationalDomain, lost.DMARC.PSLFile = "psl", filepath.Join(t.TempDir(), "none")
	a.generation().cfg = &lost
	if x, err := a.try(t.Context(), &explain.Stored{}); err == nil || x != nil {
		t.Errorf("without the suffixes: %+v, %v", x, err)
	}
	a.generation().cfg = cfg
}
