package console

import (
	"testing"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/status"
)

// reportsOf returns what the page gets one and a half days after the window of 22 November began.
func reportsOf(sending bool) *status.Reports {
	midnight := start.Truncate(24 * time.Hour)
	window := report.Window{Begin: midnight.Unix(), End: midnight.Unix() + 86399}
	s := report.Summary{
		Standings: []report.Standing{
			{Window: window, State: report.StateDone, Outcome: report.Sent, Jobs: 1200, Rows: 5000, Messages: 70000, Lost: 17},
			{Window: window, State: report.StateDue, Jobs: 1, Rows: 1, Messages: 2, Late: 5},
		},
		Largest:  []report.Job{{Policy: report.Policy{Domain: hostile}, Window: window, State: report.StateOpen, Rows: 77, Messages: 78}},
		FirstDay: report.Day(midnight.Unix() / 86400), Oldest: midnight, Suppressed: 1,
	}
	suppressed := []report.Suppression{{Target: hostile, Since: start, Until: start.Add(1000 * time.Hour), Reason: hostile, By: hostile}}
	return status.SummarizeReports(s, suppressed, sending, start)
}

func TestReports(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/reports", 200, "There is no store", `<a href="/reports" aria-current="page">`, "!<table")
	b.reports = status.SummarizeReports(report.Summary{}, nil, true, start)
	b.shows(t, "/reports", 200, "No report is done yet", "Nothing was counted yet", "!is new", "!not sent", "!<table", "!cannot be read")
	b.reports = reportsOf(false)
	b.now = start
	b.shows(t, "/reports", 200, "but not sent", "This installation is new", "2026-11-29", "1\u2009200 <small>sent</small>", "17 messages lost",
		"1 <small>report with 1 row</small>", "77", "!should have been sent", "!<script>alert", "!<img", "!\x1b", "!\u202e")
	b.now = start.Add(24 * time.Hour) // 33 hours after the report was due
	b.shows(t, "/reports", 200, "A report should have been sent 1 d 9 h ago")
	b.reports = reportsOf(true)
	b.reports.Error = hostile
	b.shows(t, "/reports", 200, "The store cannot be read", "!but not sent", "!<script>alert")
}

func TestReportClass(t *testing.T) {
	for word, want := range map[string]string{"sent": "v-accept", "failed": "v-tempfail", "unverified": "v-quarantine", "not_established": "v-tag",
		`"><script>`: "v-skip", "loop": "v-skip"} {
		if got := reportClass(word); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}
