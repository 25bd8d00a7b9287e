package console

import (
	"math"
	"testing"
	"time"
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
		{publishedClass("none"), "v-tag"}, {publishedClass("quarantine"), "v-quarantine"}, {publishedClass("absent"), "v-skip"},
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
	f.Fuzz(func(t *testing.T, text, verdict string) {
		s, p := parseSearch(map[string][]string{"q": {text}, "verdict": {verdict}, "before": {text}})
		if p == nil && len(s.Text) > maxSearchBytes {
			t.Errorf("%d octets", len(s.Text))
		}
	})
}
