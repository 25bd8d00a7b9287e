package policy

import (
	"testing"

	"sekimori/internal/bimi"
	"sekimori/internal/msgauth"
)

// TestMark checks that a mark is shown only for a message that is accepted for its DMARC pass.
func TestMark(t *testing.T) {
	good := Verdict{Action: Accept, Applied: Accept, Reason: ReasonAligned}
	with := func(change func(*Verdict)) Verdict {
		v := good
		change(&v)
		return v
	}
	for why, c := range map[string]struct {
		v    Verdict
		show bool
	}{
		"accepted": {good, true},
		"accepted, and a rule matched without effect": {with(func(v *Verdict) { v.Rule = "a" }), true},
		"a rule":                      {with(func(v *Verdict) { v.Reason, v.Rule = ReasonRule, "a" }), false},
		"a forwarder":                 {with(func(v *Verdict) { v.Reason = ReasonForwarder }), false},
		"an override":                 {with(func(v *Verdict) { v.Override = &Override{Type: OverrideLocalPolicy} }), false},
		"the ramp":                    {with(func(v *Verdict) { v.Relaxed = true }), false},
		"an opt-out":                  {with(func(v *Verdict) { v.Would = Reject }), false},
		"not decided":                 {with(func(v *Verdict) { v.Missing = []Missing{{}} }), false},
		"another name":                {with(func(v *Verdict) { v.Action, v.Applied, v.Reason = Tag, Tag, ReasonOtherName }), false},
		"no policy":                   {with(func(v *Verdict) { v.Reason = ReasonPassNoPolicy }), false},
		"quarantined":                 {with(func(v *Verdict) { v.Action, v.Applied = Quarantine, Quarantine }), false},
		"quarantined in monitor mode": {with(func(v *Verdict) { v.Action = Quarantine }), false},
		"accepted and tagged":         {with(func(v *Verdict) { v.Applied = Tag }), false},
		"quarantined by label":        {with(func(v *Verdict) { v.Action, v.Applied = Quarantine, Tag }), false},
		"not evaluated":               {Skipped(ReasonTrusted), false},
	} {
		e := &msgauth.Evaluation{BIMI: &bimi.Evaluation{Result: bimi.Pass, Mark: &bimi.Mark{}, Hash: "1"}}
		got := Mark(e, &c.v)
		if (got.Result == bimi.Pass) != c.show || (got.Mark != nil) != c.show || !c.show && got.Reason != bimi.ReasonVerdict {
			t.Errorf("%s: %+v", why, got)
		}
		if e.BIMI.Mark == nil {
			t.Errorf("%s: the Evaluation changed", why)
		}
	}
	none := &bimi.Evaluation{Result: bimi.None, Reason: bimi.ReasonNoRecord}
	if v := Skipped(ReasonTrusted); Mark(&msgauth.Evaluation{BIMI: none}, &v) != none || Mark(&msgauth.Evaluation{}, &v) != nil {
		t.Error("the result of a message without a mark depends on the verdict")
	}
}
