package stats

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/printable"
)

var update = flag.Bool("update", false, "write the golden files anew")

// memory is a ledger in memory, as far as the statistics read it.
type memory struct {
	ledger.Store
	totals  []ledger.Total
	figures []ledger.Figure
	sums    []ledger.Sum
	dropped []ledger.Dropped
	asked   ledger.Filter
	err     error
	fails   string // the method that returns err
}

// fault returns err if the method is the one that fails.
func (m *memory) fault(method string) error {
	if m.fails == method {
		return m.err
	}
	return nil
}

func stream[T any](all []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range all {
			if !yield(x, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

func (m *memory) Totals(_ context.Context, f ledger.Filter) iter.Seq2[ledger.Total, error] {
	m.asked = f
	return stream(m.totals, m.fault("Totals"))
}

func (m *memory) Figures(context.Context, ledger.Filter) iter.Seq2[ledger.Figure, error] {
	return stream(m.figures, m.fault("Figures"))
}

func (m *memory) Sums(_ context.Context, _ ledger.Filter, _ ledger.Order, most int) iter.Seq2[ledger.Sum, error] {
	sums := m.sums
	if most > 0 {
		sums = sums[:min(most, len(sums))]
	}
	return stream(sums, m.fault("Sums"))
}

func (m *memory) Dropped(context.Context, ledger.Filter) ([]ledger.Dropped, error) {
	return m.dropped, m.fault("Dropped")
}

// november is the month of the tests.
var november = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// example is a month with every table.
func example() *memory {
	m := &memory{}
	for d := range 30 {
		day := ledger.DayOf(november) + ledger.Day(d)
		wave := int64(100 - 40*(d%7/5) + 3*d) // less on two days of each week
		total := func(n int64, spf, dkim string, p dmarc.Policy, result, applied, override string) {
			m.totals = append(m.totals, ledger.Total{Day: day, Group: "mx", SPF: spf, DKIM: dkim, Policy: p, DMARC: result, Applied: applied, Override: override, Messages: n * wave})
		}
		total(520, "pass", "pass", dmarc.PolicyReject, "pass", "accept", "")
		total(180, "pass", "pass", dmarc.PolicyQuarantine, "pass", "accept", "")
		total(230, "pass", "none", dmarc.PolicyNone, "pass", "accept", "")
		total(90, "softfail", "pass", dmarc.PolicyNone, "pass", "accept", "")
		total(60, "pass", "none", "", "none", "accept", "")
		total(31, "none", "none", "", "none", "tag", "")
		total(22, "fail", "none", dmarc.PolicyReject, "fail", "reject", "")
		total(9, "none", "fail", dmarc.PolicyReject, "fail", "quarantine", "local_policy")
		total(7, "softfail", "none", dmarc.PolicyQuarantine, "fail", "quarantine", "")
		total(4, "neutral", "none", dmarc.PolicyNone, "fail", "tag", "")
		total(3, "permerror", "temperror", "", "temperror", "tag", "")
		total(2, "pass", "policy", dmarc.PolicyReject, "fail", "accept", "trusted_forwarder")
		total(1, "temperror", "neutral", "", "permerror", "tag", "other")
		figure := func(kind ledger.FigureKind, word, result string, n int64) {
			m.figures = append(m.figures, ledger.Figure{Day: day, Group: "mx", Kind: kind, Word: word, Result: result, Messages: n * wave})
		}
		figure(ledger.ByReason, "dmarc_reject", "reject", 22)
		figure(ledger.ByReason, "dmarc_indirect", "quarantine", 9)
		figure(ledger.ByReason, "dmarc_quarantine", "quarantine", 7)
		figure(ledger.ByReason, "dmarc_pass", "accept", 1020)
		figure(ledger.ByReason, "no_policy", "tag", 31)
		for i, code := range []string{"JP", "US", "CN", "DE", "ZZ", "SG", "NL"} {
			figure(ledger.ByCountry, code, ledger.StandingPass, int64(400/(i*i+1)))
			figure(ledger.ByCountry, code, ledger.StandingFail, int64(2*i+1))
			figure(ledger.ByCountry, code, ledger.StandingNothing, int64(i))
			figure(ledger.ByCountry, code, ledger.StandingOther, int64(30/(i+1)))
		}
	}
	for i := range 4000 {
		suffix := []string{"co.jp", "ne.jp", "go.jp", "example", "tokyo.lg.jp"}[i%5]
		p := []dmarc.Policy{dmarc.PolicyReject, "", dmarc.PolicyNone, dmarc.PolicyQuarantine, "", dmarc.PolicyNone, "", dmarc.PolicyReject, ""}[i%9]
		m.sums = append(m.sums, ledger.Sum{Domain: dns.Name(fmt.Sprintf("d%d.%s", i, suffix)), Policy: p, Counts: ledger.Counts{Messages: 100, Pass: 90, Fail: int64(i % 7), Rejected: int64(i % 3)}})
	}
	m.dropped = []ledger.Dropped{{Messages: 1234}}
	return m
}

var suffixes = []dns.Name{"co.jp", "go.jp", "ne.jp", "lg.jp", "jp"}

func collect(t testing.TB, m *memory) *Month {
	t.Helper()
	got, err := Collect(t.Context(), m, Options{Month: november, Classes: suffixes, Now: november.AddDate(0, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestSums: each table adds up to the messages or domains that it is about.
func TestSums(t *testing.T) {
	store := example()
	m := collect(t, store)
	var want int64
	for _, x := range store.totals {
		want += x.Messages
	}
	check := func(what string, got, want int64) {
		t.Helper()
		if got != want || got == 0 {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	sum := func(counts []Count) (n int64) {
		for _, c := range counts {
			n += c.Messages
		}
		return n
	}
	check("messages", m.Messages, want)
	check("SPF", sum(m.SPF), want)
	check("DKIM", sum(m.DKIM), want)
	check("DMARC", sum(m.DMARC), want)
	check("done", sum(m.Applied), want)
	var policies, days, standings, domains, other int64
	for _, p := range m.Policies {
		policies += p.Messages
		check(p.Policy, p.Pass+p.Fail+p.Other, p.Messages)
	}
	for _, d := range m.Days {
		days += d.Messages
		standings += d.Pass + d.Fail + d.Other + d.Nothing
	}
	check("policies", policies, want)
	check("days", days, want)
	check("standings", standings, want)
	all := m.Classes[len(m.Classes)-1]
	for _, c := range m.Classes[:len(m.Classes)-1] {
		domains += c.Domains
		other += c.Absent + c.DMARC
		if c.Class == "lg.jp" {
			check("lg.jp", c.Domains, 800)
		}
	}
	check("domains", domains, 4000)
	check("domains of all", all.Domains, 4000)
	check("domains by policy", other, 4000)
	check("dropped", m.Dropped, 1234)
	for _, x := range m.Countries {
		check(x.Country, x.Pass+x.Fail+x.Other+x.Nothing, x.Messages)
	}
	check("without authentication", m.Unauthenticated.Messages, want*31/1159)
	check("nothing passed", m.NothingPassed.Messages, want*(31+22+9+7+4+3+1)/1159)
}

// TestSPFOrder: the table has the seven results of RFC 7208, in its order, also if some were not seen.
func TestSPFOrder(t *testing.T) {
	m := collect(t, &memory{})
	var words []string
	for _, c := range m.SPF {
		words = append(words, c.Word)
	}
	if want := []string{"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}; !slices.Equal(words, want) {
		t.Errorf("%v, want %v", words, want)
	}
	if len(m.Days) != 30 || len(m.Classes) != len(suffixes)+2 {
		t.Errorf("%d days, %d classes", len(m.Days), len(m.Classes))
	}
	for _, f := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return m.Text(b) },
		func(b *bytes.Buffer) error { return m.HTML(b, English, "1", november) },
	} {
		var b bytes.Buffer
		if err := f(&b); err != nil || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "%!") {
			t.Errorf("%v\n%s", err, b.String())
		}
	}
}

// TestDays says which days a month asks for.
func TestDays(t *testing.T) {
	for _, tt := range []struct {
		month, now  time.Time
		first, last string
		whole       bool
		days        int
	}{
		{november, november.AddDate(0, 1, 0), "2026-11-01", "2026-11-30", true, 30},
		{november.AddDate(0, 0, 17), november.AddDate(0, 3, 0), "2026-11-01", "2026-11-30", true, 30},
		{november, november.AddDate(0, 0, 29), "2026-11-01", "2026-11-30", false, 30},
		{november, november.AddDate(0, 0, 9).Add(5 * time.Hour), "2026-11-01", "2026-11-10", false, 10},
		{november, november.AddDate(0, 0, ledger.KeepDays-1), "2026-11-01", "2026-11-30", true, 30},
		{november, november.AddDate(0, 0, ledger.KeepDays), "2026-11-02", "2026-11-30", false, 29},
		{november, november.AddDate(0, 0, 10+ledger.KeepDays-1), "2026-11-11", "2026-11-30", false, 20},
		{time.Date(2028, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 4, 1, 0, 0, 0, 0, time.UTC), "2028-02-01", "2028-02-29", true, 29},
	} {
		m := &memory{}
		got, err := Collect(t.Context(), m, Options{Month: tt.month, Now: tt.now, Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		if got.From != tt.first || got.To != tt.last || got.Whole != tt.whole || len(got.Days) != tt.days {
			t.Errorf("%s at %s: %s to %s, whole %t, %d days", tt.month, tt.now, got.From, got.To, got.Whole, len(got.Days))
		}
		if want := (ledger.Filter{From: day(t, tt.first), To: day(t, tt.last), Group: "g"}); !reflect.DeepEqual(m.asked, want) {
			t.Errorf("asked for %+v, want %+v", m.asked, want)
		}
	}
}

func day(t *testing.T, text string) ledger.Day {
	t.Helper()
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.DayOf(at)
}

func TestParseMonth(t *testing.T) {
	now := time.Date(2027, 1, 15, 3, 0, 0, 0, time.FixedZone("", 9*3600))
	for text, want := range map[string]string{
		"this": "2027-01", "last": "2026-12", "2026-11": "2026-11", "2027-01": "2027-01", "2025-12": "2025-12",
		"2027-02": "2027-02 has not begun", "2025-11": "it keeps 400 days", "2026-13": "is not a month", "11/2026": "is not a month", "": "is not a month",
	} {
		got, err := ParseMonth(text, now)
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", text, err, want)
			}
		} else if got.Format(time.RFC3339Nano) != want+"-01T00:00:00Z" {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestOldestMonth: a month is there as long as its last day is.
func TestOldestMonth(t *testing.T) {
	last := november.AddDate(0, 1, -1)
	for ago, ok := range map[int]bool{ledger.KeepDays - 1: true, ledger.KeepDays: false} {
		if _, err := ParseMonth("2026-11", last.AddDate(0, 0, ago)); (err == nil) != ok {
			t.Errorf("%d days after its last day: %v", ago, err)
		}
	}
}

// TestShares: the numbers beside the tables have their shares.
func TestShares(t *testing.T) {
	m, err := Collect(t.Context(), example(), Options{Month: november, Now: november.AddDate(0, 1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ got, want any }{{m.Unauthenticated, m.part(m.Unauthenticated.Messages)}, {m.NothingPassed, m.part(m.NothingPassed.Messages)}} {
		if x.got != x.want || x.got == m.part(0) {
			t.Errorf("%+v, want %+v", x.got, x.want)
		}
	}
}

// TestSharesOfTables: countries and classes have the shares of their own numbers.
func TestSharesOfTables(t *testing.T) {
	m := collect(t, example())
	for _, c := range m.Countries {
		if c.Share != share(c.Messages, m.Messages) || c.Share == 0 {
			t.Errorf("%s: %v", c.Country, c.Share)
		}
	}
	for _, c := range m.Classes {
		if c.DMARCShare != share(c.DMARC, c.Domains) || (c.DMARCShare == 0) != (c.DMARC == 0) {
			t.Errorf("%s: %v", c.Class, c.DMARCShare)
		}
	}
	if all := m.Classes[len(m.Classes)-1]; all.DMARCShare == 0 {
		t.Error("no share of all")
	}
}

// TestFails: a store that fails gives no statistics at all.
func TestFails(t *testing.T) {
	for _, method := range []string{"Totals", "Figures", "Sums", "Dropped"} {
		m := example()
		m.err, m.fails = errors.New("the disk"), method
		if got, err := Collect(t.Context(), m, Options{Month: november, Now: november}); got != nil || !errors.Is(err, m.err) {
			t.Errorf("%s: %v, %v", method, got, err)
		}
	}
}

// TestRemarks: a page names its month and the group of hosts, and says what a reader must know of it.
func TestRemarks(t *testing.T) {
	for _, tt := range []struct {
		m    Month
		want string
	}{
		{Month{Month: "2026-11", Whole: true, Messages: 1}, "November 2026"},
		{Month{Month: "2026-11", Messages: 1}, "November 2026; Not the whole month."},
		{Month{Month: "2026-11", Whole: true, Messages: 1, Group: "mx"}, "November 2026; Only hosts of the group mx."},
		{Month{Month: "2026-11", Whole: true}, "November 2026; No message was counted."},
		{Month{Month: "2026-13", Group: "mx"}, "2026-13; Not the whole month.; Only hosts of the group mx.; No message was counted."},
	} {
		if got := strings.Join(append([]string{tt.m.MonthName(English)}, tt.m.Remarks(English)...), "; "); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	if got := (&Month{Month: "2026-11"}).MonthName(Japanese); got != "2026年11月" {
		t.Error(got)
	}
}

func TestClassOf(t *testing.T) {
	for domain, want := range map[dns.Name]int{"a.co.jp": 0, "a.b.co.jp": 0, "co.jp": 4, "a.jp": 4, "jp": -1, "aco.jp": 4, "co.jp.example": -1} {
		if got := classOf(domain, suffixes); got != want {
			t.Errorf("%s: %d, want %d", domain, got, want)
		}
	}
	if got := classOf("a.co.jp", []dns.Name{"jp", "co.jp"}); got != 1 {
		t.Errorf("of two, the longer one after the other: %d", got)
	}
	if got := classOf("a.jp", []dns.Name{"jp", "jp"}); got != 0 {
		t.Errorf("of two that are the same: %d", got)
	}
}

// TestClassAdd: each number of a class is the sum of its own.
func TestClassAdd(t *testing.T) {
	var c Class
	for i, p := range []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyQuarantine, dmarc.PolicyReject, dmarc.PolicyReject, dmarc.PolicyReject, "", "strange"} {
		n := int64(1) << i
		c.add(&ledger.Sum{Policy: p, Counts: ledger.Counts{Messages: n, Pass: 2 * n, Fail: 3 * n, Rejected: 5 * n, Quarantined: 7 * n}})
	}
	if want := (Class{Domains: 8, DMARC: 6, None: 1, Quarantine: 2, Reject: 3, Absent: 2, Messages: 255, Pass: 510, Fail: 765, Rejected: 1275, Quarantined: 1785}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// TestOrder: words that no list has follow the others. The most frequent comes first, and the name decides between equals.
func TestOrder(t *testing.T) {
	store := &memory{}
	for word, n := range map[string]int64{"c": 2, "a": 2, "b": 2, "d": 3, "e": 1, "reject": 1, "accept": 9} {
		store.totals = append(store.totals, ledger.Total{Day: ledger.DayOf(november), Applied: word, Override: word, Messages: n})
		for reason, more := range map[string]int64{"y": 0, "x": 0, "z": 1} {
			store.figures = append(store.figures, ledger.Figure{Kind: ledger.ByReason, Result: word, Word: reason, Messages: n + more})
		}
		store.figures = append(store.figures, ledger.Figure{Kind: ledger.ByCountry, Word: word, Messages: n})
	}
	m := collect(t, store)
	var applied, overrides, reasons, countries string
	for _, c := range m.Applied {
		applied += c.Word + " "
	}
	for _, c := range m.Overrides {
		overrides += c.Word + " "
	}
	for _, r := range m.Reasons {
		reasons += r.Applied + r.Reason + " "
	}
	for _, c := range m.Countries {
		countries += c.Country + " "
	}
	for _, x := range [][2]string{
		{applied, "reject quarantine tag accept d a b c e "}, {overrides, "accept d a b c e reject "}, {countries, "accept d a b c e reject "},
		{reasons, "rejectz rejectx rejecty acceptz acceptx accepty az ax ay bz bx by cz cx cy dz dx dy ez ex ey "},
	} {
		if x[0] != x[1] {
			t.Errorf("%q, want %q", x[0], x[1])
		}
	}
}

// TestJSON: lists without an entry are empty and not null, for programs that walk them.
func TestJSON(t *testing.T) {
	raw, err := json.Marshal(collect(t, &memory{}))
	if err != nil || bytes.Contains(raw, []byte("null")) {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestPercent(t *testing.T) {
	for want, n := range map[string][2]int64{
		"0.00 %": {0, 5}, "100.00 %": {5, 5}, "33.33 %": {1, 3}, "< 0.01 %": {1, 1_000_000}, "> 99.99 %": {999_999, 1_000_000}, "0.01 %": {1, 10_000}, "29.00 %": {29, 100}, "99.99 %": {9999, 10_000},
	} {
		if got := percent(n[0], n[1]); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
	if percent(1, 1) != "100.00 %" || percent(2, 1) != "100.00 %" {
		t.Error("of one")
	}
	if percent(0, 0) != "0.00 %" || percent(1, 0) != "0.00 %" || share(0, 0) != 0 || share(1, 0) != 0 || share(1, 1) != 1 {
		t.Error("of nothing")
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// TestGolden compares what is written with files that a person has looked at.
func TestGolden(t *testing.T) {
	m := collect(t, example())
	made := time.Date(2026, 12, 1, 1, 0, 0, 0, time.UTC)
	for name, write := range map[string]func(*bytes.Buffer) error{
		"month.txt":     func(b *bytes.Buffer) error { return m.Text(b) },
		"month.csv":     func(b *bytes.Buffer) error { return m.CSV(b) },
		"month.html":    func(b *bytes.Buffer) error { return m.HTML(b, English, "1.2.3", made) },
		"month.ja.html": func(b *bytes.Buffer) error { return m.HTML(b, Japanese, "1.2.3", made) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s is not what it was; look at it, and run go test ./internal/stats -run Golden -update", name)
		}
	}
}

// TestCSV: what a spreadsheet could take for a formula begins with an apostrophe, and lines end as RFC 4180
// wants it.
func TestCSV(t *testing.T) {
	for _, group := range []string{"=cmd|' /C calc'!A0", "+1", "-1", "@x", "a,\"b", "g"} {
		m := collect(t, example())
		m.Group = group
		var b bytes.Buffer
		if err := m.CSV(&b); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		want := group
		if strings.ContainsAny(group[:1], "=+-@") {
			want = "'" + group
		}
		if rows[1][2] != want {
			t.Errorf("%q is %q", group, rows[1][2])
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
					t.Errorf("a cell begins like a formula: %q", cell)
				}
			}
		}
	}
	var b bytes.Buffer
	if err := collect(t, example()).CSV(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\n") != strings.Count(b.String(), "\r\n") {
		t.Error("a line does not end with CRLF")
	}
}

// TestManyCountries: beyond the limit the page adds up; the other formats have all.
func TestManyCountries(t *testing.T) {
	for n, rest := range map[int]bool{maxCountries: false, maxCountries + 1: true, 600: true} {
		store := &memory{totals: []ledger.Total{{Day: ledger.DayOf(november), SPF: "pass", DKIM: "none", DMARC: "pass", Applied: "accept", Messages: int64(n)}}}
		for i := range n {
			store.figures = append(store.figures, ledger.Figure{Kind: ledger.ByCountry, Word: string([]byte{'A' + byte(i/26), 'A' + byte(i%26)}), Result: "pass", Messages: 1})
		}
		m := collect(t, store)
		var page, table bytes.Buffer
		if err := errors.Join(m.HTML(&page, English, "1", november), m.CSV(&table)); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%d more", n-maxCountries)
		if strings.Contains(page.String(), want) != rest || len(m.Countries) != n || strings.Count(table.String(), ",country,") != 5*n {
			t.Errorf("%d countries: %q is there: %t", n, want, !rest)
		}
	}
}

// TestHostile: whatever a store holds, the page has no markup of it.
func TestHostile(t *testing.T) {
	const evil = `"><script>alert(1)</script><b x='`
	m := collect(t, &memory{
		totals:  []ledger.Total{{Day: ledger.DayOf(november), SPF: evil, DKIM: evil, DMARC: evil, Applied: evil, Override: evil, Policy: evil, Messages: 1}},
		figures: []ledger.Figure{{Kind: ledger.ByCountry, Word: evil, Result: evil, Messages: 1}, {Kind: ledger.ByReason, Word: evil, Result: "reject", Messages: 1}},
	})
	m.Group = evil
	for _, l := range Langs {
		var b bytes.Buffer
		if err := m.HTML(&b, l, evil, november); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "<script") || strings.Contains(b.String(), "<b x") || !strings.Contains(b.String(), "&lt;script&gt;") {
			t.Errorf("%s: markup of the store is in the page", l)
		}
	}
	if err := m.HTML(&bytes.Buffer{}, "fr", "1", november); err == nil {
		t.Error("a language that there is not")
	}
}

// TestWords: each text is there in both languages, with the same verbs.
func TestWords(t *testing.T) {
	for key, pair := range texts {
		if pair[0] == "" || pair[1] == "" || strings.Count(pair[0], "%") != strings.Count(pair[1], "%") {
			t.Errorf("%s: %q", key, pair)
		}
	}
}

// TestNames: the word of a reason that is also that of a result has a text of its own, and the name of a class
// that is also a word of the page has none.
func TestNames(t *testing.T) {
	m := &Month{Classes: []Class{{Class: "day"}, {Class: ClassAll}}, Reasons: []Reason{{Reason: "temperror", Applied: "reject"}}}
	classes, reasons := m.classes(Japanese).Table.Rows, m.done(Japanese).Table.Rows
	if classes[0][0] != "day" || classes[1][0] != texts["all"][1] || reasons[0][0] != texts["temperror_r"][1] {
		t.Errorf("%q, %q", classes, reasons)
	}
}

// TestNoClasses: without classes of its own the table has only the line of all domains.
func TestNoClasses(t *testing.T) {
	m, err := Collect(t.Context(), example(), Options{Month: november, Now: november.AddDate(0, 1, 0)})
	if err != nil || len(m.Classes) != 1 || m.Classes[0].Class != ClassAll || m.Classes[0].Domains != 4000 {
		t.Errorf("%+v, %v", m.Classes, err)
	}
	m, err = Collect(t.Context(), example(), Options{Month: november, Now: november.AddDate(0, 1, 0), Classes: []dns.Name{"co.jp"}})
	if err != nil || len(m.Classes) != 3 || m.Classes[0].Domains != 800 || m.Classes[1].Class != ClassOther || m.Classes[1].Domains != 3200 || m.Classes[2].Domains != 4000 {
		t.Errorf("one class: %+v, %v", m.Classes, err)
	}
}

// TestFull: what cannot be written is an error of this package.
func TestFull(t *testing.T) {
	m := collect(t, example())
	for name, err := range map[string]error{"CSV": m.CSV(full{}), "HTML": m.HTML(full{}, English, "1", november)} {
		if !errors.Is(err, errFull) || !strings.HasPrefix(err.Error(), "stats: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no room")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestSafe: what a cell of CSV shows of a text that a spreadsheet or a terminal would obey.
func TestSafe(t *testing.T) {
	for in, want := range map[string]string{"": "", "a=b": "a=b", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "a\x1b[2J": printable.Text("a\x1b[2J")} {
		if got := safe(in); got != want || strings.Contains(got, "\x1b") {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestRest: the countries beyond those that are shown are added up, each number for itself.
func TestRest(t *testing.T) {
	m := &Month{Messages: 100}
	for range maxCountries {
		m.Countries = append(m.Countries, Country{Country: "JP"})
	}
	for range 2 {
		m.Countries = append(m.Countries, Country{Country: "AA", Part: Part{Messages: 20}, Standings: Standings{Pass: 2, Other: 4, Fail: 6, Nothing: 8}})
	}
	rows := m.countries(English).Table.Rows
	if got := fmt.Sprint(rows[len(rows)-1][1:]); len(rows) != maxCountries+1 || got != "[40 40.00 % 10.00 % 20.00 % 30.00 % 40.00 %]" {
		t.Errorf("%d rows, the last is %s", len(rows), got)
	}
	if got := m.Countries[maxCountries].Country; got != "AA" {
		t.Errorf("the month itself was changed: %q", got)
	}
}

// TestPageParts: a part of the page is there from the first one that it is about, and not if there is none.
func TestPageParts(t *testing.T) {
	month := func(dropped, countries, overrides int) *Month {
		return &Month{Messages: 9, Dropped: int64(dropped), Countries: make([]Country, countries), Overrides: make([]Count, overrides), Classes: []Class{{Class: ClassAll}}}
	}
	for n := range 3 {
		m := month(n, n, n)
		var titles []string
		for _, s := range m.Sections(English) {
			titles = append(titles, s.Title)
		}
		notes, charts := m.Notes(English), len(m.done(English).Charts)
		with := n > 0
		if slices.Contains(titles, texts["country"][0]) != with || (len(notes) == 4) != with || (charts == 2) != with || len(titles)+len(notes)+charts != 10 && !with {
			t.Errorf("%d: sections %q, notes %q, %d charts of what was done", n, titles, notes, charts)
		}
		if with && notes[3] != fmt.Sprintf(texts["note_dropped"][0], strconv.Itoa(n)) {
			t.Errorf("%d: %q", n, notes[3])
		}
	}
}

// TestFacts: the numbers at the top of the page are those of the tables.
func TestFacts(t *testing.T) {
	m := &Month{
		Messages: 1000, Unauthenticated: Part{Messages: 50}, Classes: []Class{{Class: "jp", Domains: 1}, {Class: ClassAll, Domains: 8, DMARC: 6}},
		DMARC:   []Count{{"pass", Part{Messages: 700}}, {"none", Part{Messages: 90}}, {"fail", Part{Messages: 210}}},
		Applied: []Count{{"reject", Part{Messages: 1234}}, {"quarantine", Part{Messages: 31}}, {"accept", Part{Messages: 7}}},
	}
	var got []string
	for _, f := range m.Facts(English) {
		got = append(got, f.Number+" "+f.What)
	}
	want := []string{"1,000 messages evaluated", "70.00 % pass DMARC", "21.00 % fail DMARC", "5.00 % without authentication", "75.00 % of author domains have DMARC",
		"1,234 rejected", "31 quarantined"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestDayChart: the height of the chart is the most messages of a day, and 1 if there are none.
func TestDayChart(t *testing.T) {
	for _, tt := range []struct {
		days  []int64
		top   string
		whole int // columns of the whole height
	}{{nil, "1", 0}, {[]int64{0}, "1", 0}, {[]int64{1, 0}, "1", 1}, {[]int64{2, 1500, 3}, "1,500", 1}} {
		m := &Month{}
		for i, n := range tt.days {
			m.Days = append(m.Days, Day{Day: fmt.Sprintf("2026-11-%02d", i+1), Messages: n, Standings: Standings{Pass: n}})
		}
		html := string(m.days(English).Charts[0])
		if !strings.Contains(html, `y="14">`+tt.top+"</text>") {
			t.Errorf("%v: no %s in %s", tt.days, tt.top, html)
		}
		if whole := strings.Count(html, ` height="150.000">`); whole != tt.whole || strings.Contains(html, ` height="0.000">`) {
			t.Errorf("%v: %d columns of the whole height", tt.days, whole)
		}
	}
}

// TestLegend: the parts of a bar are named where there is a legend, also one of a single key.
func TestLegend(t *testing.T) {
	for n := range 3 {
		c := Chart{Title: "T", Legend: make([]Key, n), Bars: []Bar{{"a", "1 %", []Slice{{Good, 0, "part"}}}, {"b", "2 %", nil}}}
		with, summary := n > 0, "T: a 1 %; b 2 %"
		if with {
			summary = "T: a 1 %, part; b 2 %"
		}
		if got := c.summary(); got != summary || strings.Contains(string(c.HTML()), "<ul>") != with {
			t.Errorf("%d keys: %q\n%s", n, got, c.HTML())
		}
	}
	for _, tt := range []struct {
		c    Chart
		want string
	}{
		{Chart{Title: "T", Sub: "S"}, "<figcaption>T<small>S</small></figcaption>"}, {Chart{Title: "T", Sub: "S", Bare: true}, "<figcaption><small>S</small></figcaption>"},
		{Chart{Title: "T"}, "<figcaption>T<small></small></figcaption>"}, {Chart{Title: "T", Bare: true}, ""},
	} {
		_, rest, _ := strings.Cut(string(tt.c.HTML()), "\n")
		if got, _, _ := strings.Cut(rest, "<svg"); strings.TrimSuffix(got, "\n") != tt.want {
			t.Errorf("%+v: %q", tt.c, got)
		}
	}
}

// TestColumns: what looks like a mark-up in a cell takes room as it is shown.
func TestColumns(t *testing.T) {
	m := &Month{Messages: 100_000, Countries: []Country{{Country: "JP", Part: Part{Messages: 99_999}}, {Country: "US", Part: Part{Messages: 1}}}}
	var b strings.Builder
	if err := m.Text(&b); err != nil {
		t.Fatal(err)
	}
	want := `COUNTRY  MESSAGES  SHARE      DMARC PASS  DMARC FAIL  OTHER   WITHOUT AUTHENTICATION
JP       99,999    > 99.99 %  0.00 %      0.00 %      0.00 %  0.00 %
US       1         < 0.01 %   0.00 %      0.00 %      0.00 %  0.00 %
`
	if !strings.HasSuffix(b.String(), want) {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

// TestParts: a part of the text is there if there is one of it, and not if there is none.
func TestParts(t *testing.T) {
	for _, tt := range []struct {
		m    Month
		part string
		head string // what a month without the part lacks; the width of a column says nothing
	}{
		{Month{Dropped: 1}, "\nMessages missing in the author domains: 1,", "\nMessages"}, {Month{Group: "mx"}, ", group mx\n", "group"},
		{Month{Reasons: []Reason{{Applied: "reject"}}}, "\nDONE    REASON", "\nDONE"}, {Month{SPF: []Count{{Word: "pass"}}}, "\nSPF   MESSAGES", "\nSPF"},
		{Month{Countries: []Country{{Country: "JP"}}}, "\nCOUNTRY ", "\nCOUNTRY"},
	} {
		var with, without strings.Builder
		if err := errors.Join(tt.m.Text(&with), (&Month{}).Text(&without)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(with.String(), tt.part) || strings.Contains(without.String(), tt.head) {
			t.Errorf("%q:\n%s\nand\n%s", tt.part, with.String(), without.String())
		}
	}
	for _, whole := range []bool{true, false} {
		var b strings.Builder
		if err := (&Month{Whole: whole}).Text(&b); err != nil || strings.Contains(b.String(), " (UTC), not the whole month\n") == whole {
			t.Errorf("whole %t: %v\n%s", whole, err, b.String())
		}
	}
	if err := (&Month{}).Text(full{}); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

// TestUnknownPolicy: a policy that no list has still counts.
func TestUnknownPolicy(t *testing.T) {
	m := collect(t, &memory{totals: []ledger.Total{{Day: ledger.DayOf(november), Policy: "strange", DMARC: "fail", Messages: 3}}})
	var n int64
	for _, p := range m.Policies {
		n += p.Messages
	}
	if n != 3 {
		t.Errorf("%d messages by policy, want 3", n)
	}
}
