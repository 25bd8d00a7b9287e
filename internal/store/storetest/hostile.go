package storetest

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// hostile has strings of the kind that senders of mail try.
func hostile() []string {
	return []string{
		"a\x00b", "\x00", "\xff\xfe\x80", "\xed\xa0\x80", "'; DROP TABLE job; --", `"`, `\`, `\x00`, `\N`, "$1", "?", ":a", "%s%n", "\r\nBcc: x@y.example", "\t", " ",
		"日本語", "\u202e\u2028", "e\u0301", "A.EXAMPLE", strings.Repeat("x", 4000), strings.Repeat("\x00", 4000), strings.Repeat("'", 4000), "NULL", "{}", "[]", "\ufffd",
	}
}

// testHostile puts hostile strings into each text of a row. They must come back as they were.
func testHostile(t *testing.T, s report.Store) {
	var rows []report.Row
	for _, x := range hostile() {
		for place := range 9 {
			r := Row(1)
			r.Reasons = []report.Reason{{Type: "other", Comment: "b"}}
			*[]*string{(*string)(&r.HeaderFrom), (*string)(&r.EnvelopeFrom), (*string)(&r.EnvelopeTo), &r.Reasons[0].Type, &r.Reasons[0].Comment,
				&r.AuthDKIM[1].Selector, &r.AuthDKIM[1].Human, &r.AuthSPF.Domain, &r.AuthSPF.Human}[place] = x
			rows = append(rows, r)
		}
	}
	rows = sorted(rows)
	for i := range rows {
		rows[i].Count = int64(i) + 1<<40
	}
	add(t, s, Batch("a", Tally(Policy("shop.example"), Day(0), rows)))
	same(t, "rows", rowsOf(t, s, onlyJob(t, s, report.Filter{}).ID), rows)
}

// testHostileOthers puts hostile strings everywhere else. No call may fail, and what was stored must be
// found by the same string again.
func testHostileOthers(t *testing.T, s report.Store) {
	ctx := t.Context()
	for i, x := range hostile() {
		p := Policy(x)
		p.FO, p.Invalid = x, x
		b := Batch(fmt.Sprint(i), Tally(p, Day(0), Rows(0, 1)))
		b.Seen = []report.Sighting{{Domain: dns.Name(x), Day: 100, Kind: report.SeenPass}}
		add(t, s, b)
		seen, err := s.Seen(ctx, dns.Name(x), 100)
		ok(t, err)
		same(t, fmt.Sprintf("days of %.20q", x), seen.PassDays, 1)
		found := false
		for _, j := range jobs(t, s, report.Filter{Domain: dns.Name(x)}) {
			found = found || len(rowsOf(t, s, j.ID)) == 1
		}
		if !found {
			t.Errorf("%.20q: no job is found by its domain", x)
		}
		same(t, "jobs", len(jobs(t, s, report.Filter{})), i+1)

		for range 2 {
			ok(t, s.Suppress(ctx, report.Suppression{Target: x, Reason: x, By: "bounce"}))
		}
		_, err = s.Suppression(ctx, x)
		ok(t, err)
		ok(t, s.Unsuppress(ctx, x))
		all, err := s.Suppressions(ctx)
		ok(t, err)
		same(t, "suppressions", len(all), 0)
	}
	job := jobs(t, s, report.Filter{Limit: 1})[0].ID
	for _, x := range hostile() {
		first, err := s.SetDelivery(ctx, report.Delivery{Job: job, Address: x, Word: report.WithheldUnusable, Detail: x, Reply: x})
		ok(t, err)
		second, err := s.SetDelivery(ctx, report.Delivery{Job: job, Address: x, Detail: "again"})
		ok(t, err)
		same(t, fmt.Sprintf("id of the delivery to %.20q", x), second, first)
		got, err := s.Delivery(ctx, first)
		ok(t, err)
		same(t, "detail", got.Detail, "again")
	}
	for {
		j, err := s.Claim(ctx, closed(Day(0)), "sender", 0)
		if err != nil {
			wants(t, "the last claim", err, report.ErrNone)
			break
		}
		ok(t, s.Finish(ctx, j, report.Outcome{Word: report.Failed, Reason: string(j.Policy.Domain)}))
	}
}
