package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/readiness"
	"sekimori/internal/store/sqlite"
)

// TestReadinessOfMonth scores the judgement of the generated month by its truth: no honest message may be
// in what is called a spoof, and 95 % of the spoofs must be named.
func TestReadinessOfMonth(t *testing.T) {
	if testing.Short() {
		t.Skip("30,000 messages, twice")
	}
	for _, seed := range []uint64{shownSeed, 1004} { // the judgement was not made for the second
		t.Run(fmt.Sprint(seed), func(t *testing.T) { scoreMonth(t, seed) })
	}
}

func scoreMonth(t *testing.T, seed uint64) {
	t.Helper()
	now := time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	type message struct {
		domain dns.Name
		class  string
		truth  readiness.Looks
	}
	truth := map[string]message{}
	db, err := openMonth(t.Context(), t.TempDir(), seed, now, func(m *monthMail, id string) {
		if m.e.DMARC.Result == "fail" && m.e.DMARC.PolicyPublished.Enforces() {
			truth[id] = message{m.e.From.AuthorDomain, m.class, m.truth}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, j, err := monthReport(t.Context(), db, now, monthDays)
	if err != nil {
		t.Fatal(err)
	}
	spoofs, named, honest := 0, 0, 0
	classes := map[string]map[readiness.Looks]int{}
	for id, m := range truth {
		looks := j.Of(id)
		if classes[m.class] == nil {
			classes[m.class] = map[readiness.Looks]int{}
		}
		classes[m.class][looks]++
		switch {
		case m.truth == readiness.Spoof:
			spoofs++
			if looks == readiness.Spoof {
				named++
			}
		case looks == readiness.Spoof:
			if honest++; honest > 10 {
				continue
			}
			t.Errorf("honest mail of %s (%s) is called a spoof", m.domain, m.class)
		}
	}
	for class, looks := range classes {
		t.Logf("%-45s %v", class, looks)
	}
	t.Logf("%d hits, %d samples; %d of %d spoofs named (%.1f %%); honest mail called a spoof: %d; %s", r.Hits(), r.Samples, named, spoofs, 100*float64(named)/float64(spoofs), honest, r.Reason.Text)
	if 100*named < 95*spoofs {
		t.Errorf("%d of %d spoofs are named, want 95 %%", named, spoofs)
	}
	if int64(len(truth)) != r.Hits() || r.ByDomain != r.Hits() {
		t.Errorf("%d hits, %d by domain, want %d", r.Hits(), r.ByDomain, len(truth))
	}
	for _, p := range r.Proposed {
		for _, value := range append(p.Rule.When["client"], p.Rule.When["client_name"]...) {
			if strings.Contains(value, "198.19.") || strings.Contains(value, "x0") || strings.Contains(value, "forger") {
				t.Errorf("a rule is proposed for a forger: %+v", p.Rule)
			}
		}
	}
}

// TestShowsReadiness checks what the demo says after the month.
func TestShowsReadiness(t *testing.T) {
	if testing.Short() {
		t.Skip("30,000 messages")
	}
	var text strings.Builder
	if err := showReadiness(t.Context(), &text, t.TempDir(), time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	golden(t, "readiness.txt", text.String())
}

// TestMonth compares how many messages of each kind the month has, and from how many networks and domains they come.
func TestMonth(t *testing.T) {
	m, at := newMonth(shownSeed), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	type kind struct {
		messages    int
		domains     map[dns.Name]bool
		clients     map[netip.Addr]bool
		first, last int // days
	}
	kinds := map[string]*kind{}
	for n := range monthMessages {
		day := n * monthDays / monthMessages
		mail := m.next(day, at.AddDate(0, 0, day))
		line := describe(&mail)
		k := kinds[line]
		if k == nil {
			k = &kind{domains: map[dns.Name]bool{}, clients: map[netip.Addr]bool{}, first: day}
			kinds[line] = k
		}
		k.messages++
		k.domains[mail.e.From.AuthorDomain], k.clients[mail.e.Session.Client], k.last = true, true, day
		if e := &mail.e; e.Envelope.QueueID != fmt.Sprintf("MONTH%06d", n+1) || !e.Time.Equal(at.AddDate(0, 0, day)) {
			t.Fatalf("message %d: %s of %s", n, e.Envelope.QueueID, e.Time)
		}
	}
	var lines []string
	for line, k := range kinds {
		lines = append(lines, fmt.Sprintf("%s\n    %d messages of %d domains from %d clients, days %d to %d\n", line, k.messages, len(k.domains), len(k.clients), k.first, k.last))
	}
	slices.Sort(lines)
	for _, x := range m.senders {
		lines = append(lines, fmt.Sprintf("%s %s signs %g, SPF %t, %v %s %d\n", x.domain, x.policy, x.signs, x.spf, x.networks, x.trouble, x.since))
	}
	golden(t, "month.txt", strings.Join(lines, ""))
}

var (
	number = regexp.MustCompile(`\d+`)
	absent = regexp.MustCompile(` \w+=false`) // a trait
)

// describe says what a message is, with AUTHOR in place of its domain and # in place of the numbers in names.
func describe(m *monthMail) string {
	e := &m.e
	name := func(d dns.Name) string {
		return number.ReplaceAllString(strings.ReplaceAll(string(d), string(e.From.AuthorDomain), "AUTHOR"), "#")
	}
	first, last := e.Session.Client.As4()[0], e.Session.Client.As4()[3]
	if first == 90 { // a bot is anywhere
		last = 0
	}
	line := fmt.Sprintf("%s: %s, %d.*.*.%d %s %s, SPF %s %s %q, %s,", m.class, m.truth, first, last, e.IPRev.Status, name(e.IPRev.Name), e.MailFrom.Result,
		name(e.MailFrom.Domain), e.MailFrom.Record, name(dns.Name(e.Envelope.MailFrom)))
	for _, s := range e.DKIM {
		line += fmt.Sprintf(" DKIM %s %s %s %q %d,", s.Result, name(s.Domain), s.Selector, s.Reason, s.KeyBits)
	}
	return line + absent.ReplaceAllString(fmt.Sprintf(" %v", e.Traits), "") + fmt.Sprintf(", DMARC %s %t %t, %s %s %s %t %t", e.DMARC.Result, e.DMARC.AlignedSPF, e.DMARC.AlignedDKIM, name(e.DMARC.AuthorDomain),
		name(e.DMARC.OrganizationalDomain), name(e.DMARC.PolicyDomain), e.DMARC.Record != nil, e.DMARC.PolicyPublished == e.DMARC.Disposition)
}

// TestMonthEnds checks that a day that the store does not take ends the month.
func TestMonthEnds(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	at := time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	if err := showReadiness(t.Context(), full{"not written"}, filepath.Join(t.TempDir(), "gone"), at); err == nil {
		t.Error("a month was kept in a directory that does not exist")
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "month.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := newMonth(shownSeed)
	for _, day := range []int{0, ledger.LeastDays} {
		if err := m.day(cancelled, db, day, ledger.DayOf(at), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("day %d: %v", day, err)
		}
	}
	if m.n != monthMessages/monthDays {
		t.Errorf("%d messages were made; what is usual is asked for before the mail of a day, from day %d on", m.n, ledger.LeastDays)
	}
	if _, _, err := monthReport(cancelled, db, at, monthDays); !errors.Is(err, context.Canceled) {
		t.Errorf("the report: %v", err)
	}
}

// TestSameMonth checks that the month has the same mail every time.
func TestSameMonth(t *testing.T) {
	a, b, at := newMonth(shownSeed), newMonth(shownSeed), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for n := range 1000 {
		if x, y := a.next(n/50, at), b.next(n/50, at); !reflect.DeepEqual(x, y) {
			t.Fatalf("message %d: %+v and %+v", n, x, y)
		}
	}
}
