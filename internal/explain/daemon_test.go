package explain

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
)

const spoof = "From: A <a@bank.example>\r\n\r\nx\r\n"

// TestLikeTheDaemon: what the daemon does not evaluate, or whose verdict it
// makes milder, explain treats alike; a reply is shown only where one is given.
func TestLikeTheDaemon(t *testing.T) {
	optedOut := filepath.Join(t.TempDir(), "opted-out")
	if err := os.WriteFile(optedOut, []byte("ann@here.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	consent := func(c *config.Config) { c.Policy.Recipients.Default, c.Policy.Recipients.File = "in", optedOut }
	for name, tt := range map[string]struct {
		change   func(*config.Config)
		o        Options
		action   policy.Action
		reason   policy.Reason
		reply    bool
		labelled bool
	}{
		"a spoof":                 {nil, Options{}, policy.Reject, policy.ReasonReject, true, true},
		"a trusted network":       {nil, Options{Client: netip.MustParseAddr("127.0.0.1")}, policy.Skip, policy.ReasonTrusted, false, false},
		"a client that logged in": {nil, Options{Login: "ann"}, policy.Skip, policy.ReasonAuthenticated, false, false},
		"one whose login is not trusted": {func(c *config.Config) { c.Trusted.Authenticated = false }, Options{Login: "ann"},
			policy.Reject, policy.ReasonReject, true, true},
		"more fields than the limit": {func(c *config.Config) { c.Limits.HeaderFields = 2 }, Options{Message: []byte("A: 1\r\nB: 2\r\n" + spoof)},
			policy.Reject, policy.ReasonOversize, true, false},
		"as many": {func(c *config.Config) { c.Limits.HeaderFields = 3 }, Options{Message: []byte("A: 1\r\nB: 2\r\n" + spoof)},
			policy.Reject, policy.ReasonReject, true, true},
		"a header over its octets": {func(c *config.Config) { c.Limits.HeaderBytes = 20 }, Options{}, policy.Reject, policy.ReasonOversize, true, false},
		"a field over its octets": {nil, Options{Message: []byte("A: " + strings.Repeat("x", 257<<10) + "\r\n" + spoof)},
			policy.Reject, policy.ReasonOversize, true, false},
		"a recipient who opted out": {consent, Options{Recipients: []string{"<ann@here.example>"}}, policy.Tag, policy.ReasonReject, false, true},
		"one who did not":           {consent, Options{Recipients: []string{"<bob@here.example>"}}, policy.Reject, policy.ReasonReject, true, true},
		"both":                      {consent, Options{Recipients: []string{"bob@here.example", "ann@here.example"}}, policy.Tag, policy.ReasonReject, false, true},
		"more than the limit in monitor mode": {func(c *config.Config) { c.Mode, c.Limits.HeaderFields = "monitor", 2 }, Options{Message: []byte("A: 1\r\nB: 2\r\n" + spoof)},
			policy.Reject, policy.ReasonOversize, false, true},
		"monitor mode gives no reply": {func(c *config.Config) { c.Mode = "monitor" }, Options{}, policy.Reject, policy.ReasonReject, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := tt.o
			o.Config = config.Default()
			o.Config.Mode = "enforce"
			if tt.change != nil {
				tt.change(o.Config)
			}
			if o.Message == nil {
				o.Message = []byte(spoof)
			}
			if !o.Client.IsValid() {
				o.Client = netip.MustParseAddr("203.0.113.1")
			}
			o.MailFrom = new("a@bank.example")
			r := run(t, o)
			if r.Verdict.Action != tt.action || r.Verdict.Reason != tt.reason {
				t.Errorf("%s (%s), want %s (%s)", r.Verdict.Action, r.Verdict.Reason, tt.action, tt.reason)
			}
			if got := r.Verdict.Reply.Code != 0; got != tt.reply {
				t.Errorf("reply: %v", r.Verdict.Reply)
			}
			if got := r.AuthenticationResults != ""; got != tt.labelled {
				t.Errorf("label: %q", r.AuthenticationResults)
			}
			var b strings.Builder
			if err := r.Text(&b); err != nil || strings.Contains(b.String(), "reply:") != tt.reply {
				t.Errorf("%v\n%s", err, b.String())
			}
		})
	}
}

// TestTime: a message is judged as of its receipt by the client's MTA, whatever
// its sender wrote below that.
func TestTime(t *testing.T) {
	field := func(client, by, date string) string {
		return fmt.Sprintf("Received: from x (x [%s])\r\n\tby %s (Postfix) with ESMTP id A; %s\r\n", client, by, date)
	}
	const first, second, third = "Thu, 1 Jan 2026 00:10:00 +0000", "Fri, 2 Jan 2026 00:10:00 +0000", "Sat, 3 Jan 2026 00:10:00 +0000"
	at := func(day int) string { return fmt.Sprintf("2026-01-%02dT00:10:00Z", day) }
	hosts := []dns.Name{"mx.test", "store.test"}
	for name, tt := range map[string]struct {
		received string
		o        Options
		want     string
		source   string
	}{
		"the topmost": {field("203.0.113.1", "mx.test", first), Options{}, at(1), "when mx.test received it"},
		"the one that names the client, below the mail store's": {field("10.0.0.1", "store.test", second) + field("203.0.113.1", "mx.test", first),
			Options{}, at(1), "when mx.test received it"},
		"no field names the client": {field("192.0.2.7", "mx.test", second) + field("192.0.2.8", "their.test", first), Options{}, at(2), "when mx.test received it"},
		"a date that cannot be read": {field("203.0.113.1", "mx.test", "yesterday") + field("192.0.2.8", "their.test", first),
			Options{}, at(1), "when their.test received it"},
		"asked for": {field("203.0.113.1", "mx.test", first), Options{Time: time.Date(2026, 1, 3, 0, 10, 0, 0, time.UTC)}, at(3), "as was asked for"},
		"by trusted hosts": {"Return-Path: <a@bank.example>\r\n" + field("127.0.0.1", "mx.test", third) + field("203.0.113.1", "mx.test", second) + field("203.0.113.1", "their.test", first),
			Options{TrustedHosts: hosts}, at(2), "when mx.test received it"},
	} {
		t.Run(name, func(t *testing.T) {
			o := tt.o
			o.Config, o.Message = config.Default(), []byte(tt.received+spoof)
			if len(o.TrustedHosts) == 0 {
				o.Client, o.MailFrom = netip.MustParseAddr("203.0.113.1"), new("a@bank.example")
			}
			r := run(t, o)
			if got := r.Evaluation.Time.UTC().Format(time.RFC3339); got != tt.want || r.TimeSource != tt.source {
				t.Errorf("%s, %s", got, r.TimeSource)
			}
			if r.Evaluation.Session.Client != netip.MustParseAddr("203.0.113.1") || r.Evaluation.Envelope.MailFrom == "" {
				t.Errorf("%+v %+v", r.Evaluation.Session, r.Evaluation.Envelope)
			}
			var b strings.Builder
			if err := r.Text(&b); err != nil || !strings.Contains(b.String(), "judged as of "+tt.want+", "+tt.source) {
				t.Errorf("%v\n%s", err, b.String())
			}
		})
	}
	r := run(t, Options{Config: config.Default(), Message: []byte(spoof), Client: netip.MustParseAddr("203.0.113.1"), MailFrom: new("")})
	if !strings.HasPrefix(r.TimeSource, "now") || time.Since(r.Evaluation.Time) > time.Hour {
		t.Errorf("%s, %s", r.Evaluation.Time, r.TimeSource)
	}
}

// TestTrustedHosts: the client is the one that the own hosts name, or none.
func TestTrustedHosts(t *testing.T) {
	hosts := []dns.Name{"mx.test"}
	answers, err := ParseZone("test", []byte(zoneText))
	if err != nil {
		t.Fatal(err)
	}
	const path = "Return-Path: <a@bank.example>\r\n"
	for name, tt := range map[string]struct{ received, want string }{
		"handed over on the host": {"Received: by mx.test (Postfix, from userid 0) id A; Thu, 1 Jan 2026 00:10:00 +0000\r\n", "skip"},
		"logged in":               {"Received: from x (x [203.0.113.1]) by mx.test (Postfix) with ESMTPSA id A\r\n", "skip"},
		"a client":                {"Received: from x (x [203.0.113.1]) by mx.test (Postfix) with ESMTP id A\r\n", "reject"},
		"not to be read":          {"Received: from x (over there) by mx.test with ESMTP id A\r\n", "error: unreadable"},
		"not by a trusted host":   {"Received: from x (x [203.0.113.1]) by their.test (Postfix) with ESMTP id A\r\n", "error: not by a trusted host"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Config: config.Default(), Message: []byte(path + tt.received + spoof), TrustedHosts: hosts, Zone: answers}
			r, err := Run(t.Context(), o)
			if want, fails := strings.CutPrefix(tt.want, "error: "); fails {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || string(r.Verdict.Action) != tt.want {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
