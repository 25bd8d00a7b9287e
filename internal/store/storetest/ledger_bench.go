package storetest

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
	"sekimori/internal/stats"
)

// BenchmarkLedger measures the questions of readers on 10^6 days of domains (3,000 with -short). The figure
// is 5 s for each.
func BenchmarkLedger(b *testing.B, open func(testing.TB) LedgerStore) {
	days, domains, each := 30, 33_334, 16_667
	if testing.Short() {
		days, domains, each = 3, 1000, 500
	}
	s := open(b)
	const last = ledgerToday + 2 // 30 November
	began := time.Now()
	for day := range ledger.Day(days) {
		for part := range domains / each {
			addDomains(b, s, last-day, part, each)
		}
	}
	b.Logf("added %.0f rows/s", float64(2*days*domains)/time.Since(began).Seconds())
	all := ledger.Filter{From: last - ledger.Day(days), To: last}
	one := all
	one.Domain = "d000345.example"
	l := s.Ledger()
	b.Run("Top", func(b *testing.B) {
		counted(b, 100, 100, func() iter.Seq2[ledger.Sum, error] { return l.Sums(b.Context(), all, ledger.ByFail, 100) })
	})
	b.Run("Hits", func(b *testing.B) {
		counted(b, domains/2, domains, func() iter.Seq2[ledger.Hit, error] { return l.Hits(b.Context(), all) })
	})
	b.Run("All", func(b *testing.B) {
		counted(b, domains, domains, func() iter.Seq2[ledger.Sum, error] { return l.Sums(b.Context(), all, ledger.ByDomain, 0) })
	})
	b.Run("Domain", func(b *testing.B) {
		counted(b, days, days, func() iter.Seq2[ledger.Row, error] { return l.Rows(b.Context(), one) })
	})
	b.Run("Usual", func(b *testing.B) {
		for b.Loop() {
			if u, err := l.Usual(b.Context(), one.Domain, last); err != nil || u.Days != days {
				b.Fatal(u, err)
			}
		}
	})
	b.Run("Month", func(b *testing.B) {
		for b.Loop() {
			m, err := stats.Collect(b.Context(), l, stats.Options{Month: last.Time(), Classes: []dns.Name{"example", "co.jp"}, Now: last.Time().AddDate(0, 0, 1)})
			if err != nil || m.Classes[0].Domains != int64(domains) || len(m.Countries) != 60 {
				b.Fatal(err, m)
			}
		}
	})
}

// addDomains adds a day of so many domains. The totals of the day come with its first part.
func addDomains(b *testing.B, s LedgerStore, day ledger.Day, part, each int) {
	b.Helper()
	var d ledger.Delta
	for n := part * each; n < (part+1)*each; n++ {
		name := dns.Name(fmt.Sprintf("d%06d.example", n))
		r := ledger.Row{Day: day, Domain: name, Policy: "reject", First: 1, Last: 2, Example: "ABCD2345",
			Counts: ledger.Counts{Messages: int64(n), Pass: int64(n / 2), Fail: int64(n % 7)}, Signers: []ledger.Signer{{Domain: name, Selector: "s1", Pass: 9}}}
		r.Sources.AddNetwork(ledger.NetworkOf(Entry("a", "a", "192.0.2.1").Client))
		d.Rows = append(d.Rows, r)
		d.Authors = append(d.Authors, ledger.Author{Day: day, Domain: name, Owner: name, Pass: 20, Signed: 20, Both: 20})
	}
	if part == 0 {
		d.Totals, d.Figures = results(day)
	}
	if err := s.Add(b.Context(), Noon(), report.Batch{ID: fmt.Sprint(day, part), Current: Day(0), Ledger: d}); err != nil {
		b.Fatal(err)
	}
}

// counted measures a question whose answer has from least to most rows.
func counted[T any](b *testing.B, least, most int, ask func() iter.Seq2[T, error]) {
	b.Helper()
	for b.Loop() {
		n := 0
		for _, err := range ask() {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n < least || n > most {
			b.Fatal(n)
		}
	}
}

// results returns the totals and figures of a day: 300 and 260 of them.
func results(day ledger.Day) (totals []ledger.Total, figures []ledger.Figure) {
	for i := range 300 {
		totals = append(totals, ledger.Total{Day: day, SPF: fmt.Sprint(i % 7), DKIM: fmt.Sprint(i / 7 % 7), Policy: "reject", DMARC: "pass", Applied: "accept", Override: fmt.Sprint(i / 49), Messages: 1000})
	}
	for i := range 60 {
		for _, standing := range []string{ledger.StandingFail, ledger.StandingNothing, ledger.StandingOther, ledger.StandingPass} {
			figures = append(figures, ledger.Figure{Day: day, Kind: ledger.ByCountry, Word: string([]byte{'A' + byte(i/26), 'A' + byte(i%26)}), Result: standing, Messages: 100})
		}
	}
	for i := range 20 {
		figures = append(figures, ledger.Figure{Day: day, Kind: ledger.ByReason, Word: fmt.Sprintf("reason%02d", i), Result: "accept", Messages: 1000})
	}
	slices.SortFunc(totals, func(a, b ledger.Total) int { return a.Compare(&b) })
	return totals, figures
}
