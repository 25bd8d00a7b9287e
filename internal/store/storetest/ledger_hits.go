package storetest

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

func testLedgerHits(t *testing.T, s LedgerStore) {
	l := s.Ledger()
	same(t, "hits of an empty store", len(gather(t, l.Hits(t.Context(), everything))), 0)
	day := func(day ledger.Day, domain string, published dmarc.Policy, pass, fail int) {
		t.Helper()
		var all []ledger.Entry
		for range pass {
			all = append(all, Entry(domain, domain, "192.0.2.1"))
		}
		for range fail {
			all = append(all, failing(domain, domain, "198.51.100.1"))
		}
		for i := range all {
			all[i].Policy, all[i].Time = published, day.Time().Add(time.Hour)
		}
		addLedger(t, s, fmt.Sprint(domain, day), Delta("g", 0, day, all...))
	}
	day(ledgerToday-1, "b.example", dmarc.PolicyReject, 1, 3)
	day(ledgerToday, "b.example", dmarc.PolicyNone, 0, 2)
	day(ledgerToday-1, "a.example", dmarc.PolicyQuarantine, 2, 3)
	day(ledgerToday-1, "c.example", dmarc.PolicyReject, 0, 1)
	day(ledgerToday, "c.example", dmarc.PolicyQuarantine, 1, 8)
	day(ledgerToday, "none.example", dmarc.PolicyNone, 1, 9)
	day(ledgerToday, "absent.example", "", 1, 9)
	day(ledgerToday, "fine.example", dmarc.PolicyReject, 9, 0)
	hits := func(f ledger.Filter) (out []string) {
		t.Helper()
		for _, h := range gather(t, l.Hits(t.Context(), f)) {
			out = append(out, fmt.Sprintf("%s %d/%d/%d %d+%d %s", h.Domain, h.Messages, h.Pass, h.Fail, h.Reject, h.Quarantine, h.Policy))
		}
		return out
	}
	same(t, "hits", hits(everything), []string{"c.example 10/1/9 1+8 quarantine", "a.example 5/2/3 0+3 quarantine", "b.example 6/1/5 3+0 none"})
	same(t, "of a day", hits(ledger.Filter{From: ledgerToday, To: ledgerToday}), []string{"c.example 9/1/8 0+8 quarantine"})
	same(t, "of a domain", hits(ledger.Filter{From: 0, To: ledgerToday, Domain: "a.example"}), []string{"a.example 5/2/3 0+3 quarantine"})
	same(t, "of another group", len(hits(ledger.Filter{From: 0, To: ledgerToday, Group: "h"})), 0)
	for _, err := range l.Hits(t.Context(), everything) {
		ok(t, err)
		break
	}
}

func testCarried(t *testing.T, s LedgerStore) {
	l := s.Ledger()
	var all []ledger.Entry
	for n := range ledger.MaxCarried + 5 {
		domain := fmt.Sprintf("d%02d.example", n)
		all = append(all, Entry(domain, domain, "203.0.113.9"))
	}
	all = append(all, Entry("a.shop.example", "shop.example", "192.0.2.1"), Entry("b.shop.example", "shop.example", "192.0.2.2"),
		Entry("shop.example", "shop.example", "2001:db8:1::9"), failing("x.example", "x.example", "198.51.100.1"))
	addLedger(t, s, "a", Delta("g", 0, ledgerToday, all...))
	addLedger(t, s, "b", Delta("g", 0, ledgerToday-9, Entry("old.example", "old.example", "192.0.2.1")))
	networks := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("2001:db8:1::/48")}
	for n := range 2500 { // more than one query asks for
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24))
	}
	got, err := l.Carried(t.Context(), networks, ledgerToday-3)
	ok(t, err)
	same(t, "networks", len(got), 3)
	same(t, "one with many", len(got[networks[0]]), ledger.MaxCarried)
	same(t, "the first of them", got[networks[0]][0], dns.Name("d00.example"))
	same(t, "one", got[networks[1]], []dns.Name{"shop.example"})
	same(t, "IPv6", got[networks[3]], []dns.Name{"shop.example"})
	got, err = l.Carried(t.Context(), networks[1:2], 0)
	ok(t, err)
	same(t, "since a longer time", got[networks[1]], []dns.Name{"old.example", "shop.example"})
	got, err = l.Carried(t.Context(), nil, 0)
	ok(t, err)
	same(t, "no networks", len(got), 0)
}
