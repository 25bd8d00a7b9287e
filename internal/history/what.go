package history

import (
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// What says which decisions are kept.
type What string

// The values of What.
const (
	Off     What = "off"
	Failing What = "failing" // see [What.Wants]
	All     What = "all"
)

// Whats lists every value of What.
var Whats = []What{Failing, All, Off}

// SampleOf is how many accepted messages there are for each one that is kept with Failing.
const SampleOf = 100

// Wish says whether a decision is kept.
type Wish int

// The values of Wish.
const (
	Never  Wish = iota
	Sample      // one in SampleOf
	Always
)

// Wants says whether the decision on a message is kept. e is nil if the message was not evaluated.
// consents says that the consent of recipients is looked up. A message none of whose recipients agreed is
// never kept (policy.Consent.Reportable), and neither is a message whose recipients were not asked
// although consents is true: that of a trusted client, or one over a limit.
//
// With Failing, a decision is kept if the verdict is not accept, if a rule matched or the DMARC policy was
// overridden, or if a result is a temporary error. Of messages that are not evaluated because their
// client is trusted, none is kept.
func (w What) Wants(e *msgauth.Evaluation, v *policy.Verdict, consents bool) Wish {
	switch {
	case w == Off, !v.Consent.Reportable(), e == nil && consents:
		return Never
	case w == All:
		return Always
	case v.Action == policy.Skip:
		return Never
	case v.Action != policy.Accept, v.Override != nil, v.Rule != "", e != nil && temporary(e):
		return Always
	}
	return Sample
}

// temporary reports whether a result of the message is a temporary error that is not only this host's
// impatience: the reply does not wait for results that cannot change the verdict.
func temporary(e *msgauth.Evaluation) bool {
	if e.DMARC.Result == dmarc.ResultTempError || temporarySPF(&e.MailFrom) || temporarySPF(&e.HELO) {
		return true
	}
	for i := range e.DKIM {
		if e.DKIM[i].Result == dkim.TempError && !e.DKIM[i].NotWaited {
			return true
		}
	}
	return false
}

func temporarySPF(c *spf.Check) bool {
	return c.Result == spf.TempError && c.Reason != spf.ReasonTimeLimit && c.Reason != spf.ReasonDNSBudget
}
