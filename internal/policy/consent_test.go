package policy

import (
	"testing"

	"sekimori/internal/dmarc"
)

func TestRespect(t *testing.T) {
	in, out, mixed := Consent{In: 2}, Consent{Out: 1}, Consent{In: 1, Out: 3}
	for _, tt := range []struct {
		name    string
		p       dmarc.Policy
		c       Config
		consent Consent
		action  Action
		applied Action
		would   Action
		disp    dmarc.Policy
		over    OverrideType
	}{
		{name: "no consent was looked up", p: dmarc.PolicyReject, action: Reject, applied: Reject, disp: dmarc.PolicyReject},
		{name: "all agreed", p: dmarc.PolicyReject, consent: in, action: Reject, applied: Reject, disp: dmarc.PolicyReject},
		{name: "all opted out", p: dmarc.PolicyReject, consent: out, action: Tag, applied: Tag, would: Reject, disp: dmarc.PolicyNone, over: OverrideLocalPolicy},
		{name: "one opted out: the mildest for all", p: dmarc.PolicyReject, consent: mixed, action: Tag, applied: Tag, would: Reject,
			disp: dmarc.PolicyNone, over: OverrideLocalPolicy},
		{name: "quarantine in the hold queue", p: dmarc.PolicyQuarantine, consent: mixed, action: Tag, applied: Tag, would: Quarantine,
			disp: dmarc.PolicyNone, over: OverrideLocalPolicy},
		{name: "quarantine by label", p: dmarc.PolicyQuarantine, c: Config{Quarantine: QuarantineTag}, consent: out, action: Tag,
			applied: Tag, would: Quarantine, disp: dmarc.PolicyNone, over: OverrideLocalPolicy},
		{name: "monitor mode would not act either", p: dmarc.PolicyReject, c: Config{Mode: Monitor}, consent: out, action: Tag, applied: Tag,
			would: Reject, disp: dmarc.PolicyNone, over: OverrideLocalPolicy},
		{name: "a label does not enforce anything", p: dmarc.PolicyNone, consent: out, action: Tag, applied: Tag, disp: dmarc.PolicyNone},
	} {
		e := failing(tt.p)
		v := Decide(&e, tt.c).Respect(tt.consent)
		var over OverrideType
		if v.Override != nil {
			over = v.Override.Type
		}
		if v.Action != tt.action || v.Applied != tt.applied || v.Would != tt.would || v.Disposition != tt.disp || over != tt.over || v.Consent != tt.consent {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
	e := failing(dmarc.PolicyReject)
	ruled := Decide(&e, Config{})
	ruled.Override = &Override{Type: OverrideMailingList, Comment: "rule lists"}
	if v := ruled.Respect(mixed); *v.Override != (Override{OverrideLocalPolicy, "rule lists, a recipient opted out"}) || v.Reply.Code != 0 {
		t.Errorf("%+v, reply %s", v.Override, v.Reply)
	}
	for _, missing := range []string{"dkim timeout", "dkim budget"} {
		e := undecided(dmarc.PolicyReject, missing)
		for _, c := range []Consent{mixed, out} {
			if v := Decide(&e, Config{}).Respect(c); v.Action != Tag || v.Applied != Tag || v.Would != TempFail || v.Reply.Code != 0 {
				t.Errorf("%s: a message was deferred for somebody who opted out: %+v", missing, v)
			}
		}
		if v := Decide(&e, Config{}).Respect(in); v.Applied != TempFail {
			t.Errorf("%s: it was not deferred though all agreed: %+v", missing, v)
		}
	}
}

func TestConsent(t *testing.T) {
	for _, tt := range []struct {
		c                        Consent
		asked, mixed, reportable bool
	}{
		{Consent{}, false, false, true},
		{Consent{In: 1}, true, false, true},
		{Consent{Out: 1}, true, false, false},
		{Consent{In: 1, Out: 1}, true, true, true},
	} {
		if c := tt.c; c.Asked() != tt.asked || c.Mixed() != tt.mixed || c.Reportable() != tt.reportable {
			t.Errorf("%+v: asked %t, mixed %t, reportable %t", c, c.Asked(), c.Mixed(), c.Reportable())
		}
	}
}
