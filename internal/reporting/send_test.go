package reporting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"sekimori/internal/dispatch"
	"sekimori/internal/report"
	"sekimori/internal/submit"
)

func TestSend(t *testing.T) {
	o, s := newOffice()
	sent, err := o.DryRun(t.Context(), Selection{Window: "yesterday"})
	if err != nil || !sent.DryRun || len(s.copied) > 0 {
		t.Fatal(sent, s.copied, err)
	}
	same(t, text(t, sent), `
bank.example, 2026-11-28 UTC, 100 messages: If the report were due now, it would go to rua@shop.example.
shop.example, 2026-11-28 UTC, 5 messages: If the report were due now, it would go to rua@shop.example.
`)
	sent, err = o.Copies(t.Context(), Selection{Domain: "shop.example", Window: "yesterday"}, "me@isp.example")
	if err != nil || !sent.AllSent() || !slices.Equal(s.copied, []string{"2 me@isp.example"}) {
		t.Fatal(sent, s.copied, err)
	}
	has(t, text(t, sent), "A copy was sent to me@isp.example.\n    250 queued")
	s.result = submit.Result{Kind: submit.Refused, Reply: "550 no"}
	if sent, err = o.Copies(t.Context(), Selection{Domain: "shop.example"}, "me@isp.example"); err != nil || sent.AllSent() {
		t.Errorf("%v %v", sent, err)
	}
	same(t, text(t, sent), `
shop.example, 2026-11-29 06:00-12:00 UTC, 3 messages: The mail server did not take the copy for me@isp.example.
    550 no
shop.example, 2026-11-28 UTC, 5 messages: The mail server did not take the copy for me@isp.example.
    550 no
shop.example, 2026-11-27 UTC, 0 messages: The mail server did not take the copy for me@isp.example.
    550 no
`)
	s.copyErr = errors.New("no route")
	if sent, err = o.Copies(t.Context(), Selection{Domain: "shop.example"}, "me@isp.example"); err != nil || sent.AllSent() {
		t.Errorf("%v %v", sent, err)
	}
	has(t, text(t, sent), "The copy was not sent: no route.")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if sent, err = o.Copies(ended, Selection{Domain: "shop.example"}, "me@isp.example"); sent != nil || !errors.Is(err, s.copyErr) {
		t.Errorf("interrupted: %v %v", sent, err)
	}
	s.copyErr, s.result = nil, submit.Result{Kind: submit.Sent}
	if sent, err = o.Copies(ended, Selection{Domain: "shop.example"}, "me@isp.example"); err != nil || !sent.AllSent() {
		t.Errorf("interrupted after the last copy: %v %v", sent, err)
	}
	m := o.Store.(*memory)
	m.jobs = slices.Repeat(m.jobs[:1], maxCopies)
	if _, err = o.DryRun(t.Context(), Selection{}); err != nil {
		t.Errorf("%d reports: %v", maxCopies, err)
	}
	m.jobs = append(m.jobs, m.jobs[0])
	if _, err = o.DryRun(t.Context(), Selection{}); !errors.Is(err, ErrUse) || err.Error() != "reporting: wrong use: more than 1000 reports are selected; choose by --domain and --window" {
		t.Errorf("%d reports: %v", len(m.jobs), err)
	}
	if _, err = o.DryRun(t.Context(), Selection{Domain: "none.example"}); err == nil || err.Error() != `no report is selected; "sekimori report list" shows what there is` {
		t.Errorf("nothing is selected: %v", err)
	}
}

// TestSendNow checks what is said about each outcome, and which are failures.
func TestSendNow(t *testing.T) {
	all := Selection{Window: "yesterday"}
	for _, tt := range []struct {
		name    string
		sel     Selection
		again   bool
		outcome report.Outcome
		errs    map[int64]error
		good    bool
		want    []string
	}{
		{"sent", all, true, report.Outcome{Word: report.Sent, Reason: "sent to 1 of 1 destinations"}, nil, true,
			[]string{"bank.example, 2026-11-28 UTC, 100 messages: sent to 1 of 1 destinations (rua@bank.example sent)", "shop.example, 2026-11-28 UTC, 5 messages: sent to 1 of 1 destinations\n"}},
		{"withheld", all, true, report.Outcome{Word: report.WithheldSpam, Reason: hostile}, nil, true, []string{"withheld (spam): "}},
		{"refused", all, true, report.Outcome{Word: report.Refused, Reason: "550 no"}, nil, false, []string{"refused: 550 no"}},
		{"failed", all, true, report.Outcome{Word: report.Failed, Reason: "given up"}, nil, false, []string{"failed: given up"}},
		{"waits", all, true, report.Outcome{Again: noon, Reason: "450 later"}, nil, false, []string{"waits until 2026-11-29 12:00 UTC: 450 later"}},
		{"another has it", all, true, report.Outcome{Word: report.Sent, Reason: "sent to 1 of 1 destinations"}, map[int64]error{2: fmt.Errorf("dispatch: %w", report.ErrLost)}, false,
			[]string{"the daemon or another command is sending it", "messages: sent"}},
		{"removed", all, true, report.Outcome{Word: report.Sent}, map[int64]error{2: report.ErrUnknown}, false, []string{"its rows are gone"}},
		{"no server", all, true, report.Outcome{Word: report.Sent}, map[int64]error{2: dispatch.ErrTrouble}, false, []string{"Not tried, because the mail server"}},
		{"store", all, true, report.Outcome{Word: report.Sent}, map[int64]error{2: errors.New("disk full")}, false, []string{"Failed: disk full."}},
		{"one is open", Selection{Domain: "shop.example"}, true, report.Outcome{Word: report.Sent}, map[int64]error{5: report.ErrNone}, true,
			[]string{"2026-11-29 06:00-12:00 UTC, 3 messages: Not sent, because its window still takes messages until 2026-11-29 12:15 UTC."}},
		{"all are open", Selection{Domain: "shop.example", Window: "today"}, true, report.Outcome{}, map[int64]error{5: report.ErrNone}, false, []string{"still takes messages"}},
		{"one was sent", all, false, report.Outcome{Word: report.Sent, Reason: "sent to 1 of 1 destinations"}, nil, true,
			[]string{"bank.example, 2026-11-28 UTC, 100 messages: Left alone, because it was sent; --again or --domain sends it again.", "messages: sent to 1 of 1"}},
		{"one was sent, and is named", Selection{Domain: "bank.example"}, false, report.Outcome{Word: report.Sent, Reason: "sent to 1 of 1 destinations"}, nil, true,
			[]string{"bank.example, 2026-11-28 UTC, 100 messages: sent to 1 of 1 destinations"}},
	} {
		o, s := newOffice()
		s.outcome, s.errs = tt.outcome, tt.errs
		sent, err := o.Send(t.Context(), tt.sel, tt.again)
		if err != nil || sent.AllSent() != tt.good {
			t.Errorf("%s: %+v, %v", tt.name, sent, err)
			continue
		}
		has(t, text(t, sent), tt.want...)
	}
	for _, tt := range []struct {
		outcome report.Outcome
		errs    map[int64]error
		want    string
	}{
		{report.Outcome{Word: report.Sent, Reason: "sent to all"}, nil, "sent to all"},
		{report.Outcome{Again: noon}, nil, "Not sent, because the command was interrupted."},
		{report.Outcome{}, map[int64]error{1: context.Canceled, 2: context.Canceled}, "Not sent, because the command was interrupted."},
		{report.Outcome{}, map[int64]error{1: report.ErrLost, 2: report.ErrLost}, "Not sent, because the command was interrupted."},
	} {
		o, s := newOffice()
		o.Store.(*memory).deliveries = nil
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.outcome, s.errs = tt.outcome, tt.errs
		sent, err := o.Send(ctx, all, true)
		if err != nil || len(sent.Reports) != 2 {
			t.Fatalf("interrupted: %+v, %v", sent, err)
		}
		for _, r := range sent.Reports {
			if r.Done != tt.want || r.Failed != (tt.outcome.Word != report.Sent) {
				t.Errorf("interrupted, %+v: %+v", tt.outcome, r)
			}
		}
	}
}

// TestSentNow checks what is said about a report that was worked on, also if the store does not tell
// everything.
func TestSentNow(t *testing.T) {
	old := report.Job{ID: 1, Tries: 1}
	for _, tt := range []struct {
		name, fails string
		jobs        []report.Job
		tries       int
		done        string
	}{
		{"all is told", "", []report.Job{{ID: 2, Tries: 9}, {ID: 1, Tries: 2}}, 2, "sent to both (a@b.example sent, c@d.example refused)"},
		{"the job is gone", "", nil, 1, "sent to both (a@b.example sent, c@d.example refused)"},
		{"no job", "Jobs", nil, 1, "sent to both (a@b.example sent, c@d.example refused)"},
		{"no destinations", "Deliveries", []report.Job{{ID: 1, Tries: 2}}, 2, "sent to both"},
	} {
		o := &Office{Store: &memory{fails: tt.fails, jobs: tt.jobs, deliveries: []report.Delivery{
			{Job: 1, Address: "a@b.example", Word: report.Sent}, {Job: 1, Address: "c@d.example", Word: report.Refused}, {Job: 2, Address: "e@f.example", Word: report.Sent}}}}
		if got := o.sentNow(t.Context(), old, report.Outcome{Word: report.Sent, Reason: "sent to both"}); got.Done != tt.done || got.Tries != tt.tries || got.Failed {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
