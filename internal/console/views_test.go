package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/explain"
	"sekimori/internal/farm"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/indicators"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/readiness"
	"sekimori/internal/recent"
	"sekimori/internal/report"
	"sekimori/internal/spf"
	"sekimori/internal/stats"
	"sekimori/internal/status"
	"sekimori/internal/watchlist"
)

// TestEveryClass: the colour of every word.
func TestEveryClass(t *testing.T) {
	for _, tt := range []struct {
		class func(string) string
		want  map[string]string
	}{
		{resultClass, map[string]string{"v-accept": "pass noerror", "v-reject": "fail servfail refused malformed", "v-quarantine": "softfail policy quarantine permerror",
			"v-tempfail": "temperror timeout", "v-tag": "neutral nodata nxdomain", "v-skip": "none skip reject accept"}},
		{verdictClass, map[string]string{"v-accept": "accept", "v-tag": "tag", "v-quarantine": "quarantine", "v-reject": "reject", "v-tempfail": "tempfail", "v-skip": "skip pass"}},
		{publishedClass, map[string]string{"p-reject": "reject", "p-quarantine": "quarantine", "p-none": "none", "v-skip": "pass"}},
		{watchClass, map[string]string{"v-quarantine": "lookalike", "v-accept": "pass", "v-reject": "fail"}},
		{func(w string) string { return answerClass(readiness.Verdict(w)) }, map[string]string{"good": string(readiness.Enforce), "plain": string(readiness.Rules), "": string(readiness.Wait) + " x"}},
		{func(w string) string { return looksClass(readiness.Looks(w)) }, map[string]string{"v-tag": string(readiness.Author), "v-accept": string(readiness.Forwarded),
			"v-reject": string(readiness.Spoof), "v-quarantine": string(readiness.Unclear) + " x"}},
		{reportClass, map[string]string{"v-accept": string(report.Sent), "v-tempfail": string(report.Refused) + " " + string(report.Failed),
			"v-quarantine": strings.Join([]string{string(report.WithheldUnusable), string(report.WithheldUnverified), string(report.WithheldUndeliverable), string(report.WithheldSuppressed)}, " "),
			"v-tag":        strings.Join([]string{string(report.WithheldNotEstablished), string(report.WithheldNotRequested), string(report.WithheldOff)}, " "), "v-skip": "x"}},
	} {
		for want, words := range tt.want {
			for word := range strings.FieldsSeq(words) {
				if got := tt.class(word); got != want {
					t.Errorf("%q: %q, want %q", word, got, want)
				}
			}
		}
	}
}

// TestHeaders: all header fields that restrict the browser.
func TestHeaders(t *testing.T) {
	h := http.Header{}
	secure(h)
	want := http.Header{"Content-Security-Policy": {csp}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"no-referrer"}, "Cache-Control": {"no-store"},
		"Cross-Origin-Opener-Policy": {"same-origin"}, "Cross-Origin-Resource-Policy": {"same-origin"}}
	if fmt.Sprint(h) != fmt.Sprint(want) {
		t.Errorf("%v", h)
	}
	b := newBench(t)
	for path, want := range map[string]string{"/console.css": "text/css; charset=utf-8", "/console.js": "text/javascript; charset=utf-8", "/console.svg": "image/svg+xml", "/": "text/html; charset=utf-8"} {
		w := b.get(t, path)
		if got := w.Header().Get("Content-Type"); got != want || w.Body.Len() < 100 {
			t.Errorf("%s: %s, %d octets", path, got, w.Body.Len())
		}
		if has := strings.HasSuffix(w.Body.String(), stats.ChartCSS()); has != (path == "/console.css") {
			t.Errorf("%s has the style of the charts: %v", path, has)
		}
	}
}

// TestPageFails: a page that cannot be made is an error in the log, and nothing of it is sent.
func TestPageFails(t *testing.T) {
	b := newBench(t)
	var log strings.Builder
	b.console.o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	b.console.pages["config"] = template.Must(template.New("x").Parse("begin {{.Nothing}}"))
	w := b.get(t, "/config")
	if w.Code != 500 || w.Body.String() != "console: the page cannot be made; the log says why\n" || !strings.Contains(log.String(), "level=ERROR msg=console page=config error=") {
		t.Errorf("%d %s, log %s", w.Code, w.Body, &log)
	}
	c, err := New(Options{})
	if err != nil || c.o.Now == nil || time.Since(c.o.Now()) > time.Hour {
		t.Errorf("a console without a clock: %v", err)
	}
	for path, code := range map[string]int{"/api/x": 404, "/debug/x": 404, "/apix": 404} {
		w := b.get(t, path)
		if w.Code != code || strings.Contains(w.Body.String(), "<html") != (path == "/apix") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestChartOf compares all of a chart.
func TestChartOf(t *testing.T) {
	at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	c := verdictChart([]bar{{at(0), at(1), counts{4, 2, 1, 4, 1, 0}}, {at(1), at(2), counts{}}, {at(2), at(3), counts{0, 0, 0, 0, 0, 3}}}, spans[0])
	got := fmt.Sprintf("%d %d %d %d %v %s %v %v\n%+v\n", c.Width, c.Height, c.Peak, c.Top, c.Levels, c.Zone, c.From.Format("15:04"), c.To.Format("15:04"), c.Totals)
	for _, one := range c.Columns {
		got += fmt.Sprintf("%s %v\n", one.Title, one.Parts)
	}
	want := `600 120 12 20 [20 10 0] UTC 09:00 09:03
[{Word:accept Class:v-accept Count:4 Percent:26.666666666666668 Start:0} {Word:reject Class:v-reject Count:4 Percent:26.666666666666668 Start:26.666666666666668} {Word:skip Class:v-skip Count:3 Percent:20 Start:53.333333333333336} {Word:tag Class:v-tag Count:2 Percent:13.333333333333334 Start:73.33333333333334} {Word:quarantine Class:v-quarantine Count:1 Percent:6.666666666666667 Start:86.66666666666667} {Word:tempfail Class:v-tempfail Count:1 Percent:6.666666666666667 Start:93.33333333333334}]
09:00 to 09:01, 4 reject, 1 quarantine, 1 tempfail, 2 tag, 4 accept [{v-reject 570 8 96 24} {v-quarantine 570 8 90 6} {v-tempfail 570 8 84 6} {v-tag 570 8 72 12} {v-accept 570 8 48 24}]
09:02 to 09:03, 3 skip [{v-skip 590 8 102 18}]
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	one := verdictChart([]bar{{at(0), at(1), counts{0, 1}}}, spans[1])
	if fmt.Sprint(one.Levels, one.Top, one.Width, one.Summary) != "[1 0] 1 960Messages by verdict, last 24 hours: 1 tag" {
		t.Errorf("%+v", one)
	}
	for peak, want := range map[int64]int64{-1: 1, 4: 4, 5: 6, 6: 6, 8: 8, 10: 10, 12: 20, 20: 20, 21: 40, 60: 60, 61: 80, 100: 100} {
		if got := top(peak); got != want {
			t.Errorf("%d: %d, want %d", peak, got, want)
		}
	}
}

// TestTickEdges: a label near a side of the chart begins or ends there, and no two labels overlap.
func TestTickEdges(t *testing.T) {
	s := span{slots: 100, width: 1, minutes: 7} // a slot is a percent
	var bars []bar
	for i := range 100 {
		bars = append(bars, bar{from: start.Add(time.Duration(i) * time.Minute), to: start.Add(time.Duration(i+1) * time.Minute)})
	}
	var got []string
	for _, k := range ticks(bars, s) {
		got = append(got, fmt.Sprintf("%s@%g %s", k.Label, k.Percent, k.Anchor))
	}
	if want := "09:06@6 start, 09:20@20 middle, 09:34@34 middle, 09:48@48 middle, 10:02@62 middle, 10:16@76 middle, 10:30@90 middle"; strings.Join(got, ", ") != want {
		t.Errorf("%s", strings.Join(got, ", "))
	}
	for i := range bars { // a minute later
		bars[i].from, bars[i].to = bars[i].from.Add(-time.Minute), bars[i].to.Add(-time.Minute)
	}
	got = nil
	for _, k := range ticks(bars, s) {
		got = append(got, fmt.Sprintf("%s@%g %s", k.Label, k.Percent, k.Anchor))
	}
	if want := "08:59@0 start, 09:13@14 middle, 09:27@28 middle, 09:41@42 middle, 09:55@56 middle, 10:09@70 middle, 10:23@84 middle, 10:37@98 end"; strings.Join(got, ", ") != want {
		t.Errorf("%s", strings.Join(got, ", "))
	}
	s.minutes = 78
	if k := ticks(bars, s); len(k) != 2 || k[0].Percent != 7 || k[0].Anchor != "middle" {
		t.Errorf("%+v", k)
	}
	s.minutes = 31
	got = nil
	for _, k := range ticks(bars, s) {
		got = append(got, fmt.Sprintf("%s@%g %s", k.Label, k.Percent, k.Anchor))
	}
	if want := "09:18@19 middle, 09:49@50 middle, 10:20@81 middle"; strings.Join(got, ", ") != want {
		t.Errorf("%s", strings.Join(got, ", "))
	}
	for from, want := range map[int]string{6: "94 end", 7: "93 middle"} { // minutes from the label to the right side
		s = span{slots: 100, width: 1, minutes: 60}
		end := start.Add(time.Duration(from) * time.Minute)
		last := ticks([]bar{{end.Add(-time.Minute), end, counts{}}}, s)
		if k := last[len(last)-1]; fmt.Sprintf("%g %s", k.Percent, k.Anchor) != want {
			t.Errorf("%d minutes: %+v", from, k)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{number(-1), "-1"}, {number(-100), "-100"}, {number(-1000), "-1\u2009000"}, {number(123456), "123\u2009456"}, {number(1234567), "1\u2009234\u2009567"},
		{percent(0.1), "0.1 %"}, {percent(0.0999), "<0.1 %"}, {percent(9.999), "9.9 %"}, {percent(10), "10 %"}, {percent(99.9), "99.9 %"}, {percent(99.91), ">99.9 %"}, {percent(99.05), "99.0 %"}, {percent(98.99), "98 %"}, {percent(101), "101 %"},
		{part(1, 0), "-"}, {part(0, 1), "0 %"}, {part(1, 1), "100 %"}, {part(1, 3), "33 %"},
		{duration(time.Microsecond), "1 µs"}, {duration(time.Millisecond - 1), "999 µs"}, {duration(time.Millisecond), "1.0 ms"}, {duration(time.Second), "1.0 s"}, {duration(59 * time.Second), "59.0 s"}, {duration(time.Minute), "1 min 0 s"},
		{duration(time.Hour - time.Second), "59 min 59 s"}, {duration(time.Hour), "1 h 0 min"}, {duration(24*time.Hour - time.Minute), "23 h 59 min"}, {duration(24 * time.Hour), "1 d 0 h"}, {duration(50 * time.Hour), "2 d 2 h"},
		{octets(0), "0 B"}, {octets(1023), "1023 B"}, {octets(1024), "1 KiB"}, {octets(1 << 40), "1 TiB"}, {octets(1 << 50), "1024 TiB"}, {octets(-5), "-5 B"},
		{clock(start), "09:00"}, {capital(""), ""}, {capital("a"), "A."}, {capital("ab c"), "Ab c."}, {sentence(errors.New("x\x1b")), `"x\x1b".`},
		{lines([]byte("a\r\nb\rc\n")), "a\nb\rc\n"},
		{zone(start.In(time.FixedZone("-03", -3*3600))), "UTC-03:00"}, {zone(start.In(time.FixedZone("UTC", 3600))), "UTC (UTC+01:00)"}, {zone(start.In(time.FixedZone("", 0))), "UTC"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	f := funcs()
	depth, half := f["depth"].(func(int) int), f["half"].(func(int) int)
	if fmt.Sprint(depth(-1), depth(0), depth(8), depth(9), half(7)) != "0 0 8 8 3" {
		t.Error(depth(-1), depth(0), depth(8), depth(9), half(7))
	}
	if got := f["stamp"].(func(time.Time) string)(start); got != "2026-11-22 09:00:00 UTC" {
		t.Error(got)
	}
	if got := f["iso"].(func(time.Time) string)(start.In(time.FixedZone("x", 3600))); got != "2026-11-22T09:00:00Z" {
		t.Error(got)
	}
}

// TestKept: which answers of the store are shown again.
func TestKept(t *testing.T) {
	var d desk
	for at, want := range map[time.Duration]bool{-1: false, 0: true, answerLife - 1: true, answerLife: false} {
		d.answers = []answer{{"other", start, 1}, {"q", start, 2}}
		if a, found := d.find("q", start.Add(at)); found != want || found && a.value != 2 {
			t.Errorf("%v later: %v %v", at, a, found)
		}
	}
	d.keep(answer{"other", start, 3})
	if fmt.Sprint(len(d.answers), d.answers[0].value, d.answers[1].value) != "2 2 3" {
		t.Errorf("%+v", d.answers)
	}
	d = desk{}
	for i := range maxAnswers {
		d.keep(answer{fmt.Sprint(i), start, i})
	}
	if len(d.answers) != maxAnswers || d.answers[0].value != 0 {
		t.Errorf("%+v", d.answers)
	}
	d.keep(answer{"new", start, 0})
	if len(d.answers) != maxAnswers || d.answers[0].value != 1 {
		t.Errorf("%+v", d.answers)
	}
	d = desk{waiting: maxWaiting, answers: []answer{{"q", start, 2}}}
	if a, found, err := d.known("q", start); err != nil || !found || a.value != 2 || d.waiting != maxWaiting {
		t.Errorf("what is known is not given to one who need not wait: %v, %v", a, err)
	}
	d = desk{waiting: maxWaiting}
	if _, _, err := d.known("q", start); !errors.Is(err, errBusy) || d.turn != nil || d.waiting != maxWaiting {
		t.Errorf("%v, %+v", err, d.waiting)
	}
	d.waiting--
	if _, found, err := d.known("q", start); err != nil || found || d.turn == nil || d.waiting != maxWaiting {
		t.Errorf("%v, %+v", err, d.waiting)
	}
	d.leave()
	failed := errors.New("failed")
	if _, err := d.ask(t.Context(), "q", func() time.Time { return start }, func(context.Context) (any, error) { return 1, failed }); !errors.Is(err, failed) || len(d.answers) > 0 || len(d.turn) > 0 || d.waiting != maxWaiting-1 {
		t.Errorf("%v, %+v", err, d.answers)
	}
}

// TestAskProblems: what a viewer is told if there is no answer.
func TestAskProblems(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	for _, tt := range []struct {
		name string
		err  error
		busy bool
		want problem
	}{
		{"busy", nil, true, problem{503, "Too many viewers wait for the store.", "Load the page again in a minute."}},
		{"slow", fmt.Errorf("x: %w", context.DeadlineExceeded), false, problem{503, "The store did not answer in 20 seconds.", "Ask for fewer days, or use the command of the same name, which waits longer."}},
		{"broken", errors.New("no disk\x1b"), false, problem{503, "The store cannot be read.", `"no disk\x1b"`}},
		{"good", nil, false, problem{}},
	} {
		b.console.desk.waiting = 0
		if tt.busy {
			b.console.desk.waiting = maxWaiting
		}
		value := 7
		got, at, p := ask(b.console, r, tt.name, func(context.Context) (*int, error) { return &value, tt.err })
		if p == nil {
			p = &problem{}
		}
		if *p != tt.want || (got != nil) != (tt.name == "good") || tt.name == "good" && (*got != 7 || !at.Equal(b.now)) {
			t.Errorf("%s: %+v, %v at %v", tt.name, p, got, at)
		}
	}
	other := "x"
	if got, _, p := ask(b.console, r, "good", func(context.Context) (*string, error) { return &other, nil }); got != nil || p == nil ||
		*p != (problem{500, "The page cannot be made.", "The store gave another answer than was asked for."}) {
		t.Errorf("an answer of another kind: %v %+v", got, p)
	}
}

// TestHostRows: which remarks of a host are trouble.
func TestHostRows(t *testing.T) {
	b := newBench(t)
	none := func() {
		t.Helper()
		if got, p := b.console.hosts(nil, nil); p != nil || got.(hosts).Hosts != nil {
			t.Errorf("%+v %v", got, p)
		}
	}
	none()
	well := farm.Shown{Host: farm.Host{Beat: farm.Beat{Name: "a", Messages: map[string]int64{"accept": 3, "reject": 1}, DNS: farm.DNS{Servers: 2, Up: 1}}}}
	for name, tt := range map[string]struct {
		edit func(*farm.Shown)
		bad  bool
	}{
		"well": {func(*farm.Shown) {}, false}, "stale": {func(s *farm.Shown) { s.Stale = true }, true}, "twin": {func(s *farm.Shown) { s.Twin = true }, true},
		"not ready": {func(s *farm.Shown) { s.NotReady = "x" }, true}, "no DNS": {func(s *farm.Shown) { s.DNS.Up = 0 }, true},
		"no servers": {func(s *farm.Shown) { s.DNS = farm.DNS{} }, false},
	} {
		one := well
		tt.edit(&one)
		b.hosts = &status.Hosts{}
		b.hosts.Hosts = []farm.Shown{one, one}
		got, _ := b.console.hosts(nil, nil)
		h := got.(hosts)
		if len(h.Rows) != 2 || h.Rows[1].Bad != tt.bad || h.Rows[0].Sum != 4 || len(h.Rows[0].Shares) != 2 || h.Hosts != b.hosts || !slices.Equal(h.Rows[0].Remarks, status.Remarks(one)) {
			t.Errorf("%s: %+v", name, h.Rows)
		}
	}
	b.console.o.Hosts = nil
	none()
	for want, names := range map[string][]string{"[]": {"a", "a"}, "[a b]": {"b", "a", "b"}} {
		b.hosts = &status.Hosts{}
		for _, n := range names {
			b.hosts.Hosts = append(b.hosts.Hosts, farm.Shown{Host: farm.Host{Beat: farm.Beat{Name: n}}})
		}
		b.console.o.Hosts = func() *status.Hosts { return b.hosts }
		if got := b.console.hostNames(); fmt.Sprint(got) != want {
			t.Errorf("%v: %v", names, got)
		}
	}
	b.hosts = nil
	if b.console.hostNames() != nil {
		t.Error("names without a store")
	}
	b.console.o.Hosts = nil
	if b.console.hostNames() != nil {
		t.Error("names without a store")
	}
}

// TestMarkRows: what ends soon, and why a mark is not shown.
func TestMarkRows(t *testing.T) {
	b := newBench(t)
	for name, tt := range map[string]struct {
		mark *bimi.Mark
		want bool
	}{
		"none": {nil, false}, "not certified": {&bimi.Mark{NotAfter: start}, false},
		"soon": {&bimi.Mark{Certified: true, NotAfter: start.Add(certificateSoon - 1)}, true}, "later": {&bimi.Mark{Certified: true, NotAfter: start.Add(certificateSoon)}, false},
	} {
		b.console.o.Marks = func(most int) Marks {
			if most != maxMarks+1 {
				t.Errorf("asked for %d", most)
			}
			return Marks{[]indicators.Known{{Answer: bimi.Answer{Mark: tt.mark}}}, []indicators.Root{{Ends: start.Add(rootSoon - 1)}, {Ends: start.Add(rootSoon)}}}
		}
		got, _ := b.console.marks(nil, &status.Status{Marks: &status.Marks{}})
		m := got.(marks)
		if !m.On || m.More || m.Rows[0].Soon != tt.want || (m.Rows[0].Picture != "") != (tt.mark != nil) || !m.Roots[0].Soon || m.Roots[1].Soon {
			t.Errorf("%s: %+v", name, m)
		}
	}
	for most, more := range map[int]bool{maxMarks: false, maxMarks + 1: true} {
		b.console.o.Marks = func(int) Marks { return Marks{Known: make([]indicators.Known, most)} }
		got, _ := b.console.marks(nil, &status.Status{Marks: &status.Marks{}})
		if m := got.(marks); m.More != more || len(m.Rows) != maxMarks {
			t.Errorf("%d marks: %d rows, more %v", most, len(m.Rows), m.More)
		}
	}
	if got, _ := b.console.marks(nil, &status.Status{}); got.(marks).On {
		t.Error("marks are on without their numbers")
	}
	b.console.o.Marks = nil
	if got, _ := b.console.marks(nil, &status.Status{Marks: &status.Marks{}}); got.(marks).On {
		t.Error("marks are on without a function")
	}
	for _, tt := range []struct {
		a    bimi.Answer
		want string
	}{
		{bimi.Answer{Result: bimi.Pass, Reason: "x", Checks: []bimi.Check{{Detail: "y"}}}, ""},
		{bimi.Answer{Result: bimi.Fail, Reason: "x"}, "x"},
		{bimi.Answer{Result: bimi.Fail, Reason: "x", Checks: []bimi.Check{{Detail: "a"}, {Detail: "b"}, {OK: true, Detail: "c"}}}, "b"},
		{bimi.Answer{Result: bimi.Fail, Reason: "x", Checks: []bimi.Check{{Detail: "a"}, {OK: true, Detail: "c"}}}, "a"},
		{bimi.Answer{Result: bimi.Fail, Reason: "x", Checks: []bimi.Check{{OK: true, Detail: "c"}}}, "x"},
	} {
		if got := whyNot(tt.a); got != tt.want {
			t.Errorf("%+v: %q", tt.a, got)
		}
	}
	mark := &bimi.Mark{SVG: []byte("<svg/>")}
	var asked bimi.Query
	b.console.o.Mark = func(q bimi.Query) *bimi.Mark { asked = q; return mark }
	e := &msgauth.Evaluation{BIMI: &bimi.Evaluation{Result: bimi.Pass, Domain: "d", Selector: "s", Location: "l", Evidence: "e", Hash: mark.Hash()}}
	if got := b.console.markOf(e); got != pictureOf(mark) || asked != (bimi.Query{Domain: "d", Selector: "s", Location: "l", Evidence: "e"}) {
		t.Errorf("%q, asked %+v", got, asked)
	}
	failed := &msgauth.Evaluation{BIMI: &bimi.Evaluation{Result: bimi.Fail, Hash: mark.Hash()}}
	for i, e := range []*msgauth.Evaluation{nil, {}, failed} {
		if b.console.markOf(e) != "" {
			t.Errorf("evaluation %d shows a mark", i)
		}
	}
	mark = nil
	if b.console.markOf(e) != "" {
		t.Error("a mark that is not in memory is shown")
	}
}

// TestReportRows: when a report is late, and which windows are shorter than a day.
func TestReportRows(t *testing.T) {
	b := newBench(t)
	at := func(d time.Duration) *time.Time { x := start.Add(d); return &x }
	for _, tt := range []struct {
		oldest *time.Time
		late   time.Duration
		over   bool
	}{{nil, 0, false}, {at(time.Hour), 0, false}, {at(-overdue), overdue, false}, {at(-overdue - 1), overdue + 1, true}} {
		windows := make([]status.ReportWindow, windowRows+1)
		windows[0].Begin, windows[0].End, windows[0].Outcomes = start, start.Add(24*time.Hour-time.Second), map[string]int64{"sent": 1}
		windows[1].Begin, windows[1].End = start, start.Add(24*time.Hour-time.Second-1)
		got, p := b.console.reports(nil, &status.Status{Reports: &status.Reports{Oldest: tt.oldest, Windows: windows, Outcomes: map[string]int64{"failed": 2}}})
		r := got.(reports)
		if p != nil || r.Late != tt.late || r.Overdue != tt.over || len(r.Rows) != windowRows || r.Rows[0].Hours || !r.Rows[1].Hours || r.Rows[0].Shares[0].Class != "v-accept" || r.Outcomes[0].Class != "v-tempfail" {
			t.Errorf("%v: %+v", tt.oldest, r)
		}
	}
	got, _ := b.console.reports(nil, &status.Status{Reports: &status.Reports{Windows: make([]status.ReportWindow, 1)}})
	if r := got.(reports); len(r.Rows) != 1 {
		t.Errorf("%+v", r.Rows)
	}
}

// TestRuleRows: when a rule has ended or ends soon, and which comparisons are shown.
func TestRuleRows(t *testing.T) {
	b := newBench(t)
	b.rules = []policy.Rule{{ID: "a"}, {ID: "b", Expires: start}, {ID: "c", Expires: start.Add(1)}, {ID: "d", Expires: start.Add(soon)}, {ID: "e", Expires: start.Add(soon + 1)}}
	series := func(value int64, pairs ...string) status.Series {
		s := status.Series{Value: value, Labels: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			s.Labels[pairs[i]] = pairs[i+1]
		}
		return s
	}
	got, _ := b.console.overrides(nil, &status.Status{
		Rules:  []status.Series{series(2, "rule", "a"), series(3, "rule", "a"), series(7, "rule", "e")},
		Shadow: []status.Series{series(1, "live", "tag", "shadow", "tag"), series(0, "live", "tag", "shadow", "skip"), series(1, "live", "tag", "shadow", "accept")},
	})
	o := got.(overrides)
	var text []string
	for _, r := range o.Rules {
		text = append(text, fmt.Sprintf("%d%s %d %v %v %v %v", r.Number, r.ID, r.Hits, r.Left, r.Expired, r.Soon, r.Last.Format("0102150405")))
	}
	want := "1a 5 0s false false 0101000000|2b 0 0s true true 1122085959|3c 0 1ns false true 1122085959|4d 0 336h0m0s false true 1206085959|5e 7 336h0m0.000000001s false false 1206085959"
	if strings.Join(text, "|") != want || len(o.Shadow) != 1 || o.Shadow[0].Labels["shadow"] != "accept" {
		t.Errorf("%s\n%+v", strings.Join(text, "|"), o.Shadow)
	}
}

// TestOverviewNumbers: the percentages of the first page.
func TestOverviewNumbers(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?span=24h", http.NoBody)
	one := func(n int64) map[string]int64 { return map[string]int64{"pass": n} }
	s := &status.Status{Messages: map[string]int64{}}
	s.Results = status.Results{DMARC: one(1), SPFMailFrom: one(2), SPFHELO: one(3), DKIM: map[string]int64{"pass": 2, "fail": 2}, ARC: one(5), IPRev: one(6), Published: map[string]int64{"none": 7}}
	s.DNS.Queries, s.DNS.BudgetExceeded, s.Sessions.Rejected, s.Deviations = one(8), one(9), one(10), one(11)
	s.DNS.Cache.Hits, s.DNS.Cache.Misses = 3, 1
	s.Limits.MaxSessions, s.Sessions.InFlight = 8, 2
	got, _ := b.console.overview(r, s)
	o := got.(overview)
	text := ""
	for _, m := range append(o.Mechanisms, o.DNS) {
		text += fmt.Sprintf("%s %s %d %s, ", m.Name, m.Unit, m.Total, m.Shares[0].Class)
	}
	text += fmt.Sprint(o.Over[0].Count, o.Rejected[0].Count, o.Deviations[0].Count, o.Lookups, o.HitRate, o.Sessions, o.Span.Word, len(o.Spans), o.Failing == nil)
	want := "DMARC messages 1 v-accept, SPF of MAIL FROM messages 2 v-accept, SPF of HELO messages 3 v-accept, DKIM signatures 4 v-reject, ARC messages 5 v-accept, Reverse name messages 6 v-accept, " +
		"Published policy messages 7 p-none, Queries queries 8 v-accept, 9 10 11 4 75 2524h2true"
	if strings.ReplaceAll(text, " ", "") != strings.ReplaceAll(strings.Replace(want, "2524h2", "25 24h 2 ", 1), " ", "") {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	s.DNS.Cache.Hits, s.DNS.Cache.Misses, s.Limits.MaxSessions, s.Sessions.InFlight = 1, 0, 1, 5
	got, _ = b.console.overview(r, s)
	if o := got.(overview); o.HitRate != 100 || o.Sessions != 100 {
		t.Errorf("%v %v", o.HitRate, o.Sessions)
	}
	s.DNS.Cache.Hits, s.Limits.MaxSessions = 0, 0
	got, _ = b.console.overview(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), s)
	if o := got.(overview); o.HitRate != 0 || o.Sessions != 0 || o.Span.Word != "1h" {
		t.Errorf("%v %v %v", o.HitRate, o.Sessions, o.Span)
	}
}

// TestUnaccepted counts the authors and clients of what was not accepted.
func TestUnaccepted(t *testing.T) {
	b := newBench(t)
	if b.console.unaccepted() != nil {
		t.Error("of nothing")
	}
	b.decide("A", "a.example", "192.0.2.1", policy.Reject)
	since := b.now
	for i := range topRows + 2 {
		b.decide("B", fmt.Sprintf("b%d.example", i), "::ffff:192.0.2.1", policy.Tag)
	}
	b.decide("C", "a.example", "192.0.2.2", policy.Quarantine)
	b.decide("D", "d.example", "192.0.2.3", policy.Accept)
	b.ring.Decided(&judge.Decision{Envelope: msgauth.Envelope{QueueID: "S"}, Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	b.ring.Decided(decided(&msgauth.Evaluation{}, policy.Verdict{Action: policy.TempFail}), 0)
	f := b.console.unaccepted()
	if f.Count != 13 || f.Of != 15 || f.Since.After(since.Add(time.Second)) || len(f.Authors) != topRows || f.Authors[0] != (tally{"a.example", 2}) || f.Authors[1].Count != 1 ||
		fmt.Sprint(f.Clients) != "[{192.0.2.1 11} {192.0.2.2 1}]" {
		t.Errorf("%+v", f)
	}
	b.ring = nil
	if b.console.unaccepted() != nil {
		t.Error("of no memory")
	}
}

// TestWatchRows: how many domains of a list are shown.
func TestWatchRows(t *testing.T) {
	b := newBench(t)
	for n, more := range map[int]int{0: 0, watchDomains: 0, watchDomains + 1: 1} {
		b.watch = []watchlist.List{{Domains: make([]string, n)}}
		got, _ := b.console.watch(nil, nil)
		if w := got.(watch); !w.On || w.Lists[0].More != more || len(w.Lists[0].Domains) != min(n, watchDomains) {
			t.Errorf("%d domains: %+v", n, w)
		}
	}
	b.watch = nil
	if got, _ := b.console.watch(nil, nil); got.(watch).On {
		t.Error("on without a list")
	}
	b.console.o.Watch = nil
	if got, _ := b.console.watch(nil, nil); got.(watch).On {
		t.Error("on without a function")
	}
}

// TestLimiter lets some tries through at once, and then one after each pause.
func TestLimiter(t *testing.T) {
	var l limiter
	take := func(at time.Duration) bool { return l.take(start.Add(at)) }
	for i := range maxTries {
		if !take(0) {
			t.Errorf("try %d is refused", i+1)
		}
	}
	if take(0) || take(tryEvery-1) {
		t.Error("one too many")
	}
	if !take(tryEvery) || take(tryEvery) {
		t.Error("after a pause, one may pass")
	}
	if !take(100*tryEvery) || l.full != start.Add(101*tryEvery) {
		t.Errorf("after a long pause: %v", l.full)
	}
	b := newBench(t)
	b.console.o.TryOff = nil
	if got := b.console.tryOff(); got != "" {
		t.Error(got)
	}
	b.console.o.TryOff = func() string { return "off" }
	if got := b.console.tryOff(); got != "off" {
		t.Error(got)
	}
	b.console.o.Try = nil
	if got := b.console.tryOff(); got != "This daemon cannot try messages." {
		t.Error(got)
	}
}

// TestStored: what is wrong with a form.
func TestStored(t *testing.T) {
	many := strings.Repeat("a@b.example\n", maxTryRecipients)
	for _, tt := range []struct {
		f       tryFields
		message string
		wrong   string
		rcpt    int
		now     bool
	}{
		{tryFields{Client: "192.0.2.1"}, "x", "", 0, false},
		{tryFields{Client: "192.0.2.1", Recipients: many, Now: true}, "x", "", maxTryRecipients, true},
		{tryFields{Client: "192.0.2.1", Recipients: "\n" + many + " \nx"}, "x", "There are more than 100 recipients.", 0, false},
		{tryFields{Client: "192.0.2.1"}, " \r\n", "Paste a message, or choose a file.", 0, false},
		{tryFields{}, "x", "The address of the client is missing, or is not an IP address.", 0, false},
	} {
		s, wrong := tt.f.stored([]byte(tt.message), start)
		if wrong != tt.wrong || (s == nil) != (wrong != "") || s != nil && (len(s.Recipients) != tt.rcpt || s.Time.IsZero() == tt.now || string(s.Message) != tt.message) {
			t.Errorf("%+v: %+v, %q", tt.f, s, wrong)
		}
	}
	body, contentType := form(t, map[string]string{"message": "a\r\nb", "file": "", "now": ""})
	for name, want := range map[string]string{"whole": "", "cut": "error", "a bad header": "error"} {
		text := string(body)
		switch name {
		case "cut":
			text = text[:len(text)-20]
		case "a bad header":
			text = strings.Replace(text, "Content-Disposition:", "Content-Disposition", 1)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/try", strings.NewReader(text))
		r.Header.Set("Content-Type", contentType)
		f, message, err := readTry(r)
		if (err != nil) != (want != "") || err == nil && (f.Message != "a\nb" || string(message) != "a\r\nb" || !f.Now) {
			t.Errorf("%s: %+v %q %v", name, f, message, err)
		}
	}
}

// TestParseSearch: the bounds of a search, and what the store is asked for.
func TestParseSearch(t *testing.T) {
	cet := time.FixedZone("CET", 3600)
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, cet)
	long := strings.Repeat("x", maxSearchBytes)
	for _, tt := range []struct{ query, problem, from, before string }{
		{"", "", "", ""},
		{"q=" + long + "&host=" + long, "", "", ""},
		{"q=" + long + "x", "That is too long to be a queue ID, a domain or an address.|Write at most 512 octets.", "", ""},
		{"host=" + long + "x", "That is too long to be the name of a host.|The page Hosts lists the names.", "", ""},
		{"reason=x", "There is no such reason.|Choose one from the list.", "", ""},
		{"verdict=x", "There is no such verdict.|Choose one from the list.", "", ""},
		{"day=x", "That is not a day.|Write it as 2026-11-29.", "", ""},
		{"day=2026-11-22", "", "0", "24h0m0s"},
		{fmt.Sprintf("day=2026-11-22&before=%d", day.Add(time.Hour).UnixNano()), "", "0", "1h0m0s"},
		{fmt.Sprintf("day=2026-11-22&before=%d", day.Add(25*time.Hour).UnixNano()), "", "0", "24h0m0s"},
		{fmt.Sprintf("before=%d", day.Add(25*time.Hour).UnixNano()), "", "", "25h0m0s"},
	} {
		q, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		s, p := parseSearch(q, cet)
		text := ""
		if p != nil {
			text = p.Text + "|" + p.Hint
			if p.code != 400 || len(s.Text) > maxSearchBytes || len(s.Host) > maxSearchBytes || s.Day != "" {
				t.Errorf("%s: %+v, %+v", tt.query, p, s)
			}
		}
		if text != tt.problem || (tt.from == "") != s.from.IsZero() || (tt.before == "") != s.before.IsZero() || tt.from != "" && !s.from.Equal(day) || tt.before != "" && s.before.Sub(day).String() != tt.before {
			t.Errorf("%s: %q, from %v, before %v", tt.query, text, s.from, s.before)
		}
	}
	client := netip.MustParseAddr("192.0.2.1")
	for text, want := range map[string][]history.KeyIn{
		"":                nil,
		"Q_1":             {history.AuthorKey("q_1"), history.SenderKey("q_1")},
		"a..b":            {},
		"<>":              {history.SenderPathKey("", "<>")},
		"@":               {history.SenderPathKey("", "@")},
		`"a@b"@c.example`: {history.SenderPathKey("c.example", `"a@b"@c.example`)},
		"192.0.2.1":       {history.ClientKey(client)},
		"@a.example":      {history.SenderKey("a.example")},
		"x@a.example":     {history.SenderPathKey("a.example", "x@a.example")},
		"<x@a.example>":   {history.SenderPathKey("a.example", "x@a.example")},
		"a.example":       {history.AuthorKey("a.example"), history.SenderKey("a.example")},
	} {
		s, _ := parseSearch(url.Values{"q": {text}, "verdict": {"tag"}, "reason": {"rule"}, "host": {"h"}, "day": {"2026-11-22"}}, cet)
		got := s.query()
		if want != nil {
			want = append([]history.KeyIn{history.IDKey(text), history.QueueKey(text)}, want...)
		}
		if fmt.Sprint(got.Any) != fmt.Sprint(want) || got.Verdict != policy.Tag || got.Reason != "rule" || got.Host != "h" || !got.From.Equal(day) || got.Until.Sub(day) != 24*time.Hour {
			t.Errorf("%q: %+v, want %v", text, got, want)
		}
	}
	for _, tt := range []struct {
		from, before time.Duration
		want         bool
	}{{0, 0, true}, {0, 1, true}, {1, 0, false}, {-1, 1, true}} {
		s := search{from: day.Add(tt.from), before: day.Add(tt.before)}
		if tt.before == 0 {
			s.before = time.Time{}
		}
		if got := s.matches(&recent.Head{Time: day}); got != tt.want {
			t.Errorf("from %v before %v: %v", tt.from, tt.before, got)
		}
	}
	if s := (search{before: day}); s.matches(&recent.Head{Time: day}) {
		t.Error("a decision at the end of the time is shown")
	}
}

// TestIdentities: what is said of each name of a message.
func TestIdentities(t *testing.T) {
	failed := errors.New("no answer")
	e := &msgauth.Evaluation{
		Session: msgauth.Session{HELO: "h.example"}, Envelope: msgauth.Envelope{MailFrom: "<a@s.example>"}, From: author.From{AuthorDomain: "a.example"},
		MailFrom: spf.Check{Result: spf.Pass, Domain: "s.example", Mechanism: "mx", Trace: []spf.Step{{Domain: "s.example", Outcome: "match"}, {Domain: "s.example", Term: "mx", Outcome: "match", Detail: "d"}}},
		HELO:     spf.Check{Result: spf.None, Problem: "p", Mechanism: "a", Domain: "h.example", Trace: []spf.Step{{Domain: "h.example", Term: "a", Outcome: "none"}}},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, Reason: "r", PolicyDomain: "a.example", PolicyPublished: dmarc.PolicyReject, Alignments: []dmarc.Alignment{
			{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "s.example"}, Aligned: true}, {Identifier: dmarc.Identifier{Mechanism: dmarc.SPF, Domain: "s.example"}}, {Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "k.example"}, Error: &dmarc.DNSError{}, Aligned: true},
			{Identifier: dmarc.Identifier{Mechanism: dmarc.SPF, Domain: "y.example"}, Aligned: true},
		}},
	}
	want := "[{Author (From) a.example DMARC fail  r; a.example publishes reject} {Envelope sender <a@s.example> SPF pass no mx of s.example} {HELO h.example SPF none  p} {Client's name  iprev  } ]"
	if got := fmt.Sprint(identities(e)); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e.DMARC.PolicyPublished = ""
	if got := identities(e)[0].Note; got != "r" {
		t.Errorf("no policy: %q", got)
	}
	for _, tt := range []struct {
		m      dmarc.Mechanism
		domain dns.Name
		want   string
	}{{dmarc.DKIM, "s.example", "yes"}, {dmarc.SPF, "s.example", "no"}, {dmarc.DKIM, "k.example", "not known"}, {dmarc.SPF, "k.example", ""}, {dmarc.SPF, "", ""}, {dmarc.SPF, "y.example", "yes"}} {
		if got := aligned(e, tt.m, tt.domain); got != tt.want {
			t.Errorf("%s %s: %q", tt.m, tt.domain, got)
		}
	}
	e.DMARC.Alignments = append(e.DMARC.Alignments, dmarc.Alignment{Identifier: dmarc.Identifier{Mechanism: dmarc.SPF}})
	if got := aligned(e, dmarc.SPF, ""); got != "" {
		t.Errorf("no domain: %q", got)
	}
	if got := fmt.Sprint(questions(e)); got != "[{SPF of MAIL FROM s.example: its record match} {SPF of MAIL FROM s.example: mx match d} {SPF of HELO h.example: a none}]" {
		t.Error(got)
	}
	for _, tt := range []struct {
		c    spf.Check
		want string
	}{{spf.Check{}, ""}, {spf.Check{Problem: "p"}, "p"}, {spf.Check{Problem: "p", Mechanism: "m"}, "p"}, {spf.Check{Mechanism: "m", Domain: "d"}, "m of d"}} {
		if got := note(&tt.c); got != tt.want {
			t.Errorf("%+v: %q", tt.c, got)
		}
	}
	if p := forgotten(failed); *p != (problem{503, "The store cannot be searched now.", "no answer"}) {
		t.Errorf("%+v", p)
	}
	if p := forgotten(nil); p.code != 404 || p.Text != "This decision is no longer remembered." || !strings.Contains(p.Hint, "admin.recent") {
		t.Errorf("%+v", p)
	}
}

// TestEvidence: a rule names a signature that passes, or SPF, or the client, in this order.
func TestEvidence(t *testing.T) {
	e := &msgauth.Evaluation{Session: msgauth.Session{Client: netip.MustParseAddr("::ffff:192.0.2.1")}, MailFrom: spf.Check{Result: spf.Pass, Domain: "s.example"},
		DKIM: []dkim.Signature{{Result: dkim.Fail, Domain: "f.example"}, {Result: dkim.Pass, Domain: `x"`}, {Result: dkim.Pass, Domain: "k.example"}}}
	steps := []struct {
		edit func()
		want string
	}{
		{func() {}, "dkim k.example with a valid signature of k.example"},
		{func() { e.DKIM = e.DKIM[:2] }, "spf s.example whose envelope sender is of s.example and passes SPF"},
		{func() { e.MailFrom.Domain = `x"` }, "client 192.0.2.1/32 that comes from 192.0.2.1"},
		{func() { e.MailFrom = spf.Check{Result: spf.Fail, Domain: "s.example"} }, "client 192.0.2.1/32 that comes from 192.0.2.1"},
		{func() { e.Session.Client = netip.Addr{} }, "  "},
	}
	for _, s := range steps {
		s.edit()
		key, value, words := evidence(e)
		if got := key + " " + value + " " + words; got != s.want {
			t.Errorf("%q, want %q", got, s.want)
		}
	}
	d := &recent.Entry{ID: "ID1", QueueID: "Q", Evaluation: failing(), Verdict: rejected()}
	d.Verdict.ID = "ID1"
	got := offers(d, start)
	if len(got) != 2 || got[0] != (offer{"copy-command", "Command that prints this explanation", "sekimori explain --id ID1", "", 1}) || got[1].ID != "copy-rule" || got[1].Lines != 5 ||
		got[1].Title != "Rule for policy.overrides that accepts such mail" || !strings.HasPrefix(got[1].Hint, "Accepts mail of bank.example with a valid signature of list.example, although nothing of bank.example authenticates.") {
		t.Errorf("%+v", got)
	}
	for action, want := range map[policy.Action]bool{policy.Reject: true, policy.Quarantine: true, policy.Tag: true, policy.Accept: false, policy.TempFail: false, policy.Skip: false} {
		d.Verdict.Action = action
		if text, _ := rule(d, start); (text != "") != want {
			t.Errorf("%s: %q", action, text)
		}
	}
	d.Verdict.Action = policy.Reject
	for result, want := range map[dmarc.Result]bool{dmarc.ResultFail: true, dmarc.ResultNone: true, dmarc.ResultPass: false, dmarc.ResultPermError: false} {
		d.Evaluation.DMARC.Result = result
		if text, _ := rule(d, start); (text != "") != want {
			t.Errorf("%s: %q", result, text)
		}
	}
	d.Evaluation.DMARC.Result, d.ID = dmarc.ResultFail, "a b"
	if text, _ := rule(d, start); text != "" {
		t.Errorf("an ID that is no word: %q", text)
	}
	d.Evaluation = nil
	if text, _ := rule(d, start); text != "" {
		t.Errorf("not evaluated: %q", text)
	}
}

// TestParts: a page shows why first, and then the rest of the explanation.
func TestParts(t *testing.T) {
	b := newBench(t)
	x := &explain.Explanation{Summary: "s", AuthenticationResults: "r", Verdict: policy.Verdict{Action: policy.Reject, Evidence: []string{"e"}}}
	b.try = func(context.Context, *explain.Stored) (*explain.Explanation, error) { return x, nil }
	body, contentType := form(t, map[string]string{"message": "a", "client": "192.0.2.1"})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/try", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	got, p := b.console.try(r, nil)
	parts := x.Sections()
	if v, ok := got.(tried); !ok || p != nil || v.Result != x || v.Results != "r" || !reflect.DeepEqual(v.Why, parts[0].Lines) || !reflect.DeepEqual(v.Rest, parts[1:]) || len(parts) < 2 {
		t.Errorf("%+v %v", got, p)
	}
	e, v := failing(), rejected()
	d := &recent.Entry{ID: v.ID, QueueID: "Q", Evaluation: e, Verdict: v, Time: start}
	o, all := b.console.lay(d), explain.Remembered(d)
	if !reflect.DeepEqual(o.Sections, all.Sections()[1:]) || o.Summary != all.Summary || len(o.Why) == 0 || len(o.Why) >= len(all.Sections()[0].Lines) || len(o.Signatures) != len(e.DKIM) || o.Session.HELO != e.Session.HELO {
		t.Errorf("%+v", o)
	}
	session, envelope := &msgauth.Session{HELO: "h"}, &msgauth.Envelope{QueueID: "Q"}
	for _, tt := range []struct {
		s    *msgauth.Session
		e    *msgauth.Envelope
		helo string
	}{{nil, nil, ""}, {session, nil, ""}, {nil, envelope, ""}, {session, envelope, "h"}} {
		if o := b.console.lay(&recent.Entry{Session: tt.s, Envelope: tt.e}); o.Session.HELO != tt.helo || (o.Envelope.QueueID == "Q") != (tt.helo != "") {
			t.Errorf("%v %v: %+v", tt.s, tt.e, o)
		}
	}
	for name, want := range map[dns.Name]bool{"a.example": true, "A.example": false, "": false, `x"`: false, "a.example.": false} {
		if got := named(name); got != want {
			t.Errorf("%q can be named: %v", name, got)
		}
	}
	if f, ok := b.console.finder(); !ok || f.Reader != nil || f.Ring != b.ring || f.Host != "mx1.example" {
		t.Errorf("%+v %v", f, ok)
	}
	b.history, b.ring = &archive.Reader{}, nil
	if f, ok := b.console.finder(); !ok || f.Reader != b.history || f.Ring != nil {
		t.Errorf("%+v %v", f, ok)
	}
	b.console.o.History = nil
	if _, ok := b.console.finder(); ok {
		t.Error("nothing is remembered, and decisions are found")
	}
	if got := fmt.Sprint(months("2026-10", start)[:3], choices(14, readinessDays)); got != "[{2026-11 November 2026 false} {2026-10 October 2026 true} {2026-09 September 2026 false}] [7 14 30 90]" {
		t.Error(got)
	}
}

// TestReadinessNumbers: how much of a report the page shows.
func TestReadinessNumbers(t *testing.T) {
	b := newBench(t)
	for n, hidden := range map[int]int{0: 0, readinessDomains: 0, readinessDomains + 1: 1} {
		b.now = b.now.Add(time.Hour)
		b.remembers(Memory{Readiness: func(context.Context, int) (*readiness.Report, error) {
			return &readiness.Report{Days: 14, Domains: make([]readiness.Domain, n), Reason: readiness.Reason{Text: "x"}}, nil
		}})
		got, p := b.console.readiness(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), nil)
		if page := got.(readinessPage); p != nil || page.Hidden != hidden || len(page.Domains) != n-hidden || page.Answer != "X." || !page.Read.Equal(b.now) || !slices.Equal(page.Form.Choices, readinessDays) {
			t.Errorf("%d domains: %d, %d hidden, %+v", n, len(page.Domains), page.Hidden, page.Form)
		}
	}
	for text, want := range map[string]string{"": "14 true", "1": "1 true", "400": "400 true", "401": "0 false", "0": "0 false", "x": "0 false"} {
		n, p := daysOf(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?days="+text, http.NoBody), 14)
		if got := fmt.Sprint(n, " ", p == nil); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	b.console.o.Memory = nil
	for _, p := range []*problem{noStore(), noLanguage()} {
		if p.Text == "" || p.Hint == "" || p.code < 400 {
			t.Errorf("%+v", p)
		}
	}
}
