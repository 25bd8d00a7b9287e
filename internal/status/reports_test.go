package status

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/report"
)

// midnight begins the window of most cases.
var midnight = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)

func windowOf(begin time.Time, d time.Duration) report.Window {
	return report.Window{Begin: begin.Unix(), End: begin.Add(d).Unix() - 1}
}

func summary() report.Summary {
	today, yesterday := windowOf(midnight.Add(24*time.Hour), 24*time.Hour), windowOf(midnight, 24*time.Hour)
	return report.Summary{
		Standings: []report.Standing{
			{Window: today, State: report.StateOpen, Jobs: 7, Rows: 70, Messages: 700, Late: 1},
			{Window: yesterday, State: report.StateDue, Jobs: 2, Rows: 20, Messages: 200, Lost: 3},
			{Window: yesterday, State: report.StateDone, Outcome: report.Sent, Jobs: 4, Rows: 40, Messages: 400},
			{Window: yesterday, State: report.StateDone, Outcome: report.WithheldNotEstablished, Jobs: 5, Rows: 50, Messages: 500},
			{Window: yesterday, State: report.StateDone, Outcome: report.Failed, Jobs: 1, Rows: 1, Messages: 1},
		},
		Largest: []report.Job{{Policy: report.Policy{Domain: "shop.example"}, Window: yesterday, State: report.StateDone, Outcome: report.Sent, Rows: 9, Messages: 90}},
		Oldest:  midnight.Add(26 * time.Hour), FirstDay: report.Day(midnight.Unix() / 86400), Suppressed: 2,
	}
}

func TestSummarizeReports(t *testing.T) {
	now := midnight.Add(36 * time.Hour)
	r := SummarizeReports(summary(), []report.Suppression{
		{Target: "old@a.example", Since: midnight, Until: now}, // has ended
		{Target: "a@a.example", Since: midnight, Until: now.Add(time.Hour), Reason: "5.1.1", By: "bounce"},
		{Target: "@b.example", Since: midnight.Add(time.Hour), Until: now.Add(time.Hour)},
		{Target: "strikes@a.example", Since: midnight},
	}, true, now)
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"waiting", []int64{r.WaitingReports, r.WaitingRows}, []int64{9, 90}},
		{"outcomes", r.Outcomes, map[string]int64{"sent": 4, "not_established": 5, "failed": 1}},
		{"withheld", r.Withheld(), map[string]int64{"not_established": 5}},
		{"windows", len(r.Windows), 2},
		{"of yesterday", r.Windows[1], ReportWindow{Begin: midnight, End: midnight.Add(24*time.Hour - time.Second), Reports: 12, Waiting: 2, Rows: 111,
			Messages: 1101, Lost: 3, Outcomes: map[string]int64{"sent": 4, "not_established": 5, "failed": 1}}},
		{"first", *r.First, midnight.Add(7 * 24 * time.Hour)},
		{"oldest", *r.Oldest, midnight.Add(26 * time.Hour)},
		{"largest", fmt.Sprint(r.Largest), "[{shop.example 2026-11-28 00:00:00 +0000 UTC done sent 9 90}]"},
		{"suppressed", []string{r.Suppressions[0].Target, r.Suppressions[1].Target}, []string{"@b.example", "a@a.example"}},
		{"suppressions", len(r.Suppressions), 2},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
	if r = SummarizeReports(summary(), nil, true, midnight.Add(7*24*time.Hour)); r.First != nil {
		t.Errorf("after a week: first reports on %v", r.First)
	}
	if r = SummarizeReports(report.Summary{}, nil, true, now); r.First != nil || r.Oldest != nil {
		t.Errorf("of an empty store: %v, %v", r.First, r.Oldest)
	}
	if text, err := json.Marshal(r); err != nil || strings.Contains(string(text), "null") {
		t.Errorf("an empty list is null: %s %v", text, err)
	}
	many := make([]report.Suppression, maxSuppressions+1)
	for i := range many {
		many[i] = report.Suppression{Target: fmt.Sprintf("a%d@b.example", i), Until: now.Add(1)}
	}
	if r = SummarizeReports(report.Summary{}, many, true, now); len(r.Suppressions) != maxSuppressions {
		t.Errorf("%d suppressions are listed", len(r.Suppressions))
	}
}

func TestReportLines(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    *Reports
		want []string
	}{
		{"no store", nil, []string{"reports        no store (store.url), or it was not read yet\n"}},
		{"new", SummarizeReports(report.Summary{FirstDay: report.Day(midnight.Unix() / 86400)}, nil, false, midnight), []string{
			"only collecting, report.aggregate.send is false; 0 waiting with 0 rows; first reports on 2026-12-05, when", "last reports   none yet\n",
			"withheld       none; 0 destinations"}},
		{"busy", SummarizeReports(summary(), nil, true, midnight.Add(36*time.Hour)), []string{
			"reports        sending; 9 waiting with 90 rows, the oldest for 2026-11-29 02:00 UTC; first",
			"last reports   of 2026-11-28: 5 not_established, 4 sent, 1 failed\n", "withheld       5 not_established; 2 destinations suppressed\n"}},
		{"hours", SummarizeReports(report.Summary{Standings: []report.Standing{
			{Window: windowOf(midnight.Add(6*time.Hour), 6*time.Hour), State: report.StateDone, Outcome: report.Sent, Jobs: 1}}}, nil, true, midnight),
			[]string{"of 2026-11-28 06:00 to 12:00 UTC: 1 sent"}},
		{"broken", &Reports{Error: "disk\x1b[2J", Read: midnight}, []string{`THE STORE CANNOT BE READ: "disk\x1b[2J"; the numbers are of 2026-11-28 00:00 UTC`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if err := (&Status{Reports: tt.r}).Text(&b); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("lacks %q:\n%s", want, &b)
				}
			}
		})
	}
}
