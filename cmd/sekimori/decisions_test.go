package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
)

// TestDecisionsTimes: --day is a whole day of the host's time zone, and --until can only make it shorter.
func TestDecisionsTimes(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 30, 15, 7, time.FixedZone("", 9*3600))
	for _, tt := range []struct{ day, until, want, fail string }{
		{},
		{day: "today", want: "from=2026-12-01T00:00:00+09:00&until=2026-12-02T00:00:00+09:00"},
		{day: "yesterday", want: "from=2026-11-30T00:00:00+09:00&until=2026-12-01T00:00:00+09:00"},
		{day: "2026-02-28", want: "from=2026-02-28T00:00:00+09:00&until=2026-03-01T00:00:00+09:00"},
		{day: "2026-02-29", fail: `--day: "2026-02-29" is neither a day such as 2026-11-29 nor "today" or "yesterday"`},
		{day: "Today", fail: `--day: "Today" is neither a day such as 2026-11-29 nor "today" or "yesterday"`},
		{until: "2026-11-29T08:00:00.005Z", want: "until=2026-11-29T08:00:00.005Z"},
		{until: "2026-11-29", fail: `--until: "2026-11-29" is not a time such as 2026-11-29T08:00:00Z`},
		{day: "today", until: "2026-12-01T14:59:59.999Z", want: "from=2026-12-01T00:00:00+09:00&until=2026-12-01T14:59:59.999Z"},
		{day: "today", until: "2026-12-01T15:00:00Z", want: "from=2026-12-01T00:00:00+09:00&until=2026-12-02T00:00:00+09:00"},
		{day: "today", until: "2026-12-01T15:00:01Z", want: "from=2026-12-01T00:00:00+09:00&until=2026-12-02T00:00:00+09:00"},
		{day: "today", until: "noon", fail: `--until: "noon" is not a time such as 2026-11-29T08:00:00Z`},
	} {
		query, said := url.Values{}, ""
		if err := (&decisionsFlags{day: tt.day, until: tt.until}).times(query, now); err != nil {
			said = err.Error()
		}
		got, err := url.QueryUnescape(query.Encode())
		if err != nil || said != tt.fail || said == "" && got != tt.want {
			t.Errorf("--day %q --until %q: %s %s (%v)", tt.day, tt.until, got, said, err)
		}
	}
}

// TestDecisionsCommand asks a daemon for decisions: with every flag, and for the table with what strangers write.
func TestDecisionsCommand(t *testing.T) {
	at := time.Date(2026, 11, 29, 8, 0, 0, 5e6, time.UTC)
	var asked recent.Query
	var answer recent.Answer
	mux := http.NewServeMux()
	mux.Handle(app.DecisionsPath, recent.Handler(func(_ context.Context, q recent.Query) recent.Answer {
		asked = q
		return answer
	}))
	daemon := httptest.NewServer(mux)
	defer daemon.Close()
	ask := func(args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := command(t, append([]string{"decisions", "--admin", daemon.URL}, args...)...)
		if code != 0 {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
		return stdout, stderr
	}
	if out, _ := ask(); out != "No decision that is remembered or kept matches.\n" || asked != (recent.Query{Limit: 50}) {
		t.Errorf("%+v: %s", asked, out)
	}
	answer = recent.Answer{More: true, Next: at, HistoryError: "sqlite: \x1b away"}
	out, errors := ask("--day", "2026-11-29", "--until", "2026-11-29T09:00:00+09:00", "--author", "Bank.Example", "--client", "192.0.2.1", "--sender", "<>", "--verdict", "reject",
		"--reason", "dmarc_reject", "--host", "mx2.example", "--limit", "7")
	day := time.Date(2026, 11, 29, 0, 0, 0, 0, time.Local)
	want := recent.Query{
		Author: "bank.example", Client: netip.MustParseAddr("192.0.2.1"), Sender: "<>", Verdict: policy.Reject, Reason: policy.ReasonReject, Host: "mx2.example", Limit: 7,
	}
	got := asked
	if got.From, got.Until = (time.Time{}), (time.Time{}); got != want || !asked.From.Equal(day) || !asked.Until.Equal(time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)) && !asked.Until.Equal(day.AddDate(0, 0, 1)) {
		t.Errorf("asked for %+v, want %+v", asked, want)
	}
	if !strings.Contains(out, "There are older ones: add --until 2026-11-29T08:00:00.005Z") || !strings.Contains(errors, "the history could not be searched") || strings.Contains(errors, "\x1b") {
		t.Errorf("%s%s", out, errors)
	}
	long := strings.Repeat("x", 500)
	answer = recent.Answer{More: true, Next: at, Decisions: []*recent.Entry{
		{Time: at, ID: "7G3K0A2B", QueueID: "4dQZ", Client: netip.MustParseAddr("192.0.2.1"), AuthorDomain: "bank.example", Host: "mx2.example",
			Verdict: policy.Verdict{Action: policy.Reject, Reason: policy.ReasonReject}, Evaluation: &msgauth.Evaluation{Envelope: msgauth.Envelope{MailFrom: "<a\t\n\x1b[2J" + long + "@x.example>"}}},
		{Time: at, Verdict: policy.Verdict{Action: policy.Skip, Reason: policy.ReasonTrusted}},
	}}
	out, _ = ask()
	lines := strings.Split(out, "\n")
	if len(lines) != 6 || !strings.Contains(lines[0], "QUEUE ID  HOST") || strings.Contains(out, "\x1b") || strings.Contains(out, long) || !strings.Contains(out, "add --until 2026-11-29T08:00:00.005Z") {
		t.Errorf("%q", lines)
	}
	if got := strings.Fields(lines[2])[2:]; strings.Join(got, " ") != "skip trusted_network - <> - - - this one" {
		t.Errorf("%q", got)
	}
	out, _ = ask("--json")
	var again recent.Answer
	if err := json.Unmarshal([]byte(out), &again); err != nil || len(again.Decisions) != 2 || !again.Next.Equal(at) {
		t.Errorf("%v: %s", err, out)
	}
}
