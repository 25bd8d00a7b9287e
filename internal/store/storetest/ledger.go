package storetest

import (
	"fmt"
	"iter"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
	"sekimori/internal/report"
)

// LedgerStore is a store with its ledger.
type LedgerStore interface {
	report.Store
	Ledger() ledger.Store
}

// RunLedger runs the suite for the ledger. Each test has a store of its own.
func RunLedger(t *testing.T, open func(testing.TB) LedgerStore) {
	for _, c := range []struct {
		name string
		test func(*testing.T, LedgerStore)
	}{
		{"Rows", testLedgerRows},
		{"Twice", testLedgerTwice},
		{"AtOnce", testLedgerAtOnce},
		{"Pages", testLedgerPages},
		{"Sums", testLedgerSums},
		{"Hits", testLedgerHits},
		{"Carried", testCarried},
		{"Totals", testLedgerTotals},
		{"Figures", testFigures},
		{"Sources", testLedgerSources},
		{"Usual", testUsual},
		{"MaxDomains", testMaxDomains},
		{"TrimMany", testTrimMany},
		{"AuthorDomains", testAuthorDomains},
		{"Expire", testLedgerExpire},
		{"Old", testLedgerOld},
		{"Breakages", testBreakages},
		{"Hostile", testLedgerHostile},
		{"Cancelled", testLedgerCancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// ledgerToday is the day of Noon.
const ledgerToday = ledger.Day(20785)

// Entry returns a message of an author domain that passed.
func Entry(author, owner string, client string) ledger.Entry {
	return ledger.Entry{Time: Noon(), Author: dns.Name(author), Owner: dns.Name(owner), Policy: dmarc.PolicyReject, Result: ledger.Pass, DKIM: true, SPF: true, Signed: true,
		Applied: policy.Accept, Client: netip.MustParseAddr(client), Signers: []ledger.Signer{{Domain: dns.Name(owner), Selector: "s1", Pass: 1}},
		Total: ledger.Total{SPF: "pass", DKIM: "pass", Policy: dmarc.PolicyReject, DMARC: "pass", Applied: "accept", Messages: 1}}
}

// failing returns a message that failed and was rejected.
func failing(author, owner, client string) ledger.Entry {
	x := Entry(author, owner, client)
	x.Result, x.DKIM, x.SPF, x.Signed, x.Applied, x.Example, x.Signers = ledger.Fail, false, false, false, policy.Reject, "ABCD2345", nil
	x.Total.SPF, x.Total.DKIM, x.Total.DMARC, x.Total.Applied = "softfail", "none", "fail", "reject"
	return x
}

// Delta adds up entries of one day.
func Delta(group string, maxDomains int64, day ledger.Day, entries ...ledger.Entry) ledger.Delta {
	t := ledger.NewTable()
	for i := range entries {
		t.Add(&entries[i], day)
	}
	return t.Take(group, maxDomains)
}

func addLedger(t *testing.T, s LedgerStore, id string, d ledger.Delta) {
	t.Helper()
	add(t, s, report.Batch{ID: id, Current: Day(0), Ledger: d})
}

// gather returns all elements of a stream.
func gather[T any](t *testing.T, stream iter.Seq2[T, error]) (out []T) {
	t.Helper()
	for x, err := range stream {
		ok(t, err)
		out = append(out, x)
	}
	return out
}

// everything selects all days.
var everything = ledger.Filter{From: -1000, To: 100_000}

func testLedgerRows(t *testing.T, s LedgerStore) {
	l := s.Ledger()
	same(t, "rows of an empty store", len(gather(t, l.Rows(t.Context(), everything))), 0)
	pass, fail := Entry("news.shop.example", "shop.example", "192.0.2.1"), failing("shop.example", "shop.example", "198.51.100.7")
	first := Delta("a", 0, ledgerToday, pass, fail, Entry("other.example", "other.example", "192.0.2.1"))
	pass.Client = netip.MustParseAddr("203.0.113.1")
	pass.Time, pass.Policy = pass.Time.Add(time.Hour), dmarc.PolicyNone
	pass.Signers = []ledger.Signer{{Domain: "shop.example", Selector: "s2", Fail: 1}, {Domain: "shop.example", Selector: "s1", Pass: 1}}
	second := Delta("a", 0, ledgerToday, pass)
	third := Delta("b", 0, ledgerToday, fail)
	fourth := Delta("a", 0, ledgerToday-1, fail)
	for i, d := range []ledger.Delta{first, second, third, fourth} {
		addLedger(t, s, fmt.Sprint(i), d)
	}
	got := gather(t, l.Rows(t.Context(), everything))
	if len(got) != 4 {
		t.Fatalf("%d rows, want 4: %+v", len(got), got)
	}
	want := second.Rows[0]
	want.Add(first.Rows[1].Counts)
	want.First, want.Example = first.Rows[1].First, "ABCD2345"
	want.Signers = []ledger.Signer{{Domain: "shop.example", Selector: "s1", Pass: 2}, {Domain: "shop.example", Selector: "s2", Fail: 1}}
	want.Sources.Merge(&first.Rows[1].Sources)
	same(t, "rows", got, []ledger.Row{fourth.Rows[0], first.Rows[0], want, third.Rows[0]})
	if n := math.Round(got[2].Sources.Estimate()); n != 3 {
		t.Errorf("%v networks, want 3", n)
	}
	list := func(f ledger.Filter) (out []string) {
		for _, r := range gather(t, l.Rows(t.Context(), f)) {
			out = append(out, fmt.Sprintf("%d %s %s", r.Day-ledgerToday, r.Domain, r.Group))
		}
		return out
	}
	same(t, "by domain", list(ledger.Filter{From: ledgerToday, To: ledgerToday, Domain: "shop.example"}), []string{"0 shop.example a", "0 shop.example b"})
	same(t, "by group", list(ledger.Filter{From: ledgerToday - 5, To: ledgerToday, Group: "a"}), []string{"-1 shop.example a", "0 other.example a", "0 shop.example a"})
	same(t, "by day", list(ledger.Filter{From: ledgerToday - 1, To: ledgerToday - 1}), []string{"-1 shop.example a"})
	same(t, "by a day without rows", len(list(ledger.Filter{From: ledgerToday + 1, To: ledgerToday + 10})), 0)
	for _, err := range l.Rows(t.Context(), everything) {
		ok(t, err)
		break // a reader that stops must not keep a connection
	}
}

func testLedgerTwice(t *testing.T, s LedgerStore) {
	d := Delta("a", 0, ledgerToday, Entry("shop.example", "shop.example", "192.0.2.1"), failing("x.example", "x.example", "192.0.2.1"))
	d.Dropped = []ledger.Dropped{{Day: ledgerToday, Group: "a", Messages: 3}}
	addLedger(t, s, "same", d)
	before := ledgerContents(t, s)
	addLedger(t, s, "same", d)
	same(t, "after the same batch", ledgerContents(t, s), before)
	addLedger(t, s, "other", d)
	after := ledgerContents(t, s)
	if reflect.DeepEqual(after, before) {
		t.Error("another batch changes nothing")
	}
}

// ledgerContents is all that a batch can change.
type ledgerContent struct {
	rows    []ledger.Row
	totals  []ledger.Total
	figures []ledger.Figure
	sources []ledger.Source
	authors []ledger.Author
	dropped []ledger.Dropped
	domains map[dmarc.Policy]float64
}

func ledgerContents(t *testing.T, s LedgerStore) (c ledgerContent) {
	t.Helper()
	l, ctx := s.Ledger(), t.Context()
	c.rows, c.totals = gather(t, l.Rows(ctx, everything)), gather(t, l.Totals(ctx, everything))
	c.figures = gather(t, l.Figures(ctx, everything))
	owners := map[dns.Name]bool{}
	for _, r := range c.rows {
		if owners[r.Domain] {
			continue
		}
		owners[r.Domain] = true
		sources, err := l.Sources(ctx, r.Domain, everything.From)
		ok(t, err)
		authors, err := l.Authors(ctx, r.Domain, everything.From)
		ok(t, err)
		c.sources, c.authors = append(c.sources, sources...), append(c.authors, authors...)
	}
	var err error
	c.dropped, err = l.Dropped(ctx, everything)
	ok(t, err)
	c.domains, err = l.AuthorDomains(ctx, everything)
	ok(t, err)
	return c
}

// testLedgerAtOnce adds overlapping parts from several daemons, each in its own order, and the same batch
// several times. The result must be that of one after the other.
func testLedgerAtOnce(t *testing.T, s LedgerStore) {
	const daemons, batches = 5, 8
	delta := func(daemon, i int) ledger.Delta {
		var all []ledger.Entry
		for n := range 30 {
			domain := fmt.Sprintf("d%d.example", (n+i*7)%40)
			x := Entry(domain, domain, fmt.Sprintf("192.0.%d.1", (n+daemon)%10))
			if n%3 == 0 {
				x = failing(domain, domain, "198.51.100.1")
			}
			all = append(all, x)
		}
		return Delta("g", 1000, ledgerToday-ledger.Day(i%2), all...)
	}
	atOnce(t, daemons, func(daemon int) error {
		for i := range batches {
			n := (daemon*3 + i) % batches
			b := report.Batch{ID: fmt.Sprintf("%d-%d", daemon, n), Current: Day(0), Ledger: delta(daemon, n)}
			for range 1 + n%2 {
				if err := s.Add(t.Context(), Noon(), b); err != nil {
					return err
				}
			}
		}
		return nil
	})
	type key struct {
		day    ledger.Day
		domain dns.Name
	}
	want, sources := map[key]ledger.Counts{}, map[string]ledger.Source{}
	var messages int64
	for daemon := range daemons {
		for i := range batches {
			d := delta(daemon, i)
			messages += d.Messages()
			for _, r := range d.Rows {
				c := want[key{r.Day, r.Domain}]
				c.Add(r.Counts)
				want[key{r.Day, r.Domain}] = c
			}
			for _, x := range d.Sources {
				k := string(x.Domain) + x.Network.String()
				if old, ok := sources[k]; ok {
					x = old.Merge(x)
				}
				sources[k] = x
			}
		}
	}
	got := ledgerContents(t, s)
	same(t, "number of rows", len(got.rows), len(want))
	for _, r := range got.rows {
		same(t, fmt.Sprintf("%s on day %d", r.Domain, r.Day), r.Counts, want[key{r.Day, r.Domain}])
		var signed int64
		for _, x := range r.Signers {
			signed += x.Pass
		}
		same(t, "signatures of "+string(r.Domain), signed, r.PassDKIM)
	}
	same(t, "number of sources", len(got.sources), len(sources))
	for _, x := range got.sources {
		same(t, "source", x, sources[string(x.Domain)+x.Network.String()])
	}
	var total int64
	for _, x := range got.totals {
		total += x.Messages
	}
	same(t, "messages in the totals", total, messages)
	total = 0
	for _, x := range got.figures {
		total += x.Messages
	}
	same(t, "messages in the figures", total, messages)
	if n := got.domains[dmarc.PolicyReject]; n < 38 || n > 42 {
		t.Errorf("about %v domains, want 40", n)
	}
}

// testLedgerPages reads more rows than fit into a page, of several days.
func testLedgerPages(t *testing.T, s LedgerStore) {
	const domains = 2500
	for day := range ledger.Day(3) {
		var all []ledger.Entry
		for n := range domains {
			domain := fmt.Sprintf("d%d.example", n)
			all = append(all, Entry(domain, domain, "192.0.2.1"))
		}
		addLedger(t, s, fmt.Sprint(day), Delta("g", 0, ledgerToday-day, all...))
	}
	rows := gather(t, s.Ledger().Rows(t.Context(), everything))
	same(t, "rows", len(rows), 3*domains)
	if !slices.IsSortedFunc(rows, func(a, b ledger.Row) int { return a.Compare(&b) }) {
		t.Error("the rows are not in order")
	}
	sums := gather(t, s.Ledger().Sums(t.Context(), everything, ledger.ByDomain, 0))
	same(t, "sums", len(sums), domains)
	same(t, "days", sums[7].Days, 3)
}

func testLedgerSums(t *testing.T, s LedgerStore) {
	add := func(day ledger.Day, group string, domain string, pass, fail int, published dmarc.Policy) {
		t.Helper()
		var all []ledger.Entry
		for range pass {
			all = append(all, Entry(domain, domain, "192.0.2.1"))
		}
		for range fail {
			all = append(all, failing(domain, domain, "192.0.2.1"))
		}
		for i := range all {
			all[i].Policy, all[i].Time = published, day.Time().Add(time.Hour)
		}
		addLedger(t, s, fmt.Sprint(day, group, domain), Delta(group, 0, day, all...))
	}
	add(ledgerToday, "a", "b.example", 5, 1, dmarc.PolicyQuarantine)
	add(ledgerToday-1, "a", "b.example", 2, 0, dmarc.PolicyReject)
	add(ledgerToday-1, "b", "b.example", 2, 0, dmarc.PolicyNone)
	add(ledgerToday, "a", "a.example", 0, 4, "")
	add(ledgerToday-2, "a", "c.example", 4, 0, dmarc.PolicyNone)
	sums := func(f ledger.Filter, by ledger.Order, limit int) (out []string) {
		t.Helper()
		for _, x := range gather(t, s.Ledger().Sums(t.Context(), f, by, limit)) {
			out = append(out, fmt.Sprintf("%s %d/%d/%d %s %d", x.Domain, x.Messages, x.Pass, x.Rejected, x.Policy, x.Days))
		}
		return out
	}
	a, b, c := "a.example 4/0/4  1", "b.example 10/9/1 quarantine 2", "c.example 4/4/0 none 1"
	same(t, "by messages", sums(everything, ledger.ByMessages, 0), []string{b, a, c})
	same(t, "by fails", sums(everything, ledger.ByFail, 0), []string{a, b, c})
	same(t, "by rejects", sums(everything, ledger.ByRejected, 2), []string{a, b})
	same(t, "by domain", sums(everything, ledger.ByDomain, 0), []string{a, b, c})
	same(t, "by quarantines", sums(everything, ledger.ByQuarantined, 1), []string{a})
	same(t, "of a group", sums(ledger.Filter{From: ledgerToday - 1, To: ledgerToday, Group: "b"}, ledger.ByMessages, 0), []string{"b.example 2/2/0 none 1"})
	same(t, "of a domain", sums(ledger.Filter{From: ledgerToday, To: ledgerToday, Domain: "b.example"}, ledger.ByMessages, 0), []string{"b.example 6/5/1 quarantine 1"})
	got := gather(t, s.Ledger().Sums(t.Context(), ledger.Filter{From: ledgerToday - 1, To: ledgerToday, Domain: "b.example"}, ledger.ByMessages, 0))[0]
	same(t, "first", got.First, (ledgerToday - 1).Time().Add(time.Hour).Unix())
	same(t, "last", got.Last, ledgerToday.Time().Add(time.Hour).Unix())
	for _, err := range s.Ledger().Sums(t.Context(), everything, ledger.ByMessages, 0) {
		ok(t, err)
		break
	}
}

func testLedgerTotals(t *testing.T, s LedgerStore) {
	pass, fail := Entry("shop.example", "shop.example", "192.0.2.1"), failing("shop.example", "shop.example", "192.0.2.1")
	unknown := ledger.Entry{Time: Noon(), Total: ledger.Total{SPF: "none", DKIM: "none", DMARC: "none", Applied: "tag", Override: "other", Messages: 1}}
	addLedger(t, s, "a", Delta("g", 0, ledgerToday, pass, pass, fail, unknown))
	addLedger(t, s, "b", Delta("g", 0, ledgerToday, pass))
	addLedger(t, s, "c", Delta("h", 0, ledgerToday-1, pass))
	got := gather(t, s.Ledger().Totals(t.Context(), ledger.Filter{From: ledgerToday, To: ledgerToday}))
	with := func(x ledger.Total, n int64) ledger.Total {
		x.Day, x.Group, x.Messages = ledgerToday, "g", n
		return x
	}
	same(t, "totals", got, []ledger.Total{with(unknown.Total, 1), with(pass.Total, 3), with(fail.Total, 1)})
	same(t, "of the other group", len(gather(t, s.Ledger().Totals(t.Context(), ledger.Filter{From: ledgerToday - 1, To: ledgerToday, Group: "h"}))), 1)
	same(t, "a domain that is unknown has no row", len(gather(t, s.Ledger().Rows(t.Context(), ledger.Filter{From: ledgerToday, To: ledgerToday}))), 1)
}
