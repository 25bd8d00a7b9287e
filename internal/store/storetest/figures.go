package storetest

import (
	"testing"

	"sekimori/internal/ledger"
	"sekimori/internal/policy"
	"sekimori/internal/report"
)

// testFigures adds figures of several days and groups, also a hostile group, and reads them.
func testFigures(t *testing.T, s LedgerStore) {
	pass, fail := Entry("shop.example", "shop.example", "192.0.2.1"), failing("shop.example", "shop.example", "192.0.2.1")
	pass.Reason, fail.Reason = policy.ReasonAligned, policy.ReasonReject
	abroad := pass
	abroad.Country, fail.Country = "JP", "??"
	addLedger(t, s, "a", Delta("g", 0, ledgerToday, pass, abroad, abroad, fail))
	addLedger(t, s, "b", Delta("g", 0, ledgerToday, abroad))
	addLedger(t, s, "b", Delta("g", 0, ledgerToday, abroad)) // the same batch again
	addLedger(t, s, "c", Delta("h\x00\xff", 0, ledgerToday-1, pass))
	figure := func(day ledger.Day, group string, kind ledger.FigureKind, word, result string, n int64) ledger.Figure {
		return ledger.Figure{Day: day, Group: group, Kind: kind, Word: word, Result: result, Messages: n}
	}
	want := []ledger.Figure{
		figure(ledgerToday-1, "h\x00\xff", ledger.ByReason, "dmarc_pass", "accept", 1),
		figure(ledgerToday, "g", ledger.ByCountry, "JP", "pass", 3),
		figure(ledgerToday, "g", ledger.ByCountry, "ZZ", "fail", 1),
		figure(ledgerToday, "g", ledger.ByReason, "dmarc_pass", "accept", 4),
		figure(ledgerToday, "g", ledger.ByReason, "dmarc_reject", "reject", 1),
	}
	l, ctx := s.Ledger(), t.Context()
	same(t, "figures", gather(t, l.Figures(ctx, everything)), want)
	same(t, "of a day", gather(t, l.Figures(ctx, ledger.Filter{From: ledgerToday - 1, To: ledgerToday - 1})), want[:1])
	same(t, "of a group", gather(t, l.Figures(ctx, ledger.Filter{From: ledgerToday - 9, To: ledgerToday, Group: "g"})), want[1:])
	for _, err := range l.Figures(ctx, everything) {
		ok(t, err)
		break
	}
	ok(t, l.Expire(ctx, (ledgerToday+ledger.KeepDays-1).Time(), 0))
	same(t, "that are not too old", gather(t, l.Figures(ctx, everything)), want[1:])
	ok(t, s.Add(ctx, (ledgerToday+ledger.KeepDays).Time(), report.Batch{ID: "late", Current: Day(0), Ledger: Delta("g", 0, ledgerToday, pass)}))
	same(t, "after a batch that is too old", gather(t, l.Figures(ctx, everything)), want[1:])
}
