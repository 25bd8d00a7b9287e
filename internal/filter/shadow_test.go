package filter

import (
	"testing"

	"sekimori/internal/judge"
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

// TestCompare: what the candidate decides is told to the observers that care.
func TestCompare(t *testing.T) {
	c := &comparer{}
	o := Options{Observers: []Observer{&recorder{}, c}}
	d := judge.Decision{Evaluation: &msgauth.Evaluation{}}
	o.compared(&d)
	if len(c.live) != 0 {
		t.Errorf("compared without a candidate: %v", c.live)
	}
	d.Shadow = &judge.Comparison{Live: policy.Verdict{Action: policy.Reject}, Candidate: policy.Verdict{Action: policy.Quarantine}}
	o.compared(&d)
	if len(c.live) != 1 || c.live[0] != policy.Reject || c.shadow[0] != policy.Quarantine {
		t.Errorf("live %v, shadow %v", c.live, c.shadow)
	}
}
