package console

import (
	"context"
	"strings"
	"testing"
	"time"

	"sekimori/internal/stats"
)

// monthOf returns a month with a little of everything.
func monthOf(name string) *stats.Month {
	counts := func(words ...string) (all []stats.Count) {
		for i, w := range words {
			all = append(all, stats.Count{Word: w, Part: stats.Part{Messages: int64(1000 * (i + 1)), Share: 0.1 * float64(i+1)}})
		}
		return all
	}
	m := &stats.Month{
		Month: name, From: name + "-01", To: name + "-20", Messages: 10_000, SPF: counts("none", "pass"), DKIM: counts("pass", "none"), DMARC: counts("pass", "fail"),
		Policies: []stats.Policy{{Policy: "reject", Pass: 7}}, Applied: counts("reject", "quarantine"), Overrides: counts(hostile), Reasons: []stats.Reason{{Applied: "reject", Reason: hostile}},
		Classes: []stats.Class{{Class: hostile, Domains: 5}, {Class: stats.ClassAll, Domains: 50, DMARC: 25}}, Countries: []stats.Country{{Country: hostile}}, Dropped: 3,
	}
	for day := range 20 {
		m.Days = append(m.Days, stats.Day{Day: m.From[:8] + string(rune('0'+day/10)) + string(rune('0'+day%10)), Messages: 500})
	}
	return m
}

func TestStatistics(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/statistics", 200, "There is no store", "!<form", `aria-current="page">Statistics`)
	b.shows(t, "/statistics.csv", 404, "There is no store")
	var asked []string
	b.remembers(Memory{Month: func(_ context.Context, month time.Time) (*stats.Month, error) {
		asked = append(asked, month.Format("2006-01"))
		return monthOf(month.Format("2006-01")), nil
	}})
	b.shows(t, "/statistics", 200, "November 2026", "10,000", "20.00 %", `<figure class="chart">`, "Not the whole month", `<option value="2026-11" selected>`, `<option value="2025-11">`,
		"!2025-09", "/statistics.html?month=2026-11&amp;lang=ja", "<summary>Messages by day: the table", "50.00 %", "missing in the author domains: 3,",
		"!<script>alert", "!<img", "!\x1b", "!\u202e", "!\u2066")
	b.shows(t, "/statistics?month=2026-03", 200, "March 2026", `<option value="2026-03" selected>`)
	if got := strings.Join(asked, " "); got != "2026-11 2026-03" {
		t.Errorf("the store was asked for %s", got)
	}
	for month, want := range map[string]string{
		"2026-13": "&#34;2026-13&#34; is not a month; write one such as 2026-11", "2026-12": "2026-12 has not begun.", "2024-01": "The store has nothing of 2024-01 any more",
		"%22%3E%3Cscript%3Ealert(1)": "is not a month", "%1b[2J%e2%80%ae": "is not a month",
	} {
		b.shows(t, "/statistics?month="+month, 400, want, "!<script>alert", "!\x1b", "!\u202e")
		b.shows(t, "/statistics.csv?month="+month, 400, want)
	}
}

func TestStatisticsDownloads(t *testing.T) {
	b := newBench(t)
	b.remembers(Memory{Month: func(_ context.Context, month time.Time) (*stats.Month, error) {
		return monthOf(month.Format("2006-01")), nil
	}})
	for target, want := range map[string][3]string{
		"/statistics.html?month=2026-11&lang=en": {`attachment; filename="sekimori-2026-11.en.html"`, "text/html; charset=utf-8", "by sekimori v1"},
		"/statistics.html?month=2026-11&lang=ja": {`attachment; filename="sekimori-2026-11.ja.html"`, "text/html; charset=utf-8", "送信ドメイン認証"},
		"/statistics.csv?month=2026-10":          {`attachment; filename="sekimori-2026-10.csv"`, "text/csv; charset=utf-8", "2026-10,dmarc,fail,messages,2000"},
	} {
		w := b.get(t, target)
		if h := w.Header(); w.Code != 200 || h.Get("Content-Disposition") != want[0] || h.Get("Content-Type") != want[1] || h.Get("Content-Security-Policy") != csp ||
			!strings.Contains(w.Body.String(), want[2]) || strings.Contains(w.Body.String(), "\x1b") && want[1][:8] == "text/csv" {
			t.Errorf("%s: %d, %v\n%s", target, w.Code, h, w.Body)
		}
	}
	b.shows(t, "/statistics.html?month=2026-11&lang=fr", 400, "lang is en or ja")
}

// TestChartStyle: the style sheet has the rules of the charts, and the classes of both do not meet.
func TestChartStyle(t *testing.T) {
	css := newBench(t).get(t, "/console.css").Body.String()
	if !strings.HasSuffix(css, stats.ChartCSS()) || stats.ChartCSS() == "" {
		t.Error("the style sheet lacks the rules of the charts")
	}
	ours, err := static.ReadFile("static/console.css")
	if err != nil || strings.Contains(string(ours), "\n.chart ") || !strings.Contains(string(ours), "\n.timeline {") {
		t.Errorf("the chart of the overview has the class of the other charts (%v)", err)
	}
}
