package filter

import (
	"net/netip"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/mailaddr"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// comparer counts what it is told.
type comparer struct {
	recorder
	live, shadow []policy.Action
}

func (c *comparer) Compared(_ *msgauth.Evaluation, live, shadow policy.Verdict) {
	c.live, c.shadow = append(c.live, live.Action), append(c.shadow, shadow.Action)
}

// TestCompare: the candidate decides on the same evaluation; observers that do
// not care are not asked.
func TestCompare(t *testing.T) {
	e := &msgauth.Evaluation{
		Session: msgauth.Session{Client: netip.MustParseAddr("203.0.113.66")},
		From:    mailaddr.From{AuthorDomain: "bank.example"},
		DMARC:   dmarc.Evaluation{Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject},
	}
	c := &comparer{}
	o := Options{Observers: []Observer{&recorder{}, c}}
	live := policy.Decide(e, o.Policy)
	o.compare(e, live)
	if len(c.live) != 0 {
		t.Errorf("compared without a candidate: %v", c.live)
	}
	o.Shadow = &policy.Config{Reject: policy.RejectQuarantine}
	o.compare(e, live)
	if len(c.live) != 1 || c.live[0] != policy.Reject || c.shadow[0] != policy.Quarantine {
		t.Errorf("live %v, shadow %v", c.live, c.shadow)
	}
}
