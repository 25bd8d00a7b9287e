package readiness

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/forwarders"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
)

// example is a report in which every part of the text has something.
func example() *Report {
	d := func(n int64) Domain {
		return Domain{Domain: dns.Name(fmt.Sprintf("d%d.example", n)), Messages: 9, Pass: 8, Reject: n}
	}
	r := &Report{From: "2026-11-17", To: "2026-11-30", Days: 14, Seen: 13, Mode: policy.Monitor, Learned: "observe", Reason: newReason("days", 13, 14), Messages: 1000, Fail: 90, Reject: 60, Quarantine: 20,
		ByDomain: 75, MoreMessages: 5, ByLooks: []Part{{Author, 10}, {Forwarded, 20}, {Spoof, 35}, {Unclear, 5}}, Excepted: 4, Harsher: 1, Milder: 2, Harmed: 9, Left: 2,
		Proposed: []Proposal{{Looks: Forwarded, Messages: 7, Authors: 1, Rule: forwarders.Rule{ID: "list", Owner: "postmaster", Reason: "a list", Expires: "2027-02-28", When: map[string][]string{"dkim": {"l.example"}}, Then: "accept"}}},
		Notes:    []Reason{newReason("history_off")}}
	r.Domains = []Domain{
		{Domain: "a.example", Messages: 1, Pass: 0, Reject: 1, Signs: true, Networks: 1, Broken: []ledger.Breakage{{Kind: ledger.SelectorGone, Subject: "d=a.example s=s1", Evidence: "3 pass", First: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}},
			Streams: []Stream{{Looks: Forwarded, Reason: newReason("few_networks", 1), Messages: 1, Excepted: 1, Networks: 2, Hosts: []Host{{Kind: "dkim", Value: "l.example"}}, Example: "EXAMPLE4"}}},
		{Domain: "b.example", Messages: 20, Quarantine: 2, Signs: true, Streams: []Stream{{Looks: Spoof, Reason: newReason("hidden"), Messages: 2, Networks: 2, Hosts: []Host{{Kind: "client", Value: "c1"}, {Kind: "client", Value: "c2"}}}, {Looks: Unclear, Reason: newReason("shared"), Messages: 1}}},
		{Domain: "c.example", Messages: 20, Reject: 2, Quarantine: 2, Networks: 3},
	}
	for n := range int64(textDomains - 2) {
		r.Domains = append(r.Domains, d(n+1))
	}
	return r
}

// TestText compares a report with what is shown of it, to the letter.
func TestText(t *testing.T) {
	r := example()
	var want strings.Builder
	want.WriteString(`Not yet: 13 days of 14.

2026-11-17 to 2026-11-30 (13 of 14 days), mode: monitor, policy.learned: observe
1000 messages, of which 90 fail DMARC: 60 under p=reject and 20 under p=quarantine.
  10  14.3 % author's own mail
  20  28.6 % through a list or a forwarder
  35  50.0 % spoofs
   5   7.1 % unclear
The present rules and trusted sealers let 4 of these through. With policy.learned: use, 1 message would be treated more harshly and 2 more mildly.

Rules for policy.overrides. Look at each: is this a host that you know? They help 7 of 9 honest messages.

# 7 messages of 1 author: through a list or a forwarder
` + r.Proposed[0].Rule.YAML("") + `
a.example: 1 of 1 message hit (p=reject); 0 pass; it signs all of its mail and sends from 1 network
  broken since 2026-11-20: selector_gone d=a.example s=s1: 3 pass
       1 forwarded  comes from 1 network only, which may be new hosts of the domain
                    1 are let through by the present rules
                    dkim l.example (2 networks)
                    sekimori explain --id EXAMPLE4

b.example: 2 of 20 messages hit (p=quarantine); 0 pass; it signs all of its mail
       2 spoof      the client's address is not known here; see "Clients that cannot be known" in policy.md
                    client c1, client c2
       1 unclear    comes from a network of the domain, but in the name of another domain: the domain's own mail by a mistake, or another customer of its provider

c.example: 4 of 20 messages hit (p=reject, quarantine); 0 pass; it sends from 3 networks
`)
	for n := range textDomains - 3 {
		fmt.Fprintf(&want, "\nd%d.example: %d of 9 messages hit (p=reject); 8 pass\n", n+1, n+1)
	}
	want.WriteString("\n1 further domain; --json lists them.\n\nNote: history.what is off, so no message could be looked at.\n")
	for range 2 {
		var got bytes.Buffer
		if err := r.Text(&got); err != nil || got.String() != want.String() {
			t.Fatalf("%v\n%s\nwant\n%s", err, &got, &want)
		}
	}
	// What there is nothing of is not shown.
	var got bytes.Buffer
	r = &Report{Domains: example().Domains[:textDomains], Reason: newReason("no_mail")}
	if err := r.Text(&got); err != nil || !strings.Contains(got.String(), "c.example") || strings.Contains(got.String(), "Rules for") || strings.Contains(got.String(), "further domain") || strings.Contains(got.String(), "spoofs") || strings.Contains(got.String(), "Note") {
		t.Errorf("%v\n%s", err, &got)
	}
}

func TestLanguages(t *testing.T) {
	if !slices.Equal(Languages, []Language{"en", "ja"}) {
		t.Error(Languages)
	}
}

func TestPercent(t *testing.T) {
	if got := percent(1, 8) + percent(0, 0) + percent(0, 1); got != "12.5 %-0.0 %" {
		t.Error(got)
	}
}

// TestPage: the page has the same, in both languages, and the bars add up.
func TestPage(t *testing.T) {
	for l, want := range map[Language][]string{
		English:  {`lang="en"`, "May policies be enforced?", "not yet: 13 days of 14", "through a list or a forwarder", "comes from 1 network only"},
		Japanese: {`lang="ja"`, "送信ドメイン認証のポリシー適用の準備状況", "14日のうち13日分しかありません", "メーリングリスト・転送", "1のネットワークだけから"},
	} {
		var page bytes.Buffer
		if err := example().HTML(&page, l); err != nil {
			t.Fatal(err)
		}
		for _, s := range append(want, "a.example (p=", `<rect class="forwarded" x="0" y="0" width="100" height="4"/>`, `<rect class="forwarded" x="14.28`) {
			if !strings.Contains(page.String(), s) {
				t.Errorf("the page in %s lacks %s", l, s)
			}
		}
	}
	if got := fmt.Sprint(bars([]Part{{Author, 1}, {Forwarded, 0}, {Spoof, 3}})); got != "[{author 0 25 1} {spoof 25 75 3}]" {
		t.Error(got)
	}
	d := Domain{Streams: []Stream{{Looks: Spoof, Messages: 2}, {Looks: Author, Messages: 1}, {Looks: Spoof, Messages: 1}}}
	if got := fmt.Sprint(d.bars()); got != "[{author 0 25 1} {spoof 25 75 3}]" {
		t.Error(got)
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no room")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestNoRoom(t *testing.T) {
	if err := errors.Join(example().Text(full{}), nil); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := example().HTML(full{}, English); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

// TestReport: the sums of a report, from the numbers of the ledger.
func TestReport(t *testing.T) {
	j := New(Setup{Policy: policy.Config{Mode: policy.Monitor, Learned: "observe"}, Days: 3, Today: today})
	for _, x := range []ledger.Total{
		{Day: today, DMARC: "pass", Policy: dmarc.PolicyReject, Messages: 100}, {Day: today - 2, DMARC: "fail", Policy: dmarc.PolicyReject, Messages: 30},
		{Day: today - 3, DMARC: "fail", Policy: dmarc.PolicyQuarantine, Messages: 20}, {Day: today + 1, DMARC: "fail", Policy: dmarc.PolicyNone, Messages: 7},
	} {
		j.Total(x)
	}
	j.Hit(ledger.Hit{Domain: "small.example", Policy: dmarc.PolicyQuarantine, Counts: ledger.Counts{Messages: 9, Pass: 3, Harsher: 1, Milder: 2}, Reject: 1, Quarantine: 2})
	j.Hit(ledger.Hit{Domain: "large.example", Policy: dmarc.PolicyReject, Counts: ledger.Counts{Messages: 90, Pass: 30, Harsher: 3, Milder: 5}, Reject: 10, Quarantine: 20})
	j.Hit(ledger.Hit{Domain: "a-large.example", Policy: dmarc.PolicyReject, Counts: ledger.Counts{Messages: 90}, Reject: 30})
	j.Know("large.example", []ledger.Row{{Day: today, Domain: "large.example", Counts: ledger.Counts{Messages: 5}, Example: "OLD"}, {Day: today, Domain: "large.example", Example: "NEW"}, {Day: today}}, nil)
	j.Broken([]ledger.Breakage{{Domain: "large.example"}, {Domain: "unknown.example"}})
	j.more, j.moreMessages = 2, 11
	r := j.Report()
	if r.From != "2026-11-26" || r.To != "2026-11-28" || r.Days != 3 || r.Seen != 2 || r.Mode != policy.Monitor || r.Learned != "observe" || r.Messages != 157 || r.Fail != 57 || r.Reject != 30 || r.Quarantine != 20 ||
		r.Hits() != 50 || r.ByDomain != 3+30+30+11 || r.Harsher != 4 || r.Milder != 7 || r.More != 2 || r.MoreMessages != 11 || r.of(Unclear) != 63 || len(r.Domains) != 3 ||
		len(r.Notes) == 0 || r.Notes[len(r.Notes)-1].Text != "not judged: 2 further domains with 11 messages" {
		t.Errorf("%+v", r)
	}
	if d := r.Domains[1]; r.Domains[0].Domain != "a-large.example" || d.Domain != "large.example" || d.Policy != dmarc.PolicyReject || d.Messages != 90 || d.Pass != 30 || d.Reject != 10 || d.Quarantine != 20 ||
		d.Harsher != 3 || d.Milder != 5 || len(d.Broken) != 1 || len(d.Streams) != 1 || d.Streams[0].Example != "NEW" || d.Streams[0].Rejected != 10 || d.Streams[0].Quarantined != 20 || d.Streams[0].Messages != 30 {
		t.Errorf("%+v", r.Domains)
	}
}

// TestKnow: days with mail that passed, the keys that passed, and the networks.
func TestKnow(t *testing.T) {
	j := New(Setup{Today: today})
	network := netip.MustParsePrefix("192.0.2.0/24")
	j.Know("a.example", []ledger.Row{
		{Day: today - 1, Counts: ledger.Counts{Pass: 1}, Signers: []ledger.Signer{{Domain: "a.example", Selector: "s", Pass: 1}, {Domain: "a.example", Selector: "bad", Fail: 1}, {Domain: "a.example", Selector: ledger.Others, Pass: 9}}},
		{Day: today - 1, Counts: ledger.Counts{Pass: 2}}, {Day: today, Counts: ledger.Counts{Fail: 3}}, {Day: today - 2, Counts: ledger.Counts{Fail: 3}}, {Day: today, Counts: ledger.Counts{Pass: 1}},
	}, []ledger.Source{
		{Network: network, Last: today, Days: 0b111}, {Network: network, Last: today, Days: 1},
		{Network: netip.MustParsePrefix("192.0.3.0/24"), Last: today - ledger.UsualDays, Days: 1},
	})
	if o := j.owner("a.example"); o.days != 2 || o.counts.Pass != 4 || fmt.Sprint(o.keys) != "map[a.example s:true]" || o.networks[network] != 3 || o.networks[netip.MustParsePrefix("192.0.3.0/24")] != 0 {
		t.Errorf("%+v", o)
	}
}
