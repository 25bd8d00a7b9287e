package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/forwarders"
	"sekimori/internal/ledger"
	"sekimori/internal/readiness"
)

// reportOf returns a report in which every text of the store is this one.
func reportOf(text string) *readiness.Report {
	r := &readiness.Report{
		From: "2026-11-09", To: "2026-11-22", Days: 14, Seen: 14, Verdict: readiness.Rules, Reason: readiness.Reason{Text: "first these rules"}, Messages: 70_000, Fail: 5000, Reject: 3000, Quarantine: 1234,
		ByLooks:  []readiness.Part{{Looks: readiness.Spoof, Messages: 3}, {Looks: readiness.Author, Messages: 1}},
		Proposed: []readiness.Proposal{{Looks: readiness.Forwarded, Messages: 7, Rule: forwarders.Rule{ID: text, Owner: text, Reason: text, When: map[string][]string{"dkim": {text}}, Then: "accept"}}},
		Notes:    []readiness.Reason{{Text: text}},
	}
	for range readinessDomains + 2 {
		r.Domains = append(r.Domains, readiness.Domain{Domain: dns.Name(text), Policy: "reject", Signs: true, Networks: 4, Reject: 77, Broken: []ledger.Breakage{{Kind: "spf_broken", Subject: text, Evidence: text}},
			Streams: []readiness.Stream{{Looks: readiness.Spoof, Reason: readiness.Reason{Text: text}, Excepted: 6, Hosts: []readiness.Host{{Kind: "dkim", Value: text}, {Kind: "client", Value: text}}, Example: text}}})
	}
	return r
}

func TestReadiness(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/readiness", 200, "There is no store", "!<form", `aria-current="page">Readiness`)
	b.shows(t, "/readiness.html?lang=en", 404, "There is no store")
	var asked []int
	report := reportOf("list.example")
	b.remembers(Memory{Readiness: func(_ context.Context, days int) (*readiness.Report, error) {
		asked = append(asked, days)
		return report, nil
	}})
	b.shows(t, "/readiness", 200, `<p class="notice plain"><b>First these rules.</b>`, "70\u2009000", "4\u2009234", "spoof <b>3</b> <small>75 %", "the author&#39;s own mail <b>1</b>", "1 rule for policy.overrides",
		"list.example</a> <small>p=reject; 77 of", "it signs all of its mail; it sends from 4 networks", "the present rules let 6 through", "dkim list.example, client list.example", `<a href="/decision?id=list.example">`,
		"2 more domains", `<b class="v-reject">spoof</b>`, `/readiness.html?days=14&amp;lang=ja`, "spf_broken")
	w := b.get(t, "/readiness.html?days=14&lang=ja")
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="sekimori-readiness-2026-11-22.ja.html"` || !strings.Contains(w.Body.String(), "なりすまし") {
		t.Errorf("the page to hand on: %s\n%s", got, w.Body)
	}
	b.shows(t, "/readiness.html?days=14&lang=fr", 400, "lang is en or ja")
	b.shows(t, "/readiness.html?days=0&lang=en", 400, "1 to 400")
	b.shows(t, "/readiness?days=0", 400, "1 to 400")
	report = reportOf(hostile)
	report.Reason.Text, report.Verdict, report.Mode = hostile, readiness.Enforce, hostile
	b.shows(t, "/readiness?days=30", 200, `<p class="notice good">`, "&lt;script&gt;", "!<script>alert", "!<img", "!\x1b", "!\u202e", "!\u2066")
	report = &readiness.Report{Days: 60, Verdict: readiness.Wait, Reason: readiness.Reason{Text: "not yet: no mail was counted in these days"}}
	b.shows(t, "/readiness?days=60", 200, `<p class="notice "><b>Not yet: no mail`, `<option value="60" selected>`, "!Rules to add", "!By author domain", "!What would be hit")
	if !slices.Equal(asked, []int{14, 30, 60}) {
		t.Errorf("the store was asked for %d days", asked)
	}
}

// TestLooksClass: all looks have different colours.
func TestLooksClass(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range readiness.AllLooks {
		seen[looksClass(l)] = true
	}
	if len(seen) != len(readiness.AllLooks) || looksClass(hostile) != looksClass(readiness.Unclear) {
		t.Error(fmt.Sprint(seen))
	}
}
