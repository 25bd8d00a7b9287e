package failure

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dns"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// about returns an incident of a domain that can be told from others.
func about(domain dns.Name, n int) Incident {
	return Incident{PolicyDomain: domain, Delivery: fmt.Sprint(n)}
}

func TestLimiterMerges(t *testing.T) {
	l := NewLimiter(10, 1000)
	if r, ok := l.Add(noon, about("shop.example", 0)); !ok || r.Incidents != 1 {
		t.Fatalf("the first: %v, %v", r, ok)
	}
	for n := 1; n <= 5; n++ {
		if r, ok := l.Add(noon.Add(time.Duration(n)*time.Minute), about("shop.example", n)); ok {
			t.Fatalf("after %d minutes: %v", n, r)
		}
	}
	if r, ok := l.Add(noon.Add(5*time.Minute), about("other.example", 9)); !ok || r.Incidents != 1 {
		t.Fatalf("another domain: %v, %v", r, ok)
	}
	if due := l.Due(noon.Add(time.Hour - time.Second)); len(due) != 0 {
		t.Fatalf("before the hour: %v", due)
	}
	due := l.Due(noon.Add(time.Hour))
	if len(due) != 1 || due[0].Incidents != 5 || due[0].Incident.Delivery != "5" {
		t.Fatalf("after an hour: %v", due)
	}
	if due := l.Due(noon.Add(3 * time.Hour)); len(due) != 0 {
		t.Fatalf("nothing is merged: %v", due)
	}
	l.Add(noon.Add(3*time.Hour), about("shop.example", 6))
	l.Add(noon.Add(3*time.Hour), about("shop.example", 7))
	if r, ok := l.Add(noon.Add(4*time.Hour), about("shop.example", 8)); !ok || r.Incidents != 2 || r.Incident.Delivery != "8" {
		t.Fatalf("the next after an hour: %v, %v", r, ok)
	}
}

// TestLimiterResumes: other limits apply at once to what was sent before.
func TestLimiterResumes(t *testing.T) {
	l := NewLimiter(10, 1000)
	l.Add(noon, about("shop.example", 0))
	l.Add(noon, about("shop.example", 1))
	l.Resume(10, 1000)
	if due := l.Due(noon.Add(2 * time.Hour)); len(due) != 0 {
		t.Errorf("merged before, with limits that would allow it: %v", due)
	}
	l.Resume(1, 2)
	if due := l.Due(noon.Add(2 * time.Hour)); len(due) != 0 {
		t.Errorf("merged before: %v", due)
	}
	if r, ok := l.Add(noon.Add(2*time.Hour), about("shop.example", 2)); ok {
		t.Errorf("a second one of the domain: %v", r)
	}
	if _, ok := l.Add(noon.Add(2*time.Hour), about("other.example", 3)); !ok {
		t.Error("another domain gets no report")
	}
	if r, ok := l.Add(noon.Add(2*time.Hour), about("third.example", 4)); ok {
		t.Errorf("a third one of all: %v", r)
	}
}

// TestLimiterRates plays two days of an incident a minute for 30 domains, and checks the limits and
// that every incident is in exactly one report.
func TestLimiterRates(t *testing.T) {
	const perDomain, total = 10, 100
	l := NewLimiter(perDomain, total)
	type day struct {
		domain dns.Name
		day    int
	}
	perDay, all, reported, added := map[day]int{}, map[int]int{}, 0, 0
	last := map[dns.Name]time.Time{}
	count := func(now time.Time, r Ready) {
		d := r.Incident.PolicyDomain
		if before, ok := last[d]; ok && now.Sub(before) < time.Hour {
			t.Fatalf("%s: reports at %v and %v", d, before, now)
		}
		last[d] = now
		perDay[day{d, now.YearDay()}]++
		all[now.YearDay()]++
		reported += r.Incidents
	}
	start := noon.Truncate(24 * time.Hour)
	for minute := range 48 * 60 {
		now := start.Add(time.Duration(minute) * time.Minute)
		for n := range 30 {
			added++
			if r, ok := l.Add(now, about(dns.Name(fmt.Sprintf("d%d.example", n)), minute)); ok {
				count(now, r)
			}
		}
		for _, r := range l.Due(now) {
			count(now, r)
		}
	}
	for d, n := range perDay {
		if n > perDomain {
			t.Errorf("%v: %d reports", d, n)
		}
	}
	if len(all) != 2 {
		t.Errorf("reports on %d days, want 2", len(all))
	}
	for d, n := range all {
		if n != total { // 30 domains want 300
			t.Errorf("day %d: %d reports, want %d", d, n, total)
		}
	}
	merged := 0
	for _, h := range l.domains {
		merged += h.count
	}
	if reported+merged+int(l.Dropped()) != added {
		t.Errorf("%d reported, %d merged, %d dropped of %d", reported, merged, l.Dropped(), added)
	}
}

func TestLimiterIsBounded(t *testing.T) {
	l := NewLimiter(10, 1_000_000)
	for n := range maxDomains + 100 {
		_, ok := l.Add(noon, about(dns.Name(fmt.Sprintf("d%d.example", n)), 0))
		if want := n < maxDomains; ok != want {
			t.Fatalf("domain %d: %v, want %v", n, ok, want)
		}
	}
	if len(l.domains) != maxDomains || l.Dropped() != 100 {
		t.Errorf("%d domains, %d dropped", len(l.domains), l.Dropped())
	}
	tomorrow := noon.Add(24 * time.Hour)
	if _, ok := l.Add(tomorrow, about("new.example", 0)); !ok || len(l.domains) != 1 {
		t.Errorf("on the next day: %v, %d domains", ok, len(l.domains))
	}
	none := NewLimiter(10, 2)
	for n := range 5 {
		none.Add(noon, about(dns.Name(fmt.Sprintf("d%d.example", n)), 0))
	}
	if len(none.domains) != 2 || none.Dropped() != 3 {
		t.Errorf("with a limit of 2: %d domains, %d dropped", len(none.domains), none.Dropped())
	}
}

func TestLimiterClock(t *testing.T) {
	l := NewLimiter(1, 1000)
	l.Add(noon, about("shop.example", 0))
	if _, ok := l.Add(noon.Add(-24*time.Hour), about("shop.example", 1)); ok {
		t.Error("a clock that was set back gives a second report")
	}
	if due := l.Due(noon.Add(-22 * time.Hour)); len(due) != 0 {
		t.Errorf("two hours later, on the day to which the clock was set back: %v", due)
	}
	if due := l.Due(noon.Add(-12 * time.Hour)); len(due) != 1 { // a new day of the clock as it is now
		t.Errorf("the day after: %v", due)
	}
	l = NewLimiter(10, 1000)
	l.Add(noon.Add(1000*time.Hour), about("shop.example", 0)) // a clock that is ahead
	l.Add(noon, about("shop.example", 1))
	if due := l.Due(noon.Add(time.Hour)); len(due) != 1 {
		t.Errorf("an hour after the clock was mended: %v", due)
	}
	l = NewLimiter(10, 1000)
	l.Add(noon, about("shop.example", 0))
	l.Due(noon.Add(50 * time.Minute))
	l.Add(noon.Add(30*time.Minute), about("shop.example", 1)) // set back, but not to a time before the report
	if due := l.Due(noon.Add(time.Hour)); len(due) != 1 {
		t.Errorf("an hour after a report, with a clock that was set back a little: %v", due)
	}
}

func TestLimiterPerDomain(t *testing.T) {
	l := NewLimiter(2, 1000)
	sent := 0
	start := noon.Truncate(24 * time.Hour)
	for hour := range 24 {
		if _, ok := l.Add(start.Add(time.Duration(hour)*time.Hour), about("shop.example", hour)); ok {
			sent++
		}
	}
	if sent != 2 {
		t.Errorf("%d reports in a day, want 2", sent)
	}
	if due := l.Due(start.Add(24 * time.Hour)); len(due) != 1 || due[0].Incidents != 22 {
		t.Errorf("on the next day: %v", due)
	}
}

// TestLimiterOrder: the domain that has waited longest gets its report first, so that the limit for all starves
// nobody.
func TestLimiterOrder(t *testing.T) {
	l := NewLimiter(10, 1000)
	for i, domain := range []dns.Name{"d.example", "b.example", "e.example", "c.example", "a.example"} {
		at := noon.Add(time.Duration(i/2) * time.Minute) // two at a time
		l.Add(at, about(domain, 0))
		l.Add(at, about(domain, 1))
	}
	var got []dns.Name
	for _, r := range l.Due(noon.Add(2 * time.Hour)) {
		got = append(got, r.Incident.PolicyDomain)
	}
	if want := []dns.Name{"b.example", "d.example", "c.example", "e.example", "a.example"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLimiterForgets: what is known of a domain is forgotten when it limits nothing any more.
func TestLimiterForgets(t *testing.T) {
	evening := noon.Add(11*time.Hour + 30*time.Minute)
	for _, tt := range []struct {
		why    string
		begin  time.Time
		more   int // incidents that are merged
		after  time.Duration
		domain int
	}{
		{"sent today", noon, 0, 2 * time.Hour, 1},
		{"sent yesterday, less than an hour ago", evening, 0, minInterval - 1, 1},
		{"sent yesterday, an hour ago", evening, 0, minInterval, 0},
		{"sent yesterday, and some are merged", evening, 1, minInterval - 1, 1},
	} {
		l := NewLimiter(10, 1000)
		for n := range 1 + tt.more {
			l.Add(tt.begin, about("shop.example", n))
		}
		if l.Due(tt.begin.Add(tt.after)); len(l.domains) != tt.domain {
			t.Errorf("%s: %d domains", tt.why, len(l.domains))
		}
	}
}
