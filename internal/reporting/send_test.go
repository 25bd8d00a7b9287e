package reporting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	has(t, text(t, sent), "shop.example, 2026-11-28 UTC, 5 messages: If the report were due now, it would go to rua@shop.example.")
	sent, err = o.Copies(t.Context(), Selection{Domain: "shop.example", Window: "yesterday"}, "me@isp.example")
	if err != nil || !sent.AllSent() || !slices.Equal(s.copied, []string{"2 me@isp.example"}) {
		t.Fatal(sent, s.copied, err)
	}
	has(t, text(t, sent), "A copy was sent to me@isp.example.\n    250 queued")
	s.result = submit.Result{Kind: submit.Refused, Reply: "550 no"}
	if sent, err = o.Copies(t.Context(), Selection{Domain: "shop.example"}, "me@isp.example"); err != nil || sent.AllSent() {
		t.Errorf("%v %v", sent, err)
	}
	has(t, text(t, sent), "did not take the copy", "550 no")
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
	if _, err = o.DryRun(t.Context(), Selection{}); !errors.Is(err, ErrUse) {
		t.Errorf("%d reports: %v", len(m.jobs), err)
	}
	if _, err = o.DryRun(t.Context(), Selection{Domain: "none.example"}); err == nil {
		t.Error("nothing is selected, and there is no error")
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
	o, s := newOffice()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.errs = map[int64]error{1: ctx.Err(), 2: ctx.Err()}
	if sent, err := o.Send(ctx, all, true); err != nil || sent.AllSent() || !strings.Contains(text(t, sent), "interrupted") {
		t.Errorf("%+v, %v", sent, err)
	}
}
