package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/bimi"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/readout"
)

// TestMarks checks what is counted: the result that the message shows, and the fields that were removed.
func TestMarks(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	pass := &bimi.Evaluation{Result: bimi.Pass, Domain: "shop.example", Hash: "1a2b3c4d"}
	none := &bimi.Evaluation{Result: bimi.None, Reason: bimi.ReasonNoRecord}
	accepted := policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Reason: policy.ReasonAligned}
	ruled := policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Reason: policy.ReasonRule}
	kept := &label.Kept{1}
	for _, d := range []*judge.Decision{
		{Evaluation: &msgauth.Evaluation{BIMI: pass}, Verdict: accepted, Edits: []label.Edit{{Kind: label.Insert, Name: label.LocationField}}},
		{Evaluation: &msgauth.Evaluation{BIMI: pass}, Verdict: ruled},
		{Evaluation: &msgauth.Evaluation{BIMI: none}, Verdict: accepted},
		{Evaluation: &msgauth.Evaluation{}, Verdict: accepted, Edits: []label.Edit{
			{Kind: label.Delete, Name: label.LocationField, Index: 2}, {Kind: label.Delete, Name: label.LocationField, Index: 1}, {Kind: label.Delete, Name: label.PreferenceField, Index: 1},
		}},
		{Skipped: policy.ReasonAuthenticated, Edits: []label.Edit{{Kind: label.DeleteMany, Name: label.IndicatorField, Index: 4, Kept: kept}, {Kind: label.Delete, Name: "Authentication-Results", Index: 1}}},
	} {
		m.Decided(d, time.Millisecond)
	}
	for _, c := range []struct {
		what string
		got  float64
		want float64
	}{
		{"pass", readout.Value(m.bimi.results.with("pass")), 1},
		{"fail", readout.Value(m.bimi.results.with("fail")), 0},
		{"skipped", readout.Value(m.bimi.results.with("skipped")), 1},
		{"none", readout.Value(m.bimi.results.with("none")), 1},
		{"verdict", readout.Value(m.bimi.reasons.with(bimi.ReasonVerdict)), 1},
		{"no_record", readout.Value(m.bimi.reasons.with(bimi.ReasonNoRecord)), 1},
		{"location removed", readout.Value(m.bimi.removed.with("location")), 2},
		{"preference removed", readout.Value(m.bimi.removed.with("logo_preference")), 1},
		{"indicator removed", readout.Value(m.bimi.removed.with("indicator")), 3},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if n := len(family(t, reg, "sekimori_bimi_removed_total").GetMetric()); n != len(markFieldNames) {
		t.Errorf("%d kinds of removed fields", n)
	}
}

// TestMaskedMark checks that a selector that was made of the author's local part is masked.
func TestMaskedMark(t *testing.T) {
	e := &msgauth.Evaluation{
		From: author.From{Mailboxes: []author.Mailbox{{Local: "jane.doe", Domain: "shop.example"}}},
		BIMI: &bimi.Evaluation{Result: bimi.Pass, Selector: "jane-doe", LocalPart: "jane-doe", Checks: []bimi.Check{
			{Word: "dmarc", OK: true}, {Word: "record", OK: true, Detail: "jane-doe._bimi.shop.example"},
		}},
	}
	shown := Masked(&judge.Decision{Evaluation: e}).Evaluation.BIMI
	if shown.Selector != stars || shown.LocalPart != stars || shown.Checks[1].Detail != stars+"._bimi.shop.example" || strings.Contains(e.BIMI.Checks[1].Detail, stars) {
		t.Errorf("got %+v from %+v", shown, e.BIMI)
	}
	e.BIMI.LocalPart = ""
	if Masked(&judge.Decision{Evaluation: e}).Evaluation.BIMI != e.BIMI {
		t.Error("a selector that is not made of a local part is masked")
	}
}
