package senders

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

var now = time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC)

// memory is a ledger in memory, with rows in order.
type memory struct {
	ledger.Store
	rows      []ledger.Row
	sources   []ledger.Source
	breakages []ledger.Breakage
}

func (m *memory) Rows(_ context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		for _, r := range m.rows {
			if r.Domain == f.Domain && r.Day >= f.From && r.Day <= f.To && !yield(r, nil) {
				return
			}
		}
	}
}

func (m *memory) Sums(_ context.Context, f ledger.Filter, _ ledger.Order, limit int) iter.Seq2[ledger.Sum, error] {
	sums := map[dns.Name]*ledger.Sum{}
	for _, r := range m.rows {
		if f.Domain != "" && r.Domain != f.Domain || r.Day < f.From || r.Day > f.To {
			continue
		}
		if sums[r.Domain] == nil {
			sums[r.Domain] = &ledger.Sum{Domain: r.Domain, First: r.First}
		}
		s := sums[r.Domain]
		s.Add(r.Counts)
		s.Days, s.Last, s.Policy = s.Days+1, r.Last, r.Policy
	}
	var all []ledger.Sum
	for _, s := range sums {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b ledger.Sum) int {
		if a.Messages != b.Messages {
			return int(b.Messages - a.Messages)
		}
		return strings.Compare(string(a.Domain), string(b.Domain))
	})
	return func(yield func(ledger.Sum, error) bool) {
		for _, s := range all[:min(len(all), limit)] {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func (m *memory) Sources(_ context.Context, owner dns.Name, _ ledger.Day) (all []ledger.Source, err error) {
	for _, s := range m.sources {
		if s.Owner == owner {
			all = append(all, s)
		}
	}
	return all, nil
}

func (m *memory) Breakages(context.Context, time.Time) ([]ledger.Breakage, error) {
	return m.breakages, nil
}

// filled returns a ledger with n domains that send each day, the first one the most.
func filled(n int) *memory {
	m, today := &memory{}, ledger.DayOf(now)
	for day := today - 9; day <= today; day++ {
		for i := range n {
			d := dns.Name(fmt.Sprintf("d%03d.example", i))
			m.rows = append(m.rows, ledger.Row{Day: day, Domain: d, Policy: "reject", First: day.Time().Unix(), Last: day.Time().Unix() + 60, Example: "ABCD2345",
				Counts:  ledger.Counts{Messages: int64(1000 - i), Pass: int64(900 - i), PassDKIM: int64(900 - i), PassSPF: 10, Fail: 100, Quarantined: 7},
				Signers: []ledger.Signer{{Domain: d, Selector: "s1", Pass: int64(900 - i)}, {Domain: d, Selector: "\x1b[2J", Fail: 2}}})
		}
	}
	for i := range 20 {
		m.sources = append(m.sources, ledger.Source{Domain: "d000.example", Owner: "d000.example", Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24),
			Last: today, Days: ledger.DaySet(1<<i - 1 | 1)})
	}
	for _, k := range ledger.Kinds {
		m.breakages = append(m.breakages, ledger.Breakage{Domain: "d001.example", Kind: k, Subject: "d=d001.example s=s1", First: now.Add(-30 * time.Hour), Last: now,
			Evidence: "3 signatures pass and 120 fail", Example: "XYZ"})
	}
	m.breakages = append(m.breakages, ledger.Breakage{Domain: "gone.example", Kind: ledger.SelectorGone, First: now.Add(-30 * time.Hour), Last: now, Ended: now})
	return m
}

func find(t *testing.T, o Options) *List {
	t.Helper()
	o.Days, o.Now = max(o.Days, 5), now
	l, err := Find(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func text(t *testing.T, l *List) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.Text(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFind(t *testing.T) {
	l := find(t, Options{Ledger: filled(4), Limit: 3})
	if len(l.Senders) != 3 || !l.More || l.From != "2026-11-26" || l.To != "2026-11-30" {
		t.Fatalf("%+v", l)
	}
	s := l.Senders[0]
	if s.Domain != "d000.example" || s.Messages != 5000 || s.Days != 5 || s.Signers[0] != (Signer{ledger.Signer{Domain: "d000.example", Selector: "s1", Pass: 4500}, "2026-11-26", "2026-11-30"}) ||
		len(s.Networks) != 20 || s.Networks[0].Days != 19 || s.Example != "ABCD2345" || len(s.ByDay) != 0 {
		t.Errorf("%+v", s)
	}
	page := text(t, l)
	for _, want := range []string{"d000.example  reject  5000      90.0 %", "There are more; --limit", "selector_gone"} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %q:\n%s", want, page)
		}
	}
	if page := text(t, find(t, Options{Ledger: &memory{}, Limit: 3})); page != "No mail was counted from 2026-11-26 to 2026-11-30.\n" {
		t.Error(page)
	}
}

func TestOneDomain(t *testing.T) {
	l := find(t, Options{Ledger: filled(4), Limit: 3, Domain: "d000.example"})
	page := text(t, l)
	if len(l.Senders) != 1 || len(l.Senders[0].ByDay) != 5 {
		t.Fatalf("%+v", l)
	}
	for _, want := range []string{"d000.example (DMARC policy: reject): 5000 messages on 5 days", "10.0.19.0/24", "and 4 more", "2026-11-28  1000", "sekimori explain --id ABCD2345"} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "\x1b") {
		t.Errorf("%q", page)
	}
}

// TestBroken checks that there is a mail about each kind, also to a domain that sends nothing any more.
func TestBroken(t *testing.T) {
	l := find(t, Options{Ledger: filled(4), Limit: 3, Broken: true, Organization: "Example ISP", Contact: "postmaster@isp.example"})
	if len(l.Senders) != 2 || l.Senders[0].Domain != "d001.example" || len(l.Senders[0].Trouble) != len(ledger.Kinds) || l.Senders[1].Domain != "gone.example" {
		t.Fatalf("%+v", l)
	}
	subjects := map[string]bool{}
	for _, x := range l.Senders[0].Trouble {
		subjects[x.Mail.Subject] = true
		for _, want := range []string{"Dear postmaster of d001.example", "2026-11-29 09:00 (UTC)", x.Evidence, "p=reject", "the ID XYZ", "-- \nExample ISP\npostmaster@isp.example\n"} {
			if !strings.Contains(x.Mail.Text, want) || x.Mail.To != "postmaster@d001.example" {
				t.Errorf("%s lacks %q:\n%s", x.Kind, want, x.Mail.Text)
			}
		}
		if strings.Contains(x.Mail.Text, "something no longer works") {
			t.Errorf("%s has no words", x.Kind)
		}
	}
	if len(subjects) != len(ledger.Kinds) {
		t.Errorf("%v", subjects)
	}
	page := text(t, l)
	for _, want := range []string{"selector_gone d=d001.example s=s1", "still so at", "over at 2026-11-30 15:00:00", "Subject: Mail from d001.example"} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %q:\n%s", want, page)
		}
	}
	if page := text(t, find(t, Options{Ledger: &memory{}, Limit: 3, Broken: true})); page != "No sender in trouble from 2026-11-26 to 2026-11-30.\n" {
		t.Error(page)
	}
	if l := find(t, Options{Ledger: filled(4), Limit: 3, Broken: true, Domain: "d000.example"}); len(l.Senders) != 0 {
		t.Errorf("%+v", l)
	}
}

// TestBounds: a domain with more networks than are listed, and more senders than may be.
func TestBounds(t *testing.T) {
	m := filled(1)
	for i := range maxNetworks {
		m.sources = append(m.sources, ledger.Source{Domain: "a.d000.example", Owner: "d000.example", Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0}), 24), Last: ledger.DayOf(now), Days: 1})
	}
	if l := find(t, Options{Ledger: m, Limit: 1}); len(l.Senders[0].Networks) != maxNetworks {
		t.Errorf("%d networks", len(l.Senders[0].Networks))
	}
	if l := find(t, Options{Ledger: filled(MaxLimit + 1), Limit: MaxLimit, Days: 1}); len(l.Senders) != MaxLimit || !l.More {
		t.Errorf("%d senders", len(l.Senders))
	}
}
