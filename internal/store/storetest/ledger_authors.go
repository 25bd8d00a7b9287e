package storetest

import (
	"context"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
)

// testLedgerSources adds the days of a network in every order, and compares with Source.Merge.
func testLedgerSources(t *testing.T, s LedgerStore) {
	ctx, l := t.Context(), s.Ledger()
	for n, days := range [][]ledger.Day{{0, -1, -2}, {-2, -1, 0}, {-59, 0}, {0, -59}, {-40, -20, -40}} {
		domain := fmt.Sprintf("d%d.example", n)
		var want ledger.Source
		for i, day := range days {
			d := Delta("g", 0, ledgerToday+day, Entry(domain, domain, "2001:db8::1"))
			addLedger(t, s, fmt.Sprint(n, i), d)
			if i == 0 {
				want = d.Sources[0]
			} else {
				want = want.Merge(d.Sources[0])
			}
		}
		got, err := l.Sources(ctx, dns.Name(domain), 0)
		ok(t, err)
		same(t, fmt.Sprint(days), got, []ledger.Source{want})
		one, known, err := l.Known(ctx, dns.Name(domain), want.Network)
		ok(t, err)
		same(t, "one network", one, want)
		same(t, "known", known, true)
	}
	_, known, err := l.Known(ctx, "d0.example", netip.MustParsePrefix("192.0.2.0/24"))
	ok(t, err)
	same(t, "another network is known", known, false)

	addLedger(t, s, "x", Delta("g", 0, ledgerToday-3, Entry("b.shop.example", "shop.example", "192.0.2.1"), Entry("a.shop.example", "shop.example", "192.0.2.1")))
	addLedger(t, s, "y", Delta("g", 0, ledgerToday, Entry("b.shop.example", "shop.example", "203.0.113.1")))
	got, err := l.Sources(ctx, "shop.example", ledgerToday-3)
	ok(t, err)
	var list []string
	for _, x := range got {
		list = append(list, string(x.Domain)+" "+x.Network.String())
	}
	same(t, "of a domain and those below it", list, []string{"b.shop.example 203.0.113.0/24", "a.shop.example 192.0.2.0/24", "b.shop.example 192.0.2.0/24"})
	got, err = l.Sources(ctx, "shop.example", ledgerToday-2)
	ok(t, err)
	same(t, "since", len(got), 1)
}

func testUsual(t *testing.T, s LedgerStore) {
	l := s.Ledger()
	none, err := l.Usual(t.Context(), "shop.example", ledgerToday)
	ok(t, err)
	same(t, "of an unknown domain", none, ledger.Usual{Domain: "shop.example"})
	spfOnly := Entry("shop.example", "shop.example", "203.0.113.9")
	spfOnly.DKIM = false
	for day := range ledger.Day(40) {
		all := []ledger.Entry{Entry("shop.example", "shop.example", "192.0.2.1"), failing("shop.example", "shop.example", "198.51.100.1"), Entry("news.shop.example", "shop.example", "192.0.2.1")}
		if day == 3 {
			all = append(all, spfOnly)
		}
		addLedger(t, s, fmt.Sprint(day), Delta("g", 0, ledgerToday-day, all...))
	}
	got, err := l.Usual(t.Context(), "shop.example", ledgerToday)
	ok(t, err)
	same(t, "usual", got, ledger.Usual{Domain: "shop.example", Days: 30, Pass: 31, Signed: 30, Both: 30, Networks: []ledger.Network{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Days: 30}, {Prefix: netip.MustParsePrefix("203.0.113.0/24"), Days: 1}}})
	got, err = l.Usual(t.Context(), "shop.example", ledgerToday+5)
	ok(t, err)
	same(t, "days five days later", got.Days, 25)
	got, err = l.Usual(t.Context(), "shop.example", ledgerToday-5)
	ok(t, err)
	same(t, "networks five days ago, which were seen last today", len(got.Networks), 0)
}

// testMaxDomains fills a day. The least frequent domains go first, and their messages are counted.
func testMaxDomains(t *testing.T, s LedgerStore) {
	const limit = 20
	domain := func(n int) string { return fmt.Sprintf("d%02d.example", n) }
	for i := range 2 { // a domain has as many messages as its number
		var all []ledger.Entry
		for n := range 60 {
			for range n + 1 {
				all = append(all, Entry(domain(n), domain(n), "192.0.2.1"))
			}
		}
		addLedger(t, s, fmt.Sprint("x", i), Delta("g", limit, ledgerToday, all...))
	}
	rows := gather(t, s.Ledger().Rows(t.Context(), everything))
	same(t, "rows before they are trimmed", len(rows), limit+limit/ledger.Slack)
	var kept int64
	for _, r := range rows {
		kept += r.Messages
	}
	ok(t, s.Ledger().Expire(t.Context(), Noon(), limit))
	ok(t, s.Ledger().Expire(t.Context(), Noon(), limit)) // once more changes nothing
	rows = gather(t, s.Ledger().Rows(t.Context(), everything))
	same(t, "rows", len(rows), limit)
	var sum int64
	for _, r := range rows {
		sum += r.Messages
	}
	least := slices.MinFunc(rows, func(a, b ledger.Row) int { return int(a.Messages - b.Messages) })
	same(t, "the least frequent domain that stays", least.Domain, dns.Name(domain(limit/ledger.Slack)))
	dropped, err := s.Ledger().Dropped(t.Context(), everything)
	ok(t, err)
	same(t, "dropped", dropped, []ledger.Dropped{{Day: ledgerToday, Group: "g", Messages: 60*61 - sum}})
	addLedger(t, s, "y", Delta("g", limit, ledgerToday, Entry("new.example", "new.example", "192.0.2.1")))
	same(t, "rows after a new domain", len(gather(t, s.Ledger().Rows(t.Context(), everything))), limit+1)
}

// testTrimMany drops more domains than one transaction does.
func testTrimMany(t *testing.T, s LedgerStore) {
	const domains = 5002
	d := ledger.Delta{Rows: make([]ledger.Row, domains)}
	for n := range d.Rows {
		d.Rows[n] = ledger.Row{Day: ledgerToday, Domain: dns.Name(fmt.Sprintf("d%04d.example", n)), Group: "g", Counts: ledger.Counts{Messages: 2}}
	}
	d.Rows[77].Messages = 5
	addLedger(t, s, "a", d)
	ok(t, s.Ledger().Expire(t.Context(), Noon(), 1))
	rows := gather(t, s.Ledger().Rows(t.Context(), everything))
	if len(rows) != 1 || rows[0].Domain != "d0077.example" {
		t.Errorf("%d rows, the first of %s", len(rows), rows[0].Domain)
	}
	dropped, err := s.Ledger().Dropped(t.Context(), everything)
	ok(t, err)
	same(t, "dropped", dropped, []ledger.Dropped{{Day: ledgerToday, Group: "g", Messages: 2 * (domains - 1)}})
	addLedger(t, s, "b", Delta("g", 2, ledgerToday, Entry("x.example", "x.example", "192.0.2.1"), Entry("y.example", "y.example", "192.0.2.1")))
	same(t, "rows of a day that has room for one", len(gather(t, s.Ledger().Rows(t.Context(), everything))), 2)
}

func testAuthorDomains(t *testing.T, s LedgerStore) {
	for day := range ledger.Day(3) {
		var all []ledger.Entry
		for n := range 300 {
			domain := fmt.Sprintf("d%d.example", n+100*int(day))
			all = append(all, Entry(domain, domain, "192.0.2.1"))
			if n < 50 {
				all[n].Policy = ""
			}
		}
		addLedger(t, s, fmt.Sprint(day), Delta("g", 0, ledgerToday-day, all...))
	}
	for days, want := range map[ledger.Day][2]float64{0: {50, 250}, 2: {150, 450}} {
		got, err := s.Ledger().AuthorDomains(t.Context(), ledger.Filter{From: ledgerToday - days, To: ledgerToday})
		ok(t, err)
		for i, p := range []dmarc.Policy{"", dmarc.PolicyReject} {
			if math.Abs(got[p]-want[i]) > 0.06*want[i] {
				t.Errorf("%d days, policy %q: about %v domains, want %v", days+1, p, got[p], want[i])
			}
		}
	}
}

func testLedgerExpire(t *testing.T, s LedgerStore) {
	ctx, l := t.Context(), s.Ledger()
	// At the time of each day, as a daemon would have added it.
	addAt(t, s, Noon(), report.Batch{ID: "a", Current: Day(0), Ledger: Delta("g", 0, ledgerToday, Entry("shop.example", "shop.example", "192.0.2.1"))})
	var many []ledger.Entry
	for i := range ledger.MaxSources + 10 {
		many = append(many, Entry("many.example", "many.example", fmt.Sprintf("10.%d.%d.1", i/256, i%256)))
	}
	addAt(t, s, Noon(), report.Batch{ID: "b", Current: Day(0), Ledger: Delta("g", 0, ledgerToday, many...)})
	addAt(t, s, Noon().AddDate(0, 0, -1), report.Batch{ID: "c", Current: Day(-1), Ledger: Delta("g", 0, ledgerToday-1, Entry("many.example", "many.example", "192.0.2.1"))})
	days := func(n int) time.Time { return Noon().AddDate(0, 0, n) }
	ok(t, l.Expire(ctx, days(0), 0))
	sources, err := l.Sources(ctx, "many.example", 0)
	ok(t, err)
	same(t, "sources of a domain with too many", len(sources), ledger.MaxSources)
	if slices.ContainsFunc(sources, func(x ledger.Source) bool { return x.Last != ledgerToday }) {
		t.Error("the oldest source stays")
	}
	ok(t, l.Expire(ctx, days(ledger.KeepSources-1), 0))
	authors, err := l.Authors(ctx, "shop.example", 0)
	ok(t, err)
	same(t, "days of the author", len(authors), 1)
	ok(t, l.Expire(ctx, days(ledger.KeepSources), 0))
	authors, err = l.Authors(ctx, "shop.example", 0)
	ok(t, err)
	same(t, "days of the author afterwards", len(authors), 0)
	sources, err = l.Sources(ctx, "shop.example", 0)
	ok(t, err)
	same(t, "sources afterwards", len(sources), 0)
	ok(t, l.Expire(ctx, days(ledger.KeepDays-1), 0))
	same(t, "rows", len(gather(t, l.Rows(ctx, everything))), 2)
	same(t, "totals", len(gather(t, l.Totals(ctx, everything))), 1)
	ok(t, l.Expire(ctx, days(ledger.KeepDays), 0))
	same(t, "rows afterwards", len(gather(t, l.Rows(ctx, everything))), 0)
	same(t, "totals afterwards", len(gather(t, l.Totals(ctx, everything))), 0)
	domains, err := l.AuthorDomains(ctx, everything)
	ok(t, err)
	same(t, "sketches afterwards", len(domains), 0)
	addAt(t, s, days(ledger.KeepDays), report.Batch{ID: "d", Current: Day(ledger.KeepDays), Ledger: Delta("g", 0, ledgerToday+5, Entry("shop.example", "shop.example", "192.0.2.1"))})
	same(t, "rows of a day that is written again", len(gather(t, l.Rows(ctx, everything))), 1)
}

// testLedgerOld adds what a spool kept for too long.
func testLedgerOld(t *testing.T, s LedgerStore) {
	d := Delta("g", 0, ledgerToday-ledger.KeepDays, Entry("shop.example", "shop.example", "192.0.2.1"))
	addLedger(t, s, "a", d)
	d = Delta("g", 0, ledgerToday-ledger.KeepSources, Entry("shop.example", "shop.example", "192.0.2.1"))
	addLedger(t, s, "b", d)
	got := ledgerContents(t, s)
	same(t, "rows", len(got.rows), 1)
	same(t, "sources", len(got.sources), 0)
	same(t, "authors", len(got.authors), 0)
}

func testBreakages(t *testing.T, s LedgerStore) {
	ctx, l := t.Context(), s.Ledger()
	a := ledger.Breakage{Domain: "b.example", Kind: ledger.SignatureFails, Subject: "s=x d=b.example", First: Noon(), Last: Noon(), Evidence: "5 of 90", Example: "ABC"}
	b := ledger.Breakage{Domain: "a.example", Kind: ledger.PassShareFallen, First: Noon(), Last: Noon()}
	ok(t, l.SetBreakage(ctx, a))
	ok(t, l.SetBreakage(ctx, b))
	list := func(since time.Time) []ledger.Breakage {
		t.Helper()
		all, err := l.Breakages(ctx, since)
		ok(t, err)
		return all
	}
	same(t, "breakages", list(Noon()), []ledger.Breakage{b, a})
	a.Last, a.Ended, a.Evidence = Noon().Add(time.Hour), Noon().Add(2*time.Hour), "90 of 90"
	ok(t, l.SetBreakage(ctx, a))
	same(t, "with one that ended", list(Noon()), []ledger.Breakage{b, a})
	same(t, "without it", list(Noon().Add(2*time.Hour)), []ledger.Breakage{b})
	ok(t, l.Expire(ctx, Noon().AddDate(0, 0, ledger.KeepSources+1), 0))
	same(t, "afterwards", list(time.Time{}), []ledger.Breakage{b})
}

// testLedgerHostile stores strings that databases do not like.
func testLedgerHostile(t *testing.T, s LedgerStore) {
	l := s.Ledger()
	var all []ledger.Entry
	names := []string{"\x00.example", "\xff\xfe.example", `\x00.example`, `\.example`, "'; DROP TABLE ledger; --", "%s.example", "a\x00b.example", "\u202e.example", string(make([]byte, 253)), "é.example"}
	for _, n := range names {
		x := failing(n, n, "192.0.2.1")
		x.Example = n
		x.Signers = []ledger.Signer{{Domain: dns.Name(n), Selector: n, Fail: 1}}
		all = append(all, x)
		x = Entry(n, n, "192.0.2.1")
		x.Signers = nil
		all = append(all, x)
	}
	d := Delta("g\x00'", 0, ledgerToday, all...)
	addLedger(t, s, "a", d)
	addLedger(t, s, "b", d)
	rows := gather(t, l.Rows(t.Context(), everything))
	same(t, "rows", len(rows), len(names))
	for _, n := range names {
		i := slices.IndexFunc(rows, func(r ledger.Row) bool { return string(r.Domain) == n })
		if i < 0 {
			t.Errorf("%q is not there", n)
			continue
		}
		r := rows[i]
		same(t, "messages", r.Messages, int64(4))
		same(t, "example", r.Example, n)
		same(t, "signers", r.Signers, []ledger.Signer{{Domain: dns.Name(n), Selector: n, Fail: 2}})
		u, err := l.Usual(t.Context(), dns.Name(n), ledgerToday)
		ok(t, err)
		same(t, fmt.Sprintf("passes of %q", n), u.Pass, int64(2))
		sources, err := l.Sources(t.Context(), dns.Name(n), 0)
		ok(t, err)
		if len(sources) != 1 || sources[0].Owner != dns.Name(n) {
			t.Errorf("sources of %q: %+v", n, sources)
		}
		ok(t, l.SetBreakage(t.Context(), ledger.Breakage{Domain: dns.Name(n), Kind: ledger.SPFBroken, Subject: n, First: Noon(), Last: Noon(), Evidence: n, Example: n}))
	}
	breakages, err := l.Breakages(t.Context(), Noon())
	ok(t, err)
	same(t, "breakages", len(breakages), len(names))
	same(t, "sums", len(gather(t, l.Sums(t.Context(), ledger.Filter{From: 0, To: 30000, Group: "g\x00'"}, ledger.ByMessages, 0))), len(names))
}

func testLedgerCancelled(t *testing.T, s LedgerStore) {
	addLedger(t, s, "a", Delta("g", 0, ledgerToday, Entry("shop.example", "shop.example", "192.0.2.1")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := s.Ledger()
	last := func(stream iter.Seq2[ledger.Row, error]) (err error) {
		for _, err = range stream {
		}
		return err
	}
	for name, call := range map[string]func() error{
		"Rows": func() error { return last(l.Rows(ctx, everything)) },
		"Sums": func() (err error) {
			for _, err = range l.Sums(ctx, everything, ledger.ByDomain, 0) {
			}
			return err
		},
		"Totals": func() (err error) {
			for _, err = range l.Totals(ctx, everything) {
			}
			return err
		},
		"Figures": func() (err error) {
			for _, err = range l.Figures(ctx, everything) {
			}
			return err
		},
		"Hits": func() (err error) {
			for _, err = range l.Hits(ctx, everything) {
			}
			return err
		},
		"Carried": func() error {
			_, err := l.Carried(ctx, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, 0)
			return err
		},
		"Sources":       func() error { _, err := l.Sources(ctx, "shop.example", 0); return err },
		"Authors":       func() error { _, err := l.Authors(ctx, "shop.example", 0); return err },
		"Usual":         func() error { _, err := l.Usual(ctx, "shop.example", ledgerToday); return err },
		"Dropped":       func() error { _, err := l.Dropped(ctx, everything); return err },
		"AuthorDomains": func() error { _, err := l.AuthorDomains(ctx, everything); return err },
		"Expire":        func() error { return l.Expire(ctx, Noon(), 10) },
		"Breakages":     func() error { _, err := l.Breakages(ctx, Noon()); return err },
		"SetBreakage":   func() error { return l.SetBreakage(ctx, ledger.Breakage{Domain: "shop.example"}) },
	} {
		wants(t, name, call(), context.Canceled)
	}
	same(t, "rows", len(gather(t, l.Rows(t.Context(), everything))), 1)
}
