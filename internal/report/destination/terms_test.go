package destination

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/testkit/nameserver"
)

// TestIsListing checks which answers of a block list count, at the edges of the two networks.
func TestIsListing(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.0": true, "127.0.0.1": true, "127.255.254.255": true, "127.255.255.0": false, "127.255.255.255": false,
		"126.255.255.255": false, "128.0.0.0": false, "::1": false,
	} {
		if got := isListing(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t", addr, got)
		}
	}
	if isListing(netip.Addr{}) {
		t.Error("no address")
	}
}

// TestMatching checks which entries of a list match a policy domain, and which match a destination.
func TestMatching(t *testing.T) {
	const policyDomain, destination = "", "Rua@shop.example"
	for _, tt := range []struct {
		entry   string
		domain  dns.Name
		address string
		want    bool
	}{
		{"shop.example", "shop.example", policyDomain, true},
		{"SHOP.example", "shop.example", policyDomain, true},
		{"shop.example", "shop.example", destination, false},
		{"shop.example", "a.shop.example", policyDomain, false},
		{".example", "shop.example", policyDomain, true},
		{".example", "shop.example", destination, true},
		{".shop.example", "shop.example", policyDomain, false},
		{".shop.example", "shop.example", destination, false},
		{"@shop.example", "shop.example", policyDomain, false},
		{"@Shop.Example", "shop.example", destination, true},
		{"@example", "shop.example", destination, false},
		{"rua@shop.example", "shop.example", policyDomain, false},
		{"RUA@Shop.example", "shop.example", destination, true},
		{"ruf@shop.example", "shop.example", destination, false},
		{"", "shop.example", policyDomain, false},
		{"", "shop.example", destination, false},
		{".", "shop.example", policyDomain, false},
		{"@", "shop.example", destination, false},
	} {
		want := ""
		if tt.want {
			want = tt.entry
		}
		if got := matching([]string{"other.test", tt.entry}, tt.domain, tt.address); got != want {
			t.Errorf("entry %q, domain %s, address %q: %q", tt.entry, tt.domain, tt.address, got)
		}
	}
}

// TestIsHost checks which names can be the domain of an address.
func TestIsHost(t *testing.T) {
	for name, want := range map[dns.Name]bool{
		"a.example": true, "a-b.example": true, "1.example": true, "a.1x": true, "": false, "a.1": false, "a.123": false, "a_b.example": false,
		"-a.example": false, "a-.example": false, "a.-example": false, "a..example": false, ".example": false,
	} {
		if got := isHost(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

// TestKindOfFailure checks which failures of a lookup are permanent, and the word for each.
func TestKindOfFailure(t *testing.T) {
	for _, tt := range []struct {
		err       error
		kind      string
		permanent bool
	}{
		{&dns.Error{Kind: dns.KindTimeout}, "timeout", false},
		{&dns.Error{Kind: dns.KindLoop}, "loop", true},
		{fmt.Errorf("x: %w", &dns.Error{Kind: dns.KindTooLarge}), "too_large", true},
		{&dmarc.DNSError{Kind: "timeout"}, "timeout", false},
		{&dmarc.DNSError{Kind: "walk_limit"}, "walk_limit", false},
		{&dmarc.DNSError{Kind: "loop"}, "loop", true},
		{fmt.Errorf("x: %w", &dmarc.DNSError{Kind: "too_large"}), "too_large", true},
		{errors.New("x"), "failed", false},
	} {
		if got := kind(tt.err); got != tt.kind || permanent(tt.err) != tt.permanent {
			t.Errorf("%v: %s, permanent %t", tt.err, got, permanent(tt.err))
		}
		want := report.Waiting
		if tt.permanent {
			want = report.WithheldListed
		}
		if d := later(Destination{}, report.WithheldListed, "it", tt.err); d.Word != want || d.Detail != "it could not be looked up: "+tt.kind || d.NoServer {
			t.Errorf("%v: %+v", tt.err, d)
		}
	}
}

// TestNoServer checks that only a domain without a mail server is noted as such.
func TestNoServer(t *testing.T) {
	for _, tt := range []struct {
		why, zone string
		want      bool
	}{
		{"a server", base, false},
		{"null MX", strings.Replace(base, "10 mx.shop.example", "0 .", 1), true},
		{"no address", strings.Replace(base, "MX 10 mx.shop.example", "TXT x", 1), true},
		{"no such domain", record("mailto:a@none.shop.example"), true},
		{"a failure", base + "! shop.example MX timeout", false},
		{"a failure for good", record("mailto:a@sub.shop.example") + "sub.shop.example CNAME sub.shop.example\n", false},
		{"an address that is not used", record("https://shop.example/"), false},
	} {
		d := decide(t, tt.zone, Settings{Send: true}, wanted())
		if len(d.Destinations) != 1 || d.Destinations[0].NoServer != tt.want {
			t.Errorf("%s: %+v", tt.why, d.Destinations)
		}
	}
}

// TestEvidenceNamesSome checks that the evidence of a rule names the first destinations, counts the others,
// and begins with those that the rule took out.
func TestEvidenceNamesSome(t *testing.T) {
	for n, more := range map[int]string{maxNamed: "", maxNamed + 1: "; and 1 more"} {
		c := decider{}
		for i := range n {
			c.d.Destinations = append(c.d.Destinations, Destination{Address: fmt.Sprintf("a%d@shop.example", i), Detail: "usable"})
		}
		c.d.Destinations = append(c.d.Destinations, Destination{Address: "z@shop.example", Word: report.WithheldNever, Detail: "never"})
		last := &c.d.Destinations[n-1]
		last.Word, last.Address, last.URI, last.Detail = report.WithheldUnusable, "", "https://shop.example/", "not a mailto URI"
		want := "https://shop.example/: not a mailto URI"
		for i := range maxNamed - 1 {
			want += fmt.Sprintf("; a%d@shop.example: usable", i)
		}
		if got := c.summary(report.WithheldUnusable); got != want+more {
			t.Errorf("%d destinations: %q, want %q", n, got, want+more)
		}
	}
	waits := decider{d: Decision{Destinations: []Destination{{Address: "a@shop.example", Detail: "usable"},
		{Address: "b@shop.example", Word: report.Waiting, Detail: "timeout"}}}}
	if got, want := waits.summary(report.WithheldListed), "b@shop.example: timeout; a@shop.example: usable"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestShownIsBounded checks the length of a stranger's text in a sentence.
func TestShownIsBounded(t *testing.T) {
	if got := shown(strings.Repeat("x", maxShown)); got != strings.Repeat("x", maxShown) {
		t.Errorf("the longest text became %q", got)
	}
	if got := shown(strings.Repeat("x", maxShown+1)); len(got) > maxShown+len("...") {
		t.Errorf("a longer text has %d octets", len(got))
	}
	if got := shown("a\nb"); got != `"a\nb"` {
		t.Errorf("a line end became %s", got)
	}
}

// TestStateOfRules checks the state of each rule about destinations, where some are left, none, or some wait.
func TestStateOfRules(t *testing.T) {
	two := record("mailto:a@shop.example,mailto:b@esp.example") + "shop.example._report._dmarc.esp.example TXT \"v=DMARC1\"\n"
	lists := []dns.Name{"dbl.example"}
	for _, tt := range []struct {
		why, zone string
		word      report.Word
		state     RuleState
		reason    bool // that of the whole report
	}{
		{"both agreed", two, report.WithheldUnverified, RulePassed, false},
		{"one did not agree", record("mailto:a@shop.example,mailto:b@esp.example"), report.WithheldUnverified, RulePassed, false},
		{"none agreed", record("mailto:a@esp.example,mailto:b@esp.example"), report.WithheldUnverified, RuleApplies, true},
		{"one may agree", two + "! shop.example._report._dmarc.esp.example TXT timeout", report.WithheldUnverified, RuleLater, false},
		{"one may agree, which rules after it leave as it is", two + "! shop.example._report._dmarc.esp.example TXT timeout", report.WithheldUndeliverable, RulePassed, false},
		{"one may agree, and the other is gone", two + "! shop.example._report._dmarc.esp.example TXT timeout\nshop.example.dbl.example A 127.0.0.2",
			report.WithheldListed, RulePassed, false},
		{"both are listed", two + "shop.example.dbl.example A 127.0.0.2", report.WithheldListed, RuleApplies, true},
		{"the list does not answer", two + "! shop.example.dbl.example A timeout", report.WithheldListed, RuleLater, true},
	} {
		d := decide(t, tt.zone, Settings{Send: true, DNSBL: lists}, wanted())
		i := slices.IndexFunc(d.Rules, func(r Rule) bool { return r.Word == tt.word })
		if r := d.Rules[i]; r.State != tt.state || r.Evidence == "" || (d.Reason == r.Evidence) != tt.reason {
			t.Errorf("%s: %+v, reason %q", tt.why, r, d.Reason)
		}
	}
}

// TestWaitsForTheFirst checks that a report without a destination waits if one of them may still be found, and
// that the reason is the rule which has to wait.
func TestWaitsForTheFirst(t *testing.T) {
	zone := record("mailto:a@shop.example,mailto:b@esp.example") + "! shop.example._report._dmarc.esp.example TXT timeout\n" +
		"shop.example.dbl.example A 127.0.0.2"
	d := decide(t, zone, Settings{Send: true, DNSBL: []dns.Name{"dbl.example"}}, wanted())
	if got, want := show(d), "waiting: a@shop.example=listed b@esp.example=waiting"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := "b@esp.example: the agreement at shop.example._report._dmarc.esp.example could not be looked up: timeout"; !strings.Contains(d.Reason, want) {
		t.Errorf("reason %q, want %q in it", d.Reason, want)
	}
}

// TestStopsAtTheFirstFailure checks that the store is not asked again after it failed.
func TestStopsAtTheFirstFailure(t *testing.T) {
	asked := 0
	f := wanted()
	f.Suppression = func(context.Context, string) (report.Suppression, error) {
		asked++
		return report.Suppression{}, errors.New("gone")
	}
	d, err := Decide(t.Context(), nameserver.Zone(t, record("mailto:a@shop.example,mailto:b@shop.example")), Settings{Send: true}, f, now)
	if err == nil || asked != 1 || d.Word != "" {
		t.Errorf("%v after %d questions, word %q", err, asked, d.Word)
	}
}

// TestZonesAreBounded checks how many block lists are asked.
func TestZonesAreBounded(t *testing.T) {
	for n, want := range map[int]int{MaxZones - 1: MaxZones - 1, MaxZones: MaxZones, MaxZones + 1: MaxZones} {
		s := Settings{Send: true}
		for i := range n {
			s.DNSBL = append(s.DNSBL, dns.Name(fmt.Sprintf("list%d.test", i)))
		}
		z := nameserver.Zone(t, base)
		if _, err := Decide(t.Context(), z, s, wanted(), now); err != nil {
			t.Fatal(err)
		}
		asked := 0
		for _, q := range z.Queries() {
			if strings.HasPrefix(q, "shop.example.list") {
				asked++
			}
		}
		if asked != want { // the domain and its destination are the same, so each list is asked once
			t.Errorf("%d lists: %d questions", n, asked)
		}
	}
}
