package report

import (
	"fmt"
	"testing"
	"time"

	"sekimori/internal/dns"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestWindowAt(t *testing.T) {
	for _, tt := range []struct {
		time       string
		interval   time.Duration
		begin, end string
	}{
		{"2026-11-28T00:00:00Z", 24 * time.Hour, "2026-11-28T00:00:00Z", "2026-11-28T23:59:59Z"},
		{"2026-11-28T23:59:59.999999999Z", 24 * time.Hour, "2026-11-28T00:00:00Z", "2026-11-28T23:59:59Z"},
		{"2026-11-29T00:00:00Z", 24 * time.Hour, "2026-11-29T00:00:00Z", "2026-11-29T23:59:59Z"},
		{"2026-11-29T08:59:59+09:00", 24 * time.Hour, "2026-11-28T00:00:00Z", "2026-11-28T23:59:59Z"},
		{"2026-11-29T09:00:00+09:00", 24 * time.Hour, "2026-11-29T00:00:00Z", "2026-11-29T23:59:59Z"},
		{"2026-11-28T05:59:59Z", 6 * time.Hour, "2026-11-28T00:00:00Z", "2026-11-28T05:59:59Z"},
		{"2026-11-28T06:00:00Z", 6 * time.Hour, "2026-11-28T06:00:00Z", "2026-11-28T11:59:59Z"},
		{"2026-11-28T23:00:00Z", time.Hour, "2026-11-28T23:00:00Z", "2026-11-28T23:59:59Z"},
		{"1970-01-01T00:00:00Z", 24 * time.Hour, "1970-01-01T00:00:00Z", "1970-01-01T23:59:59Z"},
		{"1969-12-31T23:59:59Z", 24 * time.Hour, "1969-12-31T00:00:00Z", "1969-12-31T23:59:59Z"},
		{"1969-12-31T00:00:00Z", 24 * time.Hour, "1969-12-31T00:00:00Z", "1969-12-31T23:59:59Z"},
	} {
		w := WindowAt(at(t, tt.time), tt.interval)
		if want := (Window{at(t, tt.begin).Unix(), at(t, tt.end).Unix()}); w != want {
			t.Errorf("%s by %s: got %v, want %v", tt.time, tt.interval, w, want)
		}
	}
}

// TestWindowFor checks which stamps are believed.
func TestWindowFor(t *testing.T) {
	now := at(t, "2026-11-28T23:55:00Z")
	const day = 24 * time.Hour
	today := WindowAt(now, day)
	next := Window{today.Begin + 86400, today.End + 86400}
	before := func(days int64) Window { return Window{today.Begin - 86400*days, today.End - 86400*days} }
	for _, tt := range []struct {
		ahead time.Duration
		want  Window
		late  bool
	}{
		{0, today, false},
		{10 * time.Minute, next, false},
		{10*time.Minute + 1, today, true},
		{day, today, true},
		{-day, before(1), false},
		{-48 * time.Hour, before(2), false},
		{-48*time.Hour - 1, today, true},
		{-30 * day, today, true},
	} {
		w, late := WindowFor(now.Add(tt.ahead), now, day)
		if w != tt.want || late != tt.late {
			t.Errorf("%s ahead: got %v %v", tt.ahead, w, late)
		}
	}
}

// TestSendAt checks that reports are sent after the grace and within the spread, spread evenly, and at
// a time that depends on the domain, the organization and nothing else.
func TestSendAt(t *testing.T) {
	w := WindowAt(at(t, "2026-11-28T12:00:00Z"), 24*time.Hour)
	closes := at(t, "2026-11-29T00:15:00Z")
	if w.Closes() != closes || SendAt(w, "a.example", "org", 0) != closes || SendAt(w, "a.example", "org", -1) != closes {
		t.Errorf("closes %v", w.Closes())
	}
	const spread = 4 * time.Hour
	var quarters [4]int
	times := map[time.Time]bool{}
	for i := range 1000 {
		send := SendAt(w, dns.Name(fmt.Sprintf("%d.example", i)), "org", spread)
		if send.Before(closes) || !send.Before(closes.Add(spread)) {
			t.Fatalf("sent at %v", send)
		}
		if send.Nanosecond() != 0 || send.Location() != time.UTC {
			t.Fatalf("%v is not in whole seconds of UTC", send)
		}
		quarters[send.Sub(closes)/(spread/4)]++
		times[send] = true
	}
	for _, n := range quarters {
		if n < 200 || n > 300 {
			t.Errorf("the quarters of the spread have %v reports", quarters)
		}
	}
	if len(times) < 900 {
		t.Errorf("%d times for 1,000 domains", len(times))
	}
	one := SendAt(w, "a.example", "org", spread)
	next := Window{w.Begin + 86400, w.End + 86400}
	switch {
	case one != SendAt(w, "a.example", "org", spread):
		t.Error("the time changes")
	case one.Add(24*time.Hour) != SendAt(next, "a.example", "org", spread):
		t.Error("the time of day changes from day to day")
	case one.Equal(SendAt(w, "a.example", "other", spread)), one.Equal(SendAt(w, "a.exampleo", "rg", spread)):
		t.Error("the time does not depend on the domain and the organization")
	}
}

// TestWithin puts windows into those of other lengths.
func TestWithin(t *testing.T) {
	const hour = 3600
	day := Window{10 * 24 * hour, 11*24*hour - 1}
	at := func(hours int64) time.Time { return time.Unix(day.Begin+hours*hour, 0) }
	part := func(begin, hours int64) Window {
		return Window{day.Begin + begin*hour, day.Begin + (begin+hours)*hour - 1}
	}
	for _, tt := range []struct {
		w      Window
		length int64
		now    time.Time
		want   Window
	}{
		{part(6, 6), 24 * hour, at(7), day},
		{part(6, 6), 24 * hour, at(50), day},
		{day, 6 * hour, at(13), part(12, 6)},
		{day, 6 * hour, at(-1), part(0, 6)},
		{day, 6 * hour, at(30), part(18, 6)},
		{part(6, 2), 3 * hour, at(7), part(6, 3)},
		{day, 24 * hour, at(3), day},
	} {
		if got := tt.w.Within(tt.length, tt.now); got != tt.want {
			t.Errorf("%v within %d h at %v: %v, want %v", tt.w, tt.length/hour, tt.now, got, tt.want)
		}
	}
	if day.Length() != 24*hour || day.Day() != 10 || part(23, 1).Day() != 10 {
		t.Error(day.Length(), day.Day(), part(23, 1).Day())
	}
}

// TestOwner checks by which domain the jobs are counted.
func TestOwner(t *testing.T) {
	for domain, want := range map[dns.Name]dns.Name{
		"shop.example": "shop.example", "a.b.shop.example": "shop.example", "x.shop.co.uk": "shop.co.uk", "a.github.io": "github.io",
		"example": "example", "co.uk": "co.uk", "": "",
	} {
		if got := (Policy{Domain: domain}).Owner(); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
}

func TestDay(t *testing.T) {
	for s, want := range map[string]Day{
		"1970-01-01T00:00:00Z": 0, "1970-01-01T23:59:59Z": 0, "1970-01-02T00:00:00Z": 1, "1969-12-31T23:59:59Z": -1, "1969-12-31T00:00:00Z": -1,
		"2026-11-28T23:59:59Z": 20785, "2026-11-29T08:59:59+09:00": 20785, "2026-11-29T09:00:00+09:00": 20786,
	} {
		if got := DayOf(at(t, s)); got != want {
			t.Errorf("%s: %d", s, got)
		}
	}
	if got := Day(20785).Time(); got != at(t, "2026-11-28T00:00:00Z") {
		t.Errorf("got %v", got)
	}
}
