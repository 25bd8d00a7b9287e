package senders

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
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

func (m *memory) Sums(_ context.Context, f ledger.Filter, by ledger.Order, limit int) iter.Seq2[ledger.Sum, error] {
	if by != ledger.ByMessages {
		panic(by)
	}
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

func (m *memory) Sources(_ context.Context, owner dns.Name, since ledger.Day) (all []ledger.Source, err error) {
	for _, s := range m.sources {
		if s.Owner == owner && s.Last >= since {
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

// TestTable compares a whole table with what is shown.
func TestTable(t *testing.T) {
	l := find(t, Options{Ledger: filled(2), Limit: 2})
	l.Senders[0].Policy = ""
	const want = `2026-11-26 to 2026-11-30

DOMAIN        POLICY  MESSAGES  PASS    BY DKIM  BY SPF  FAIL  REJECTED  QUARANTINED  KEYS  NETWORKS  
d000.example  -       5000      90.0 %  90.0 %   1.0 %   500   0         35           2     20        
d001.example  reject  4995      90.0 %  90.0 %   1.0 %   500   0         35           2     0         selector_gone
`
	if page := text(t, l); page != want {
		t.Error(page)
	}
	if l.More = true; !strings.HasSuffix(text(t, l), "selector_gone\nThere are more; --limit lists more of them.\n") {
		t.Error(text(t, l))
	}
}

// TestDetails compares what is shown of a sender with and without each part.
func TestDetails(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	s := Sender{Domain: "a.example", Counts: ledger.Counts{Messages: 8, Pass: 4, PassDKIM: 3, PassSPF: 2, Fail: 5, TempError: 6, Rejected: 7, Quarantined: 1}, Policy: "none", Days: 1, Example: "XYZ"}
	for i := range textSigners + 1 {
		s.Signers = append(s.Signers, Signer{ledger.Signer{Domain: "a.example", Selector: fmt.Sprint("s", i), Pass: 9, Fail: 8}, "2026-11-28", "2026-11-30"})
	}
	for i := range textNetworks {
		s.Networks = append(s.Networks, Network{"a.example", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), i, "2026-11-30"})
	}
	b := ledger.Breakage{Domain: "a.example", Kind: ledger.SPFBroken, Subject: "x", First: at, Last: at.Add(time.Hour), Evidence: "none passes"}
	s.Trouble = []Trouble{{b, Mail{To: "p@a.example", Subject: "S", Text: "one\n\ntwo\n"}}}
	s.ByDay = []Day{{"2026-11-30", ledger.Counts{Messages: 9, Pass: 8, PassDKIM: 7, PassSPF: 6, Fail: 5, Rejected: 4, Quarantined: 3}, "none"}}
	var keys, networks strings.Builder
	for i := range textSigners {
		fmt.Fprintf(&keys, "  d=a.example s=s%d  9     8     2026-11-28  2026-11-30\n", i)
	}
	for i := range textNetworks {
		fmt.Fprintf(&networks, "  %-12s  a.example  %-4d  2026-11-30\n", fmt.Sprintf("10.0.%d.0/24", i), i)
	}
	head := "a.example (DMARC policy: none): 8 messages on 1 day\n  50.0 % pass: 37.5 % by DKIM, 25.0 % by SPF; 5 fail, 6 are not decided; 7 rejected, 1 quarantined\n"
	want := head + "  a message that failed: sekimori explain --id XYZ\n  spf_broken x\n    found at 2026-11-29 09:00:00 (UTC), still so at 2026-11-29 10:00:00\n    none passes\n" +
		"    A mail to p@a.example:\n\n      Subject: S\n\n      one\n\n      two\n\n" +
		"  KEY               PASS  FAIL  FIRST       LAST\n" + keys.String() + "  NETWORK       AUTHOR     DAYS  LAST\n" + networks.String() +
		"  DAY         MESSAGES  PASS  DKIM  SPF  FAIL  REJECTED  QUARANTINED  POLICY\n  2026-11-30  9         8     7     6    5     4         3            none\n"
	plain := Sender{Domain: s.Domain, Counts: s.Counts, Policy: s.Policy, Days: s.Days}
	for _, tt := range []struct {
		l    List
		want string
	}{
		{List{Senders: []Sender{s}}, want}, {List{Broken: true, Senders: []Sender{plain, s}}, head + "\n" + want}, {List{Broken: true, Senders: []Sender{{Domain: "a.example", Counts: s.Counts, Policy: "none", Days: 1, Signers: s.Signers[:1], Networks: s.Networks[:1]}}},
			head + "  KEY               PASS  FAIL  FIRST       LAST\n  d=a.example s=s0  9     8     2026-11-28  2026-11-30\n  NETWORK      AUTHOR     DAYS  LAST\n  10.0.0.0/24  a.example  0     2026-11-30\n"}, {List{Broken: true, Senders: []Sender{{Domain: "b.example"}}},
			"b.example (DMARC policy: -): 0 messages on 0 days\n  - pass: - by DKIM, - by SPF; 0 fail, 0 are not decided; 0 rejected, 0 quarantined\n"},
	} {
		if got := text(t, &tt.l); got != tt.want {
			t.Errorf("%s\nwant\n%s", got, tt.want)
		}
	}
	s.Networks = append(s.Networks, s.Networks[0])
	s.Trouble[0].Example, s.Trouble[0].Ended = "EX", at.Add(2*time.Hour)
	page := text(t, &List{Senders: []Sender{s}})
	for _, want := range []string{"2026-11-30\n  and 1 more\n", "(UTC), over at 2026-11-29 11:00:00\n    none passes\n    sekimori explain --id EX\n    A mail"} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %q:\n%s", want, page)
		}
	}
	if err := (&List{}).Text(full{}); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no room")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestMail has a mail with everything in it, and mails that lack one part.
func TestMail(t *testing.T) {
	b := ledger.Breakage{Domain: "a.example", Kind: "another", First: time.Date(2026, 11, 29, 9, 0, 0, 0, time.FixedZone("", 3600)), Evidence: "3 pass"}
	const body = "Dear postmaster of a.example,\n\nwe receive mail with your domain in the From field, and check SPF, DKIM and DMARC.\nSince 2026-11-29 08:00 (UTC) something no longer works:\n\n  3 pass\n\n" +
		"Please look at your keys and your records in DNS.\n"
	const policy = "\nYour DMARC policy is p=quarantine, so receivers may refuse such mail or treat it as spam.\n"
	for _, tt := range []struct{ policy, id, organization, contact, want string }{
		{"", "", "", "", body}, {"none", "", "", "", body}, {"quarantine", "", "", "", body + policy}, {"", "XYZ", "", "", body + "\nIf you ask us about an example, quote the ID XYZ.\n"},
		{"", "", "ISP", "", body + "\n-- \nISP\n"}, {"", "", "", "c@isp.example", body + "\n-- \nc@isp.example\n"},
	} {
		b.Example = tt.id
		m := mailAbout(&b, dmarc.Policy(tt.policy), tt.organization, tt.contact)
		if m.Text != tt.want || m.To != "postmaster@a.example" || m.Subject != "Mail from a.example: something no longer works" {
			t.Errorf("%+v: %+v", tt, m)
		}
	}
}

// TestAdd adds rows of one key and of others, of one day and of several groups of hosts.
func TestAdd(t *testing.T) {
	row := func(day ledger.Day, example, selector string, pass, fail int64) *ledger.Row {
		return &ledger.Row{Day: day, Example: example, Policy: "none", Counts: ledger.Counts{Messages: pass}, Signers: []ledger.Signer{{Domain: "a.example", Selector: selector, Pass: pass, Fail: fail}}}
	}
	for byDay, want := range map[bool]string{true: "[{2026-11-27 {3}} {2026-11-28 {4}}]", false: "[]"} {
		s := Sender{}
		for _, r := range []*ledger.Row{row(20784, "E1", "s", 1, 5), row(20784, "", "t", 2, 6), row(20785, "", "s", 4, 7)} {
			s.add(r, byDay)
		}
		s.add(&ledger.Row{Day: 20785, Signers: []ledger.Signer{{Domain: "b.example", Selector: "s", Pass: 9}}}, false)
		got := "["
		for i, d := range s.ByDay {
			got += fmt.Sprintf("%s{%s {%d}}", strings.Repeat(" ", min(i, 1)), d.Day, d.Messages)
		}
		if got += "]"; got != want || s.Example != "E1" || fmt.Sprint(s.Signers) !=
			"[{{a.example s 5 12} 2026-11-27 2026-11-28} {{a.example t 2 6} 2026-11-27 2026-11-27} {{b.example s 9 0} 2026-11-28 2026-11-28}]" {
			t.Errorf("by day %t: %s, %v, example %q", byDay, got, s.Signers, s.Example)
		}
	}
}

// TestOrder: those who sign and deliver most come first, and equal ones by name.
func TestOrder(t *testing.T) {
	today := ledger.DayOf(now)
	m := &memory{rows: []ledger.Row{{Day: today, Domain: "a.example", Signers: []ledger.Signer{{Domain: "b.a.example", Selector: "s", Pass: 1}, {Domain: "a.example", Selector: "t", Pass: 1}, {Domain: "a.example", Selector: "s", Pass: 1},
		{Domain: "z.a.example", Selector: "s", Pass: 1, Fail: 1}, {Domain: "z.a.example", Selector: "t", Pass: 2}}}}}
	for _, x := range []struct {
		domain, network string
		days            ledger.DaySet
	}{{"b.a.example", "192.0.2.0/24", 1}, {"a.example", "192.0.3.0/24", 1}, {"a.example", "192.0.2.0/24", 1}, {"z.a.example", "192.0.2.0/24", 3}} {
		m.sources = append(m.sources, ledger.Source{Domain: dns.Name(x.domain), Owner: "a.example", Network: netip.MustParsePrefix(x.network), Last: today, Days: x.days})
	}
	for ago := range ledger.Day(2) { // the last of the days that are asked for, and the one before
		m.sources = append(m.sources, ledger.Source{Domain: "old.example", Owner: "a.example", Network: netip.MustParsePrefix("192.0.2.0/24"), Last: today - ledger.KeepSources + 1 - ago, Days: 1})
	}
	s := find(t, Options{Ledger: m, Limit: 1}).Senders[0]
	got := ""
	for _, x := range s.Signers {
		got += fmt.Sprint(x.Domain, " ", x.Selector, ", ")
	}
	for _, x := range s.Networks {
		got += fmt.Sprint(x.Domain, " ", x.Network, " ", x.Days, " ", x.Last, ", ")
	}
	if want := "z.a.example t, z.a.example s, a.example s, a.example t, b.a.example s, z.a.example 192.0.2.0/24 2 2026-11-30, a.example 192.0.2.0/24 1 2026-11-30, a.example 192.0.3.0/24 1 2026-11-30, b.a.example 192.0.2.0/24 1 2026-11-30, old.example 192.0.2.0/24 1 2026-10-02, "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParseDomain(t *testing.T) {
	for in, want := range map[string]string{"a.Shop.Example.": "shop.example", "shop.example": "shop.example", "co.jp": "co.jp", "shop": "", "a b.example": ""} {
		if got, err := ParseDomain(in); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// TestStoreFails: an error of any of the questions is the answer.
func TestStoreFails(t *testing.T) {
	for _, broken := range []bool{false, true} {
		for _, what := range []string{"breakages", "sums", "rows", "sources"} {
			l, err := Find(t.Context(), Options{Ledger: &failing{*filled(2), what}, Limit: 3, Days: 5, Now: now, Broken: broken})
			if l != nil || !errors.Is(err, errFull) {
				t.Errorf("%s: %+v, %v", what, l, err)
			}
		}
	}
}

// failing is a ledger that does not answer one of the questions.
type failing struct {
	memory
	what string
}

// end answers, and fails in the end.
func end[T any](fails bool, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for x := range all {
			if !yield(x, nil) {
				return
			}
		}
		if fails {
			var none T
			yield(none, errFull)
		}
	}
}

func (f *failing) Rows(ctx context.Context, q ledger.Filter) iter.Seq2[ledger.Row, error] {
	return end(f.what == "rows", f.memory.Rows(ctx, q))
}

func (f *failing) Sums(ctx context.Context, q ledger.Filter, by ledger.Order, limit int) iter.Seq2[ledger.Sum, error] {
	return end(f.what == "sums", f.memory.Sums(ctx, q, by, limit))
}

func (f *failing) Sources(ctx context.Context, owner dns.Name, since ledger.Day) ([]ledger.Source, error) {
	if f.what == "sources" {
		return nil, errFull
	}
	return f.memory.Sources(ctx, owner, since)
}

func (f *failing) Breakages(ctx context.Context, since time.Time) ([]ledger.Breakage, error) {
	if f.what == "breakages" {
		return nil, errFull
	}
	return f.memory.Breakages(ctx, since)
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
	for _, tt := range []struct {
		domain  dns.Name
		limit   int
		senders int
		more    bool
	}{{"d000.example", 3, 0, false}, {"d001.example", 3, 1, false}, {"", 2, 2, false}, {"", 1, 1, true}} {
		if l := find(t, Options{Ledger: filled(4), Limit: tt.limit, Broken: true, Domain: tt.domain}); len(l.Senders) != tt.senders || l.More != tt.more || !l.Broken {
			t.Errorf("%+v: %+v", tt, l)
		}
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
