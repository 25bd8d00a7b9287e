package console

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"sekimori/internal/recent"
)

func TestVerdictChart(t *testing.T) {
	// The counts are in the order accept, tag, quarantine, reject, tempfail, skip.
	bars := []bar{
		{start, start.Add(time.Minute), counts{4, 0, 0, 4, 0, 0}},
		{start.Add(time.Minute), start.Add(2 * time.Minute), counts{}},
		{start.Add(2 * time.Minute), start.Add(3 * time.Minute), counts{1, 0, 0, 1, 0, 0}},
	}
	c := verdictChart(bars, spans[0])
	if c.Peak != 8 || len(c.Columns) != 2 || c.Summary != "Messages by verdict, last hour: 5 accept, 5 reject" {
		t.Fatalf("%+v", c)
	}
	if c.Columns[1].Title != "09:02 to 09:03, 1 reject, 1 accept" {
		t.Errorf("title %q", c.Columns[1].Title)
	}
	low, high := c.Columns[0].Parts[0], c.Columns[0].Parts[1]
	if low.Class != "v-reject" || low.Y+low.H != chartHeight || high.Y != 0 || high.Y+high.H != low.Y {
		t.Errorf("the highest bar is %+v below %+v", low, high)
	}
	if last := c.Columns[1].Parts[0]; last.X+barPitch != float64(c.Width) || last.H != chartHeight/8 {
		t.Errorf("the last bar is %+v of %d", last, c.Width)
	}
	if empty := verdictChart(nil, spans[1]); empty.Summary != "Messages by verdict, last 24 hours: none" || len(empty.Columns) != 0 {
		t.Errorf("of nothing: %+v", empty)
	}
}

func TestTop(t *testing.T) {
	for peak, want := range map[int64]int64{0: 1, 1: 1, 2: 2, 3: 4, 7: 8, 9: 10, 11: 20, 81: 100, 101: 200, 4_000_001: 6_000_000} {
		if got := top(peak); got != want {
			t.Errorf("%d: %d, want %d", peak, got, want)
		}
	}
	bars := []bar{{start, start.Add(time.Minute), counts{1}}}
	if c := verdictChart(bars, spans[0]); len(c.Levels) != 2 || c.Columns[0].Parts[0].Y != 0 {
		t.Errorf("of one message: %+v", c)
	}
}

// TestTicks checks that each round time is written where it belongs.
func TestTicks(t *testing.T) {
	cet := time.FixedZone("CET", 3600)
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 22, hour, minute, 0, 0, cet) }
	full := func(until time.Time, s span) (out []bar) {
		for i := range s.slots {
			to := until.Add(-time.Duration(s.slots-1-i) * time.Duration(s.width) * sampleEvery)
			out = append(out, bar{from: to.Add(-time.Duration(s.width) * sampleEvery), to: to})
		}
		return out
	}
	for _, tt := range []struct {
		reason string
		bars   []bar
		span   span
		want   string
	}{
		{"an hour", full(at(9, 3), spans[0]), spans[0],
			"08:10@12 middle, 08:20@28 middle, 08:30@45 middle, 08:40@62 middle, 08:50@78 middle, 09:00@95 end"},
		{"a minute after the start", full(at(9, 1), spans[0])[59:], spans[0],
			"08:10@15 middle, 08:20@32 middle, 08:30@48 middle, 08:40@65 middle, 08:50@82 middle, 09:00@98 end"},
		{"across midnight", full(at(0, 30), spans[0])[30:], spans[0],
			"23:30@0 start, 23:40@17 middle, 23:50@33 middle, 00:00@50 middle, 00:10@67 middle, 00:20@83 middle, 00:30@100 end"},
		{"a day", full(at(14, 0), spans[1]), spans[1],
			"16:00@8 middle, 20:00@25 middle, 00:00@42 middle, 04:00@58 middle, 08:00@75 middle, 12:00@92 middle"},
		{"the host slept for a day", []bar{{at(8, 0).Add(-24 * time.Hour), at(8, 0), counts{}}, {at(8, 0), at(8, 1), counts{}}}, spans[0],
			"07:10@13 middle, 07:20@30 middle, 07:30@47 middle, 07:40@63 middle, 07:50@80 middle, 08:00@97 end"},
	} {
		var got []string
		for _, k := range ticks(tt.bars, tt.span) {
			if math.Abs(k.Percent-50) > 50.01 {
				t.Errorf("%s: %+v is outside", tt.reason, k)
			}
			got = append(got, fmt.Sprintf("%s@%.0f %s", k.Label, k.Percent, k.Anchor))
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, strings.Join(got, ", "), tt.want)
		}
	}
}

func TestZone(t *testing.T) {
	for _, tt := range []struct {
		zone *time.Location
		want string
	}{
		{time.UTC, "UTC"}, {time.FixedZone("CET", 3600), "CET (UTC+01:00)"}, {time.FixedZone("", -5400), "UTC-01:30"},
		{time.FixedZone("+03", 3*3600), "UTC+03:00"}, {time.FixedZone("GMT", 0), "GMT (UTC+00:00)"},
	} {
		if got := zone(start.In(tt.zone)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.zone, got, tt.want)
		}
	}
}

func TestShares(t *testing.T) {
	got := shares(map[string]int64{"pass": 1, "fail": 3, "none": 0, "": 1}, resultClass)
	if len(got) != 3 || got[0].Word != "fail" || got[1].Word != "-" || got[2].Word != "pass" {
		t.Fatalf("%+v", got)
	}
	end := got[2].Start + got[2].Percent
	if got[0].Percent != 60 || got[0].Start != 0 || math.Abs(end-100) > 1e-9 {
		t.Errorf("%+v", got)
	}
}

// TestClasses checks the CSS class of known and unknown words.
func TestClasses(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{verdictClass("reject"), "v-reject"}, {verdictClass(`"x`), "v-skip"},
		{resultClass("pass"), "v-accept"}, {resultClass("servfail"), "v-reject"}, {resultClass("softfail"), "v-quarantine"},
		{resultClass("timeout"), "v-tempfail"}, {resultClass("nxdomain"), "v-tag"}, {resultClass("a b"), "v-skip"},
		{publishedClass("none"), "p-none"}, {publishedClass("quarantine"), "p-quarantine"}, {publishedClass("reject"), "p-reject"},
		{publishedClass("absent"), "v-skip"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{number(0), "0"}, {number(999), "999"}, {number(1000), "1\u2009000"}, {number(-1234567), "-1\u2009234\u2009567"},
		{percent(0), "0 %"}, {percent(.01), "<0.1 %"}, {percent(7.14), "7.1 %"}, {percent(42.4), "42 %"}, {percent(99.99), ">99.9 %"}, {percent(100), "100 %"},
		{percent(9.99), "9.9 %"}, {percent(41.9), "41 %"}, {percent(99), "99 %"}, {percent(99.49), "99.4 %"}, {percent(99.5), "99.5 %"},
		{percent(99.8999), "99.8 %"}, {percent(100. * 57 / 1000), "5.7 %"},
		{percent(100. * 29 / 100), "29 %"}, {percent(100. / 3 * 3), "100 %"},
		{duration(0), "0 s"}, {duration(290 * time.Microsecond), "290 µs"}, {duration(22500 * time.Microsecond), "22.5 ms"},
		{duration(90 * time.Second), "1 min 30 s"}, {duration(25 * time.Hour), "1 d 1 h"}, {duration(3 * time.Hour), "3 h 0 min"},
		{duration(-2 * time.Second), "-2.0 s"}, {seconds(1.5), "1.5 s"},
		{octets(512), "512 B"}, {octets(1 << 20), "1 MiB"}, {octets(1536), "1.5 KiB"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func FuzzSearch(f *testing.F) {
	f.Add("bank.example", "reject")
	f.Add("::ffff:192.0.2.1", "")
	f.Add("\xff.", "x")
	f.Add("<@>", "skip")
	f.Fuzz(func(t *testing.T, text, verdict string) {
		s, p := parseSearch(map[string][]string{"q": {text}, "verdict": {verdict}, "before": {text}, "day": {text}}, time.UTC)
		if p == nil && len(s.Text) > maxSearchBytes {
			t.Errorf("%d octets", len(s.Text))
		}
		s.matches(&recent.Head{Sender: text})
	})
}
